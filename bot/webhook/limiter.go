package webhook

import (
	"container/list"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	window   = time.Minute
	mostKeys = 50_000 // that a limiter tells apart
)

// limiter counts requests by key: at most so many in any minute (L23). It remembers when
// each of them came, so that no two windows can be played against each other, and forgets
// keys that have been idle for a minute. Keys beyond mostKeys share one log. It is safe
// from any goroutine.
type limiter[K comparable] struct {
	most  int       // keys
	began time.Time // times are counted from here

	mu     sync.Mutex
	logs   map[K]*record[K] // guarded by mu
	order  list.List        // of *record, the one that was used longest ago first; guarded by mu
	shared record[K]        // of keys without a place; guarded by mu
}

// record is when one key's requests of the last minute came.
type record[K comparable] struct {
	key   K
	place *list.Element // nil: the shared one
	times ring
}

// token is the right to one request, which can be given back.
type token struct{ giveBack func() }

// quota is what a key has left.
type quota struct {
	policy string // its name
	limit  int
	left   int
	after  time.Duration // until the next one becomes free
	shared bool          // with all keys that have no place
}

func newLimiter[K comparable](most int) *limiter[K] {
	return &limiter[K]{most: most, began: time.Now(), logs: map[K]*record[K]{}}
}

// take counts a request of key, of which limit may come in any minute. One that is
// refused is not counted, and q.after says when the next one passes.
func (l *limiter[K]) take(key K, limit int) (t token, q quota, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.began)
	l.forget(now)
	r := l.find(key)
	r.times.drop(now - window)
	if ok = r.times.n < limit; ok {
		r.times.push(now, limit)
		l.used(r)
		t.giveBack = sync.OnceFunc(func() { l.untake(r, now) })
	}
	return t, l.quota(r, now, limit), ok
}

// allows says whether one more request of key would pass, and counts nothing.
func (l *limiter[K]) allows(key K, limit int) (q quota, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.logs[key]
	if r == nil && len(l.logs) < l.most {
		return quota{limit: limit, left: limit}, true
	}
	if r == nil {
		r = &l.shared
	}
	now := time.Since(l.began)
	r.times.drop(now - window)
	return l.quota(r, now, limit), r.times.n < limit
}

// quota is what a record has left. The caller has mu.
func (l *limiter[K]) quota(r *record[K], now time.Duration, limit int) quota {
	return quota{limit: limit, left: max(0, limit-r.times.n), after: r.free(now, limit), shared: r == &l.shared}
}

// find is the record of a key; one without a place gets the shared one.
func (l *limiter[K]) find(key K) *record[K] {
	if r := l.logs[key]; r != nil {
		return r
	}
	if len(l.logs) >= l.most {
		return &l.shared
	}
	r := &record[K]{key: key}
	l.logs[key], r.place = r, l.order.PushBack(r)
	return r
}

// forget lets go of the keys that have been idle for longest, two at each call: they
// leave faster than new ones come.
func (l *limiter[K]) forget(now time.Duration) {
	for range 2 {
		first := l.order.Front()
		if first == nil {
			return
		}
		r := first.Value.(*record[K]) //nolint:forcetypeassert // the list holds nothing else
		if r.times.drop(now - window); r.times.n > 0 {
			return
		}
		l.remove(r)
	}
}

func (l *limiter[K]) remove(r *record[K]) {
	if l.logs[r.key] == r {
		delete(l.logs, r.key)
		l.order.Remove(r.place)
	}
}

func (l *limiter[K]) used(r *record[K]) {
	if r.place != nil {
		l.order.MoveToBack(r.place)
	}
}

func (l *limiter[K]) untake(r *record[K], at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.times.cut(at)
	if r.times.n == 0 && r.place != nil {
		l.remove(r)
	}
}

func (l *limiter[K]) keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.logs)
}

// free is how long it takes until one more request of limit passes, or until the oldest
// is forgotten when there is room already.
func (r *record[K]) free(now time.Duration, limit int) time.Duration {
	if r.times.n == 0 {
		return 0
	}
	return r.times.at(max(0, r.times.n-limit)) + window - now
}

// ring holds times in order. It grows as it is needed.
type ring struct {
	times []time.Duration
	first int
	n     int
}

func (r *ring) at(i int) time.Duration { return r.times[(r.first+i)%len(r.times)] }

// push adds a time; most is how many there will ever be.
func (r *ring) push(at time.Duration, most int) {
	if r.n == len(r.times) {
		grown := make([]time.Duration, min(max(4, 2*r.n), most))
		for i := range r.n {
			grown[i] = r.at(i)
		}
		r.times, r.first = grown, 0
	}
	r.times[(r.first+r.n)%len(r.times)] = at
	r.n++
}

// drop forgets times up to then.
func (r *ring) drop(then time.Duration) {
	for r.n > 0 && r.at(0) <= then {
		r.first = (r.first + 1) % len(r.times)
		r.n--
	}
}

// cut takes out one time, if it is still there.
func (r *ring) cut(at time.Duration) {
	for i := r.n - 1; i >= 0; i-- {
		if r.at(i) != at {
			continue
		}
		for j := i; j < r.n-1; j++ {
			r.times[(r.first+j)%len(r.times)] = r.at(j + 1)
		}
		r.n--
		return
	}
}

// show tells the caller what is left, in the fields of draft-ietf-httpapi-ratelimit-headers-09
// (the two structured fields that replaced RateLimit-Limit and its kin): r is what is
// left, t the seconds until more becomes free.
func (q quota) show(h http.Header) {
	name := strconv.Quote(q.policy)
	h.Set("RateLimit-Policy", name+";q="+strconv.Itoa(q.limit)+";w="+strconv.Itoa(int(window.Seconds())))
	h.Set("RateLimit", name+";r="+strconv.Itoa(q.left)+";t="+strconv.Itoa(wholeSeconds(q.after)))
}

// sometimes is true once a minute, for what would be said too often.
type sometimes struct{ last atomic.Int64 }

func (s *sometimes) now() bool {
	last, now := s.last.Load(), time.Now().UnixNano()
	return (last == 0 || now-last > int64(time.Minute)) && s.last.CompareAndSwap(last, now)
}
