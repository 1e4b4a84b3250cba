package bot

import (
	"errors"
	"log/slog"
	"sync"

	"frontdesk/store"
)

// Topics that parts of this process may subscribe to. The id of each is that of
// the row that changed; 0 means: look at all of them.
const (
	TopicAccount = "account" // an account's row, its status or its pairing
)

// usualSubscribers is how many may follow one topic (L6).
const usualSubscribers = 50

// ErrSubscribers refuses a subscriber beyond the limit (L6).
var ErrSubscribers = errors.New("too many follow this topic already")

// topics tell parts of this process what changed, here or in another process.
type topics struct {
	limit int
	log   *slog.Logger

	mu     sync.Mutex
	closed bool
	all    map[string]map[*Subscription]bool // by topic; guarded by mu
}

// Subscription is one follower of a topic. Changes on C are hints: a follower that
// is slow gets one 0 for all that it missed.
type Subscription struct {
	C     <-chan int64
	c     chan int64
	topic string
	of    *topics
}

// mostMissed is how many changes wait for a slow follower.
const mostMissed = 64

// Subscribe follows a topic. Beyond the limit it returns ErrSubscribers and
// changes nothing. Close ends it; so does the manager's end, which closes C.
func (m *Manager) Subscribe(topic string) (*Subscription, error) {
	return m.topics.subscribe(topic)
}

func (t *topics) subscribe(topic string) (*Subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.all[topic]) >= t.limit {
		t.log.Error("Subscriber limit reached", slog.String("topic", topic), slog.Int("limit", t.limit))
		return nil, ErrSubscribers
	}
	c := make(chan int64, mostMissed)
	s := &Subscription{C: c, c: c, topic: topic, of: t}
	if t.all[topic] == nil {
		t.all[topic] = map[*Subscription]bool{}
	}
	t.all[topic][s] = true
	return s, nil
}

// Close ends the subscription. A second call does nothing.
func (s *Subscription) Close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.drop(s)
}

// drop forgets s; mu is held.
func (t *topics) drop(s *Subscription) {
	if t.all[s.topic][s] {
		delete(t.all[s.topic], s)
		close(s.c)
	}
}

// tell hands a change to every follower of its topic.
func (t *topics) tell(b store.Bell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, followers := range t.all {
		if b.Topic != "" && b.Topic != topic {
			continue
		}
		for s := range followers {
			s.tell(b.ID)
		}
	}
}

// tell drops what waits when there is no room: one 0 stands for all of it.
func (s *Subscription) tell(id int64) {
	select {
	case s.c <- id:
		return
	default:
	}
	for {
		select {
		case <-s.c:
			continue
		default:
		}
		break
	}
	s.c <- 0
}

// close ends every subscription; there are none after it.
func (t *topics) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, followers := range t.all {
		for s := range followers {
			t.drop(s)
		}
	}
}

func (t *topics) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, followers := range t.all {
		n += len(followers)
	}
	return n
}
