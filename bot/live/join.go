package live

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"frontdesk/store"
)

const (
	mostReads = 8   // at once for all clients together
	page      = 100 // events of one read
)

// since is where a client goes on; neither: it begins.
type since struct {
	seq   *int64 // of the last event of the execution that it has
	place *store.Place
}

// entry is a client that joins rooms: what happens meanwhile is held back until all
// before it was replayed. Guarded by the hub's mu, but for what join alone uses.
type entry struct {
	client *client
	held   []*frame
	bytes  int
	missed bool   // more was held than may be: the rest is read
	round  uint64 // of the last event that was held

	subscriptions []*subscription // used by join alone
	after, upTo   store.Place     // what is to be replayed from the rows
}

// hold keeps a live event for the end of the replay.
func (e *entry) hold(h *Hub, c *client, f *frame) {
	if f.execution != 0 || f.place != (store.Place{}) {
		e.missed = e.missed || len(e.held) >= mostHeld
		if e.missed {
			return
		}
	}
	e.held = append(e.held, f)
	e.bytes += len(f.text)
	c.mu.Lock()
	c.count(len(f.text))
	c.mu.Unlock()
	for h.waiting.Load() > h.mostBytes && h.relieve() {
	}
}

// release takes what is held.
func (e *entry) release() []*frame {
	held := e.held
	e.client.mu.Lock()
	e.client.count(-e.bytes)
	e.client.mu.Unlock()
	e.held, e.bytes = nil, 0
	return held
}

// join subscribes a client to rooms: each is announced, then what it missed of them is
// replayed in one order, then it hears of what happens. It returns when that is so, or
// a *problem, and then the client is in none of them.
func (h *Hub) join(ctx context.Context, c *client, rooms []Room, from since) error {
	e, views := h.enter(c, rooms)
	err := h.look(ctx, views, from)
	if err == nil {
		err = h.replay(ctx, e, views, from)
	}
	if err != nil {
		h.withdraw(e)
	}
	return err
}

// view is what there is to say of one room that a client joins.
type view struct {
	*subscription

	buffered []*frame
	lingers  bool        // its end has come, and it will be closed
	at       store.Place // up to here all had been told
	snapshot *snapshot   // executions
	over     bool        // nothing more will come
	events   []*frame    // to be replayed, from those of the execution
	read     bool        // events are all that the rows have
}

// enter has what happens in rooms be held for the client from this moment on.
func (h *Hub) enter(c *client, rooms []Room) (*entry, []*view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &entry{client: c, after: h.place, upTo: h.place}
	var views []*view
	for _, name := range rooms {
		if old := c.subscriptions[name]; old != nil {
			h.detach(c, old)
		}
		r := h.room(name)
		s := &subscription{room: r, seq: unknown, join: e}
		r.subscriptions[c], c.subscriptions[name] = s, s
		e.subscriptions = append(e.subscriptions, s)
		v := &view{subscription: s, lingers: !r.ends.IsZero(), at: h.place}
		if r.buffer != nil {
			v.buffered = slices.Clone(r.buffer.frames)
		}
		views = append(views, v)
	}
	return e, views
}

func (h *Hub) withdraw(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range e.subscriptions {
		h.detach(e.client, s)
	}
	e.release()
}

// ask reads for a client, a few at a time.
func ask[T any](ctx context.Context, h *Hub, read func(context.Context) (T, error)) (T, error) {
	within, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var none T
	select {
	case h.reading <- struct{}{}:
	case <-within.Done():
		return none, errAway
	}
	defer func() { <-h.reading }()
	got, err := read(within)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return none, errUnknown
	case err != nil:
		return none, errAway
	}
	return got, nil
}

