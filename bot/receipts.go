package bot

import (
	"context"
	"log/slog"
	"time"

	"frontdesk/store"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// How receipts are written down: many in one statement, as they come two for each
// answer.
const (
	gatherTime   = 20 * time.Millisecond
	gatherAtMost = 500
	mostReceipts = 4096 // that wait; beyond, each is written by itself
)

// receipt is one that waits to be written. WhatsApp hears that it arrived once it is.
type receipt struct {
	l    *link
	e    *waEvents.Receipt
	what store.Receipt
}

// receipt notes what the customer's phone says of our messages. It is not done when
// it returns false: keepReceipts acknowledges it.
func (l *link) receipt(e *waEvents.Receipt) bool {
	what, wanted := map[types.ReceiptType]store.Receipt{
		types.ReceiptTypeDelivered: store.Delivered, types.ReceiptTypeRead: store.Read, types.ReceiptTypePlayed: store.Played,
	}[e.Type]
	if !wanted || e.IsFromMe || e.IsGroup {
		return true
	}
	r := receipt{l, e, what}
	select {
	case l.i.m.receipts <- r:
		return false
	default:
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if err := l.i.m.store.MarkReceipts(ctx, r.marks(nil)); err != nil {
		l.guard.refuse()
		return false
	}
	return true
}

// keepReceipts writes receipts until ctx ends. What is not written by then comes again.
func (m *Manager) keepReceipts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-m.receipts:
			m.writeReceipts(ctx, m.gather(first))
		}
	}
}

// gather takes what comes within a moment.
func (m *Manager) gather(first receipt) []receipt {
	gathered, over := []receipt{first}, time.After(gatherTime)
	for len(gathered) < gatherAtMost {
		select {
		case r := <-m.receipts:
			gathered = append(gathered, r)
		case <-over:
			return gathered
		}
	}
	return gathered
}

func (m *Manager) writeReceipts(ctx context.Context, gathered []receipt) {
	var marks []store.Mark
	for _, r := range gathered {
		marks = r.marks(marks)
	}
	writing, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	err := m.store.MarkReceipts(writing, marks)
	if err != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "Receipts not written, WhatsApp keeps them", slog.Any("error", err))
	}
	for _, r := range gathered {
		if err != nil {
			r.l.guard.refuse()
			continue
		}
		r.acknowledge()
	}
}

func (r receipt) marks(to []store.Mark) []store.Mark {
	for _, id := range r.e.MessageIDs {
		to = append(to, store.Mark{AccountID: r.l.i.id, WaID: id, Receipt: r.what})
	}
	return to
}

// acknowledge tells WhatsApp that the receipt arrived, as whatsmeow does after a
// handler that returned true.
func (r receipt) acknowledge() {
	attrs := waBinary.Attrs{"id": r.e.MessageIDs[0], "from": r.e.Sender}
	if r.e.Type != "" {
		attrs["type"] = string(r.e.Type)
	}
	if !r.e.MessageSender.IsEmpty() {
		attrs["recipient"] = r.e.MessageSender
	}
	r.l.client.DangerousInternals().SendAck(r.l.ctx, &waBinary.Node{Tag: "receipt", Attrs: attrs}, 0) //nolint:staticcheck // the library has no other way to acknowledge later
}
