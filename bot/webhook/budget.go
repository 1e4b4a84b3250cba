package webhook

import "sync/atomic"

// budget is so many bytes, or places, for everybody together. It is safe from any
// goroutine.
type budget struct {
	most int64
	used atomic.Int64
}

// take reserves n, or nothing when that is too much.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// share is what one request has of a budget.
type share struct {
	of  *budget
	has int64
}

func (s *share) take(n int64) bool {
	if !s.of.take(n) {
		return false
	}
	s.has += n
	return true
}

// giveBack may be called more than once.
func (s *share) giveBack() {
	s.of.give(s.has)
	s.has = 0
}
