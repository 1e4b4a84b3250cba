package live

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"frontdesk/store"
)

// written is a place as clients keep it: "<xid>-<id>".
func written(p store.Place) string {
	return strconv.FormatInt(p.XID, 10) + "-" + strconv.FormatInt(p.ID, 10)
}

var errBadPlace = errors.New("this is no place that an event named")

// readPlace reads what written wrote.
func readPlace(text string) (store.Place, error) {
	xid, id, _ := strings.Cut(text, "-")
	var p store.Place
	var errs [2]error
	p.XID, errs[0] = strconv.ParseInt(xid, 10, 64)
	p.ID, errs[1] = strconv.ParseInt(id, 10, 64)
	if errors.Join(errs[:]...) != nil || p.XID < 0 || p.ID < 0 {
		return store.Place{}, errBadPlace
	}
	return p, nil
}

func compare(a, b store.Place) int {
	return cmp.Or(cmp.Compare(a.XID, b.XID), cmp.Compare(a.ID, b.ID))
}

// step is an event in the order in which it is told.
type step struct {
	store.Event

	frame   *frame
	settled bool // all that comes before its place has been told, and nothing else
}

// arrange puts rows that follow a place into the order in which they are told: as they
// stand, but those of one execution by seq (two transactions may have begun the other
// way round). Each names the place up to which all has been told with it.
func arrange(from store.Place, events []store.Event) []step {
	events = bySeq(events)
	least := make([]store.Place, len(events)) // of what is told later
	for i := len(events) - 2; i >= 0; i-- {
		least[i] = events[i+1].Place()
		if i+2 < len(events) && compare(least[i+1], least[i]) < 0 {
			least[i] = least[i+1]
		}
	}
	steps := make([]step, len(events))
	reached, highest := from, from
	for i, e := range events {
		if compare(e.Place(), highest) > 0 {
			highest = e.Place()
		}
		settled := i == len(events)-1 || compare(highest, least[i]) < 0
		if settled {
			reached = highest
		}
		steps[i] = step{e, newFrame(e, reached), settled}
	}
	return steps
}

// bySeq sorts the events of each execution among the positions that they have.
func bySeq(events []store.Event) []store.Event {
	last, sorted := map[int64]int64{}, true
	for _, e := range events {
		if e.ExecutionID != nil {
			sorted = sorted && e.Seq > last[*e.ExecutionID]
			last[*e.ExecutionID] = e.Seq
		}
	}
	if sorted {
		return events
	}
	positions := map[int64][]int{}
	for i, e := range events {
		if e.ExecutionID != nil {
			positions[*e.ExecutionID] = append(positions[*e.ExecutionID], i)
		}
	}
	arranged := slices.Clone(events)
	for _, at := range positions {
		order := slices.Clone(at)
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(events[a].Seq, events[b].Seq) })
		for i, from := range order {
			arranged[at[i]] = events[from]
		}
	}
	return arranged
}

// told are the frames of rows, which a client gets by itself.
func told(events []store.Event) []*frame {
	if len(events) == 0 {
		return nil
	}
	lowest := events[0].Place()
	for _, e := range events {
		if compare(e.Place(), lowest) < 0 {
			lowest = e.Place()
		}
	}
	var frames []*frame
	for _, s := range arrange(store.Place{XID: lowest.XID, ID: lowest.ID - 1}, events) {
		frames = append(frames, s.frame)
	}
	return frames
}
