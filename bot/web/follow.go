package web

import "sync"

// signal tells all who wait that something changed.
type signal struct {
	mu sync.Mutex
	c  chan struct{} // closed at the next change; guarded by mu
}

// changed is closed at the next change. Take it before looking.
func (s *signal) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// followAccounts passes changes of accounts on to all who wait, until Close. Who
// waits also looks by itself: without followers' place pages are only slower.
func (s *Server) followAccounts() {
	if s.o.Follow == nil {
		return
	}
	changes, end, err := s.o.Follow()
	if err != nil {
		return
	}
	s.serving.Go(func() {
		defer end()
		for {
			select {
			case _, open := <-changes:
				if !open {
					return
				}
				s.accounts.tell()
			case <-s.waiting.Done():
				return
			}
		}
	})
}
