package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/store"
)

// L17: after completion and after failure, the room is there for 5 s, told that it
// closes, and leaves together with its buffer; the connection stays.
func TestRoomAndBufferLeaveFiveSecondsAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"execution.completed", "execution.failed", "execution.cancelled"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { roomLeaves(t, end) })
		})
	}
}

func roomLeaves(t *testing.T, end string) {
	s := newShelf()
	h := New(Options{Store: s})
	must(t, h.Start(t.Context()))
	s.add(7, "execution.started", 1)
	h.Wake()
	time.Sleep(time.Second)
	early, c := attend(t, h, Room{execution, 7}, Room{Kind: everything})
	s.add(7, end, 1)
	h.Wake()
	synctest.Wait()
	time.Sleep(4900 * time.Millisecond)
	synctest.Wait()
	late, _ := attend(t, h, Room{execution, 7})
	synctest.Wait()
	wantHeard(t, early, "subscribed", "subscribed", "1", "2")
	wantHeard(t, late, "subscribed", "1", "2")
	if n := h.Stats().Buffers; n != 1 {
		t.Errorf("%d buffers after 4.9 s, not 1", n)
	}
	time.Sleep(200 * time.Millisecond)
	synctest.Wait()
	wantHeard(t, early, "room.closed")
	wantHeard(t, late, "room.closed")
	if n := h.Stats(); n.Buffers != 0 || n.BufferBytes != 0 || n.Rooms != 1 || n.Sockets != 2 {
		t.Errorf("after 5.1 s there are %+v, not one room and two sockets", n)
	}
	if len(c.subscriptions) != 1 {
		t.Errorf("the first client follows %d rooms, not the other one", len(c.subscriptions))
	}
	after, _ := attend(t, h, Room{execution, 7})
	synctest.Wait()
	wantHeard(t, after, "subscribed", "gap 1-2", "room.closed")
	s.add(8, "execution.started", 1)
	h.Wake()
	time.Sleep(time.Second)
	wantHeard(t, early, "1")
	must(t, h.Close(t.Context()))
	wantHeard(t, early, "server.shutdown")
}

func wantHeard(t *testing.T, e *ear, want ...string) {
	t.Helper()
	if got := e.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q instead of %q", got, want)
	}
}

// L18: the 101st execution takes the place of the oldest, and the line of the contract
// says so; more events of the 100 do not.
func TestTheHundredAndFirstExecutionTakesThePlaceOfTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newShelf()
		h := New(Options{Store: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
		must(t, h.Start(t.Context()))
		for id := range int64(100) {
			s.add(id+1, "execution.started", 2)
		}
		s.add(1, "step.started", 1)
		h.Wake()
		time.Sleep(2 * time.Second)
		if n := h.Stats(); n.Buffers != 100 || n.BufferEvents != 201 || log.Len() > 0 {
			t.Fatalf("%+v, %s", n, log.String())
		}
		s.add(101, "execution.started", 1)
		h.Wake()
		time.Sleep(2 * time.Second)
		if n := h.Stats(); n.Buffers != 100 || n.Evicted != 1 || n.BufferEvents != 199 {
			t.Errorf("%+v", n)
		}
		if want := `msg="Event buffer limit reached (100), removed oldest execution: 1"`; strings.Count(log.String(), want) != 1 {
			t.Errorf("%s was not said once: %s", want, log.String())
		}
		// The one that had to go is still followed, from its rows.
		e, _ := attend(t, h, Room{execution, 1})
		synctest.Wait()
		wantHeard(t, e, "subscribed", "1", "2", "3")
		must(t, h.Close(t.Context()))
	})
}

