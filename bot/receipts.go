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

// How receipts are written down: many in one statement, as three come for each
// answer: WhatsApp's own and two of the customer's phone.
const (
	gatherTime   = 20 * time.Millisecond
	gatherAtMost = 500
	mostReceipts = 4096 // that wait; beyond, each is written by itself
)

// receipt is one that waits to be written. WhatsApp hears that a phone's arrived
// once it is; for its own, marked is closed then.
type receipt struct {
	l      *link
	e      *waEvents.Receipt // nil: WhatsApp took the message sent
	sent   string            // its id
	what   store.Receipt
	marked chan struct{}
}

// sent has it written, soon, that WhatsApp took a message. The message may not be
// claimed before the channel closes; nil: it is written already.
func (l *link) sent(ctx context.Context, b store.Claimed) (<-chan struct{}, error) {
	r := receipt{l: l, sent: b.WaID, what: store.Sent, marked: make(chan struct{})}
	if b.NextIn == nil {
		select {
		case l.i.m.receipts <- r:
			return r.marked, nil
		default:
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return nil, l.i.m.store.MarkReceipts(ctx, r.marks(nil))
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
	r := receipt{l: l, e: e, what: what}
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

// keepReceipts writes receipts until ctx ends; flushReceipts writes the rest.
func (m *Manager) keepReceipts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-m.receipts:
			m.writeReceipts(context.WithoutCancel(ctx), m.gather(first)) // also at the stop
		}
	}
}

// flushReceipts writes what is left at the stop.
func (m *Manager) flushReceipts(ctx context.Context) {
	for {
		select {
		case first := <-m.receipts:
			m.writeReceipts(ctx, m.gather(first))
		default:
			return
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
		r.conclude(err)
	}
}

// conclude lets go of what waited for the receipt to be written. What was not
// written comes again, or is sent again with the same id.
func (r receipt) conclude(failed error) {
	switch {
	case r.e == nil:
		close(r.marked)
	case failed != nil:
		r.l.guard.refuse()
	default:
		r.acknowledge()
	}
}

func (r receipt) marks(to []store.Mark) []store.Mark {
	if r.e == nil {
		return append(to, store.Mark{AccountID: r.l.i.id, WaID: r.sent, Receipt: r.what})
	}
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