// look reads how the executions are among the rooms, and what is to be replayed of
// them.
func (h *Hub) look(ctx context.Context, views []*view, from since) error {
	for _, v := range views {
		if v.room.Kind != execution {
			continue
		}
		err := h.lookAt(ctx, v)
		if err == nil && from.place == nil {
			err = h.choose(ctx, v, from.seq)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) lookAt(ctx context.Context, v *view) error {
	id := v.room.ID
	x, err := ask(ctx, h, func(ctx context.Context) (store.Execution, error) { return h.o.Store.Execution(ctx, id) })
	if err != nil {
		return err
	}
	steps, err := ask(ctx, h, func(ctx context.Context) ([]store.ExecutionStep, error) { return h.o.Store.ExecutionSteps(ctx, id) })
	if err != nil {
		return err
	}
	v.snapshot = newSnapshot(x, steps)
	if !x.Ended() || v.lingers || len(v.buffered) > 0 {
		return nil
	}
	last, err := h.rows(ctx, id, x.EventSeq-1, 1)
	v.over = len(last) == 0 || compare(last[0].Place(), v.at) <= 0 // else its end will be told soon
	return err
}

func (h *Hub) rows(ctx context.Context, id, after int64, limit int) ([]store.Event, error) {
	return ask(ctx, h, func(ctx context.Context) ([]store.Event, error) { return h.o.Store.EventsOf(ctx, id, after, limit) })
}

// choose decides which events of an execution are replayed: those behind seq, or else
// the newest ones.
func (h *Hub) choose(ctx context.Context, v *view, seq *int64) error {
	known := v.snapshot.seq
	resumes := seq != nil && *seq >= 0 && *seq <= known
	v.seq = 0
	if resumes {
		v.seq = *seq
	}
	if len(v.buffered) > 0 && v.buffered[0].seq <= v.seq+1 {
		v.events = v.buffered
		return nil
	}
	after, limit := v.seq, page
	switch whole := min(int64(h.o.EventsPerBuffer), known); {
	case resumes:
	case v.over:
		v.read = true
		return nil
	case int64(len(v.buffered)) >= whole:
		v.events = v.buffered
		return nil
	default:
		after, limit = known-whole, int(whole)+1
	}
	rows, err := h.rows(ctx, v.room.ID, after, limit)
	v.events, v.read = told(rows), len(rows) < limit
	return err
}

// recovers says whether nothing is missing between what the client had and events.
func (v *view) recovers(seq *int64) bool {
	if seq == nil || v.seq != *seq {
		return false
	}
	for _, f := range v.events {
		if f.seq > v.seq {
			return f.seq == v.seq+1
		}
	}
	return !v.read || v.seq == v.snapshot.seq
}

// replay announces the rooms and sends what the client missed.
func (h *Hub) replay(ctx context.Context, e *entry, views []*view, from since) error {
	if !e.client.drain(ctx) {
		return errAway
	}
	kept, err := h.resume(ctx, e, from.place)
	if err != nil {
		return err
	}
	for _, v := range views {
		h.announce(e, v, from, kept)
	}
	if err := h.replayExecutions(ctx, e, views); err != nil {
		return err
	}
	if err := h.catchUp(ctx, e); err != nil {
		return err
	}
	h.finish(e, views)
	return nil
}

// resume has the replay begin behind a place. kept: nothing behind it is missing.
func (h *Hub) resume(ctx context.Context, e *entry, from *store.Place) (kept bool, err error) {
	if from == nil {
		return false, nil
	}
	latest, err := ask(ctx, h, h.o.Store.LatestPlace)
	if err != nil || compare(*from, latest) > 0 {
		return false, err // no event of this database named such a place
	}
	kept, err = ask(ctx, h, func(ctx context.Context) (bool, error) { return h.o.Store.EventsKeptSince(ctx, *from) })
	if err != nil {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e.after = *from
	for _, s := range e.subscriptions {
		s.floor = *from // another process may have told more than we
	}
	return kept, nil
}

// announce says that a room is joined, and what is missing before it.
func (h *Hub) announce(e *entry, v *view, from since, kept bool) {
	n := notice{Type: "subscribed", Room: v.room.String()}
	recovered := kept
	if from.place == nil {
		recovered = v.snapshot != nil && v.recovers(from.seq)
	}
	n.Recovered = &recovered
	if v.snapshot != nil {
		n.Epoch, n.Seq, n.Snapshot = &v.snapshot.epoch, &v.snapshot.seq, v.snapshot
	} else {
		n.Place = written(e.after)
	}
	f := n.frame()
	if from.place != nil || !slices.ContainsFunc(e.subscriptions, func(s *subscription) bool { return s.room.Kind == execution }) {
		f.place = e.after
	}
	h.send(e.client, f)
	if from.place != nil && !kept {
		h.send(e.client, notice{Type: "gap", Room: v.room.String(), From: written(*from.place), To: written(e.upTo)}.frame())
	}
}

func (h *Hub) send(c *client, f *frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.push(c, f)
}

// replayExecutions sends the chosen events of all executions in one order, and the rest
// of those that resume.
func (h *Hub) replayExecutions(ctx context.Context, e *entry, views []*view) error {
	var all []*frame
	for _, v := range views {
		all = append(all, v.events...)
	}
	if len(views) > 1 {
		slices.SortStableFunc(all, func(a, b *frame) int { return compare(a.place, b.place) })
	}
	if err := h.sendAll(ctx, e, all); err != nil {
		return err
	}
	for _, v := range views {
		if v.snapshot == nil || v.seq == unknown {
			continue
		}
		if err := h.replayRest(ctx, e, v); err != nil {
			return err
		}
	}
	return nil
}

// replayRest sends what the rows have beyond the first page, and says what they do not
// have any more.
func (h *Hub) replayRest(ctx context.Context, e *entry, v *view) error {
	for !v.read && len(v.events) >= page {
		rows, err := h.rows(ctx, v.room.ID, v.seq, page)
		if err != nil {
			return err
		}
		v.events, v.read = told(rows), len(rows) < page
		if err := h.sendAll(ctx, e, v.events); err != nil {
			return err
		}
	}
	if v.read && v.seq < v.snapshot.seq {
		h.send(e.client, gapFrame(v.room.Room, v.seq+1, v.snapshot.seq))
		v.seq = v.snapshot.seq
	}
	return nil
}

// sendAll sends events as fast as the client reads them.
func (h *Hub) sendAll(ctx context.Context, e *entry, frames []*frame) error {
	for part := range slices.Chunk(frames, replayFrames) {
		if !e.client.drain(ctx) {
			return errAway
		}
		h.mu.Lock()
		for _, f := range part {
			h.pass(e, f)
		}
		h.mu.Unlock()
	}
	return nil
}

// pass sends one event of a replay, unless the client has it already. The caller holds
// the hub's mu.
func (h *Hub) pass(e *entry, f *frame) {
	for _, s := range e.subscriptions {
		if s.room.Kind == execution && s.room.ID != f.execution {
			continue // what the event is there for is another of the rooms
		}
		fresh, first, last := s.missed(f)
		if !fresh {
			return
		}
		if first > 0 {
			h.push(e.client, gapFrame(s.room.Room, first, last))
		}
	}
	h.push(e.client, f)
}

// catchUp replays rows until nothing is held back any more.
func (h *Hub) catchUp(ctx context.Context, e *entry) error {
	for {
		if err := h.replayRows(ctx, e); err != nil {
			return err
		}
		if !e.client.drain(ctx) {
			return errAway
		}
		if h.goLive(e) {
			return nil
		}
	}
}

// replayRows sends the rows that lie between after and upTo.
func (h *Hub) replayRows(ctx context.Context, e *entry) error {
	var rooms []Room
	for _, s := range e.subscriptions {
		rooms = append(rooms, s.room.Room)
	}
	filter := filterOf(rooms)
	for compare(e.after, e.upTo) < 0 {
		rows, err := ask(ctx, h, func(ctx context.Context) ([]store.Event, error) {
			return h.o.Store.EventsBetween(ctx, filter, e.after, e.upTo, page)
		})
		if err != nil {
			return err
		}
		var frames []*frame
		for _, s := range arrange(e.after, rows) {
			frames = append(frames, s.frame)
		}
		if err := h.sendAll(ctx, e, frames); err != nil {
			return err
		}
		if len(rows) < page {
			return nil
		}
		e.after = rows[len(rows)-1].Place()
	}
	return nil
}

// goLive sends what was held back; from now on the client hears of everything itself.
// false: too much has happened, read on behind what was replayed.
func (h *Hub) goLive(e *entry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := e.release()
	if e.missed {
		e.missed, e.after, e.upTo = false, e.upTo, h.place
		h.keepClosed(e, held)
		return false
	}
	for _, f := range held {
		h.pass(e, f)
	}
	for _, s := range e.subscriptions {
		s.join = nil
	}
	return true
}

// keepClosed holds on to what no row says: that a room was closed.
func (h *Hub) keepClosed(e *entry, held []*frame) {
	for _, f := range held {
		if f.place == (store.Place{}) {
			e.hold(h, e.client, f)
		}
	}
}

// finish closes the rooms in which nothing more will happen.
func (h *Hub) finish(e *entry, views []*view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range views {
		if v.over && e.client.subscriptions[v.room.Room] == v.subscription {
			h.detach(e.client, v.subscription)
			h.push(e.client, closedFrame(v.room.Room))
		}
	}
}

// snapshot is an execution as it is when somebody subscribes: what all events up to its
// seq came to.
type snapshot struct {
	Status     string         `json:"status"`
	Flow       string         `json:"flow"`
	FlowID     int64          `json:"flow_id"`
	Version    int            `json:"version"`
	Step       int            `json:"step"` // the next one
	Awaits     string         `json:"awaits,omitempty"`
	Test       string         `json:"test,omitempty"`
	Position   int            `json:"position,omitempty"` // queued: about
	CreatedAt  time.Time      `json:"created_at"`
	StartedAt  *time.Time     `json:"started_at,omitempty"`
	FinishedAt *time.Time     `json:"finished_at,omitempty"`
	Steps      []snapshotStep `json:"steps"`
	Truncated  bool           `json:"truncated,omitempty"` // steps are left out
	Link       string         `json:"link"`                // all of it

	epoch, seq int64
}

type snapshotStep struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Position int    `json:"position"`
	Status   string `json:"status"`
	Tries    int    `json:"tries"`
}

// room for what stands around a snapshot in its frame
const greeting = 512

func newSnapshot(x store.Execution, steps []store.ExecutionStep) *snapshot {
	s := &snapshot{
		Status: x.Status, Flow: x.Flow, FlowID: x.FlowID, Version: x.Version, Step: x.Step, Awaits: x.Awaits, Test: x.Test, Position: x.Position,
		CreatedAt: x.CreatedAt.UTC(), StartedAt: x.StartedAt, FinishedAt: x.FinishedAt, Steps: []snapshotStep{},
		Link: linkOf(Room{execution, x.ID}), epoch: x.Epoch, seq: x.EventSeq,
	}
	for _, step := range steps {
		s.Steps = append(s.Steps, snapshotStep{step.Name, step.Type, step.Position, step.Status, step.Tries})
	}
	slices.SortFunc(s.Steps, func(a, b snapshotStep) int { return cmp.Compare(a.Position, b.Position) })
	for len(s.Steps) > 0 && len(encoded(s)) > mostFrame-greeting {
		s.Steps, s.Truncated = s.Steps[:len(s.Steps)-1], true
	}
	return s
}