// L19: a buffer holds the newest 20 events and what they weigh is counted.
func TestBufferHoldsTheNewestTwenty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		h := New(Options{Store: s})
		must(t, h.Start(t.Context()))
		for id := range int64(101) {
			s.add(id+1, "step.completed", 25)
		}
		h.Wake()
		time.Sleep(5 * time.Second)
		n := h.Stats()
		if n.Buffers != 100 || n.BufferEvents != 2000 || n.Told != 101*25 {
			t.Errorf("%+v", n)
		}
		weight := 0
		for _, r := range h.buffered {
			for _, f := range r.buffer.frames {
				weight += len(f.text)
			}
		}
		if n.BufferBytes != weight {
			t.Errorf("%d bytes are counted, not %d", n.BufferBytes, weight)
		}
		must(t, h.Close(t.Context()))
	})
}

// L32: a hub keeps nothing after its stop, and a second stop does nothing.
func TestSecondCloseDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the bubble fails when a goroutine is left
		s := newShelf()
		h := New(Options{Store: s})
		must(t, h.Start(t.Context()))
		s.add(1, "execution.completed", 1)
		e, c := attend(t, h, Room{execution, 1})
		must(t, h.Close(t.Context()))
		must(t, h.Close(t.Context()))
		<-e.done
		if e.end != restarting {
			t.Errorf("the client was ended with %+v", e.end)
		}
		synctest.Wait()
		if n := h.Stats(); n.Sockets != 0 || n.WaitingBytes != 0 || c.length() != 0 {
			t.Errorf("%+v", n)
		}
		must(t, New(Options{Store: s}).Close(t.Context())) // never started
	})
}

// A slow client loses transient events first, then its connection; others lose nothing.
func TestTransientEventsAreTheFirstToGo(t *testing.T) {
	t.Parallel()
	h := New(Options{Store: newShelf()})
	_, c := h.admit(t.Context(), nil, store.Pass{})
	defer h.leave(t.Context(), c)
	_, _ = h.enter(c, []Room{{Kind: everything}})
	c.subscriptions[Room{Kind: everything}].join = nil
	for range 200 {
		h.Publish(Transient{Type: "typing"})
	}
	if n := h.Stats(); n.Waiting != mostFrames || n.Dropped != 200-mostFrames {
		t.Fatalf("%+v", n)
	}
	for i := range mostFrames {
		h.push(c, &frame{text: []byte("{}"), place: placeAt(i + 1)})
	}
	if n := h.Stats(); n.Waiting != mostFrames || n.Dropped != 200 || n.Slow != 0 || n.WaitingBytes != 2*mostFrames {
		t.Fatalf("%+v", n)
	}
	h.push(c, &frame{text: []byte("{}"), place: placeAt(1000)})
	if n := h.Stats(); n.Slow != 1 || n.Waiting != 0 || n.WaitingBytes != 0 || c.reason() != slow {
		t.Errorf("%+v, %+v", n, c.reason())
	}
}

// L29: all clients together have 32 MiB that wait for them; then the one with the most
// goes.
func TestWhoHasMostWaitingGoesWhenTheBudgetIsFull(t *testing.T) {
	t.Parallel()
	h := New(Options{Store: newShelf()})
	h.mostBytes = 10_000
	var clients []*client
	for i := range 4 {
		_, c := h.admit(t.Context(), nil, store.Pass{})
		defer h.leave(t.Context(), c)
		clients = append(clients, c)
		for range 1 + i%3 { // the third has most
			h.push(c, &frame{text: make([]byte, 1000)})
		}
	}
	shared := &frame{text: make([]byte, 1000)}
	for range 3 {
		h.push(clients[0], shared)
	}
	if n := h.Stats(); n.Slow != 0 || n.WaitingBytes != 10_000 {
		t.Fatalf("%+v", n)
	}
	h.push(clients[1], shared) // counts again
	if n := h.Stats(); n.Slow != 1 || n.WaitingBytes != 7_000 {
		t.Errorf("%+v", n)
	}
	for i, c := range clients {
		if sent := c.why != nil; sent != (i == 0) {
			t.Errorf("client %d: sent away is %v", i, sent)
		}
	}
}

