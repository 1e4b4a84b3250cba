package providers

import (
	"context"
	"errors"
	"time"
)

// patience is how long a silent provider is waited for.
type patience struct {
	first     time.Duration // until the first chunk
	reasoning time.Duration // the same, of a model that thinks before it speaks
	stall     time.Duration // between chunks
	usage     time.Duration // for the books, once the answer is whole
}

var usualPatience = patience{first: 12 * time.Second, reasoning: 45 * time.Second, stall: 15 * time.Second, usage: 2 * time.Second}

// usage is what a call took, in tokens.
type usage struct {
	prompt, completion int
	known              bool // the service said so; else it is an estimate
}

// reply is a whole answer, or what had come of it.
type reply struct {
	text    string
	calls   []Call
	vectors [][]float32
	usage   usage
	begun   bool
	firstAt time.Time // zero: nothing came
}

// call makes one call, at most limit long and with at most that many bytes of
// answer, and returns what came of it or a classified failure. do is told how to end
// the call with a cause of ours.
func (r *Registry) call(ctx context.Context, c *candidate, limit time.Duration, bytes int,
	do func(ctx context.Context, end context.CancelCauseFunc, seen *seen) (reply, error),
) (reply, *failure) {
	call, end := context.WithCancelCause(ctx)
	defer end(nil)
	tooLate := time.AfterFunc(limit, func() { end(errLate) })
	defer tooLate.Stop()
	call, seen := watch(call, bytes)
	defer seen.close()
	got, err := do(call, end, seen)
	if err == nil {
		if got.firstAt.IsZero() {
			got.firstAt = time.Now()
		}
		return got, nil
	}
	f := &failure{err: err, cause: ourCause(call, ctx), ended: over(ctx), begun: got.begun, seen: seen, key: c.key}
	f.classify()
	return got, f
}

// over says that the caller waits no longer, whichever of two timers that end at the
// same moment fired first.
func over(ctx context.Context) bool {
	end, ends := ctx.Deadline()
	return ctx.Err() != nil || ends && !time.Now().Before(end)
}

// ourCause is why call was ended by its own watch, or nil.
func ourCause(call, parent context.Context) error {
	if over(parent) || call.Err() == nil {
		return nil
	}
	return context.Cause(call)
}

// estimate is a number of tokens that bytes of text rarely pass: most languages
// need three to six bytes for one. Real figures replace it when they come.
func estimate(bytes int) int { return (bytes + 2) / 3 }

// slip says that an answer came and held nothing useful: asking once more may do.
func (f *failure) slip() bool {
	return errors.Is(f.err, errEmpty) || errors.Is(f.err, errBadCall) || errors.Is(f.err, errNotInShape)
}
