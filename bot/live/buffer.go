package live

import (
	"context"
	"fmt"
	"slices"
)

// buffer holds the newest events of one execution (L19). Guarded by the hub's mu.
type buffer struct {
	frames []*frame
	bytes  int
}

// keep puts an event of an execution into its buffer. A new execution takes the place of
// the oldest where there is none left (L18).
func (h *Hub) keep(f *frame) {
	r := h.room(Room{execution, f.execution})
	if r.buffer == nil {
		if len(h.buffered) >= h.o.Buffers {
			h.evict()
		}
		r.buffer = &buffer{}
		h.buffered = append(h.buffered, r)
	}
	b := r.buffer
	if n := len(b.frames); n > 0 && f.seq <= b.frames[n-1].seq {
		return
	}
	b.frames = append(b.frames, f)
	b.bytes += len(f.text)
	h.bufferBytes += len(f.text)
	if len(b.frames) > h.o.EventsPerBuffer {
		oldest := len(b.frames[0].text)
		b.frames = slices.Delete(b.frames, 0, 1)
		b.bytes -= oldest
		h.bufferBytes -= oldest
	}
}

// evict forgets the buffer of the execution that got one first.
func (h *Hub) evict() {
	oldest := h.buffered[0]
	h.unbuffer(oldest)
	h.evicted = append(h.evicted, oldest.ID)
	h.leaveEmpty(oldest)
}

func (h *Hub) unbuffer(r *room) {
	if r.buffer == nil {
		return
	}
	h.bufferBytes -= r.buffer.bytes
	r.buffer = nil
	h.buffered = slices.DeleteFunc(h.buffered, func(o *room) bool { return o == r })
}

// sayEvicted writes the contract's line for each buffer that had to go.
func (h *Hub) sayEvicted(ctx context.Context, ids []int64) {
	for _, id := range ids {
		h.o.Log.WarnContext(ctx, fmt.Sprintf("Event buffer limit reached (%d), removed oldest execution: %d", h.o.Buffers, id)) //nolint:sloglint // L18
	}
}
