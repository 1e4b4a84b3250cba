package live

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// mostRooms is how many rooms one client may follow.
const mostRooms = 128

// kind is what a room is about.
type kind string

const (
	everything   kind = "all"
	execution    kind = "execution"
	flow         kind = "flow"
	account      kind = "account"
	conversation kind = "conversation"
)

// Room is what a client may follow. Its zero value is none.
type Room struct {
	Kind kind // all, execution, flow, account or conversation
	ID   int64
}

// Rights says whether whoever asks may follow a room. It says no to rooms of what
// does not exist; nobody can tell the two apart.
type Rights func(ctx context.Context, r Room) bool

// Visitor is who follows.
type Visitor struct {
	May  Rights
	Pass store.Pass // while it is good, the connection stays; zero: nothing ends it
}

// ParseRoom reads the name of a room, such as "execution:7" or "all".
func ParseRoom(name string) (Room, error) {
	if name == string(everything) {
		return Room{Kind: everything}, nil
	}
	word, number, _ := strings.Cut(name, ":")
	switch k := kind(word); k {
	case execution, flow, account, conversation:
		id, err := strconv.ParseInt(number, 10, 64)
		if err == nil && id > 0 && strconv.FormatInt(id, 10) == number {
			return Room{k, id}, nil
		}
	case everything:
	}
	return Room{}, fmt.Errorf("%q names no room", name)
}

// String is the name that ParseRoom reads.
func (r Room) String() string {
	if r.Kind == everything {
		return string(everything)
	}
	return string(r.Kind) + ":" + strconv.FormatInt(r.ID, 10)
}

// roomsOf are the rooms that something about these belongs to. That of the execution
// comes first: it alone knows of gaps, and says so before the event.
func roomsOf(executionID, flowID, accountID, conversationID *int64) []Room {
	rooms := make([]Room, 0, 5)
	for _, of := range []struct {
		kind kind
		id   *int64
	}{{execution, executionID}, {flow, flowID}, {account, accountID}, {conversation, conversationID}} {
		if of.id != nil {
			rooms = append(rooms, Room{of.kind, *of.id})
		}
	}
	return append(rooms, Room{Kind: everything})
}

// room is a Room that somebody follows, or an execution that has a buffer. Guarded by
// the hub's mu.
type room struct {
	Room

	subscriptions map[*client]*subscription
	buffer        *buffer
	ends          time.Time // when it is closed; zero: its execution has not ended
}

// subscription is a client in a room. Guarded by the hub's mu.
type subscription struct {
	room *room
	seq  int64  // of the last event of the execution that was sent; unknown: any may be the next
	join *entry // not live yet; nil: it is

	floor store.Place // the client had all up to here; zero: nothing
}

const unknown = -1

// missed says whether a frame is new to the subscription, and the numbers that it
// never got before it; first is 0 when there are none.
func (s *subscription) missed(f *frame) (fresh bool, first, last int64) {
	if f.place != (store.Place{}) && compare(f.place, s.floor) <= 0 {
		return false, 0, 0
	}
	if s.room.Kind != execution || f.execution == 0 {
		return true, 0, 0
	}
	if s.seq != unknown && f.seq <= s.seq {
		return false, 0, 0
	}
	if s.seq != unknown && f.seq > s.seq+1 {
		first, last = s.seq+1, f.seq-1
	}
	s.seq = f.seq
	return true, first, last
}

// filterOf says which rows belong to rooms.
func filterOf(rooms []Room) store.EventFilter {
	var f store.EventFilter
	for _, r := range rooms {
		switch r.Kind {
		case everything:
			f.All = true
		case execution:
			f.Executions = append(f.Executions, r.ID)
		case flow:
			f.Flows = append(f.Flows, r.ID)
		case account:
			f.Accounts = append(f.Accounts, r.ID)
		case conversation:
			f.Conversations = append(f.Conversations, r.ID)
		}
	}
	return f
}