// A batch of any size sends nobody away who reads.
func TestBigBatchSendsNobodyAwayWhoReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		h := New(Options{Store: s})
		must(t, h.Start(t.Context()))
		e, _ := attend(t, h, Room{Kind: everything})
		s.add(1, "step.started", 5_000)
		h.Wake()
		time.Sleep(10 * time.Second)
		wantHeard(t, e, append([]string{"subscribed"}, numbers(1, 5_000)...)...)
		if n := h.Stats(); n.Slow != 0 {
			t.Errorf("%+v", n)
		}
		must(t, h.Close(t.Context()))
	})
}

// Heard hears of every event, also while nobody follows.
func TestHeardHearsOfEveryEventOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		var got []int64
		h := New(Options{Store: s, Heard: func(events []storeEvent) {
			for _, e := range events {
				got = append(got, e.Seq)
			}
		}})
		must(t, h.Start(t.Context()))
		s.add(1, "step.started", 700)
		time.Sleep(3 * time.Second)
		must(t, h.Close(context.WithoutCancel(t.Context())))
		if len(got) != 700 || !slices.IsSorted(got) || got[699] != 700 {
			t.Errorf("heard of %d events: %s", len(got), fmt.Sprint(got))
		}
	})
}

// What happens while somebody joins, be it more than is held back for them, comes behind
// the replay, once and in order; and so does the end of the room.
func TestJoiningSlowlyLosesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		meanwhile int
		rooms     []Room
		greeting  []string
	}{
		{3, []Room{{execution, 7}}, []string{"subscribed"}},
		{500, []Room{{execution, 7}}, []string{"subscribed"}},
		{500, []Room{{Kind: everything}, {execution, 7}}, []string{"subscribed", "subscribed"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf()
			h := New(Options{Store: s})
			must(t, h.Start(t.Context()))
			s.add(7, "step.started", 2)
			time.Sleep(2 * time.Second)
			s.takes = 9 * time.Second
			go func() {
				time.Sleep(time.Second)
				s.add(7, "step.started", c.meanwhile)
				s.add(7, "execution.completed", 1)
			}()
			e, _ := attend(t, h, c.rooms...)
			synctest.Wait()
			wantHeard(t, e, append(append(c.greeting, numbers(1, c.meanwhile+3)...), "room.closed")...)
			if n := h.Stats(); n.WaitingBytes != 0 || n.Buffers != 0 {
				t.Errorf("%+v", n)
			}
			must(t, h.Close(t.Context()))
		})
	}
}

// Who comes from a process that has told more than this one does not hear it again.
func TestWhoKnowsMoreThanThisProcessHearsNothingTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.add(7, "step.started", 1)
		h := New(Options{Store: s})
		must(t, h.Start(t.Context()))
		s.add(7, "step.started", 3)
		ahead := s.events[2].Place()
		e, _ := comeBack(t, h, since{place: &ahead}, Room{Kind: everything})
		time.Sleep(2 * time.Second)
		wantHeard(t, e, "subscribed", "4")
		must(t, h.Close(t.Context()))
	})
}

// While the database is away nobody is told less than there is.
func TestEventsComeLaterWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newShelf()
		h := New(Options{Store: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
		must(t, h.Start(t.Context()))
		s.add(7, "step.started", 1)
		e, c := attend(t, h, Room{Kind: everything})
		time.Sleep(time.Second)
		s.fail(errors.New("connection refused"))
		s.add(7, "step.started", 2)
		time.Sleep(time.Minute)
		if err := h.join(t.Context(), c, []Room{{execution, 7}}, since{}); !errors.Is(err, errAway) {
			t.Errorf("join: %v", err)
		}
		wantHeard(t, e, "subscribed", "1")
		s.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		wantHeard(t, e, "2", "3")
		if n := strings.Count(log.String(), "Events cannot be read"); n != 1 || !strings.Contains(log.String(), "Events can be read again") {
			t.Errorf("said %s", log.String())
		}
		if n := h.Stats(); n.Rooms != 2 || len(c.subscriptions) != 1 { // the execution has a buffer
			t.Errorf("%+v", n)
		}
		must(t, h.Close(t.Context()))
	})
}
