package wasim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Stats counts what has happened since the server was made, by name: "msg.in"
// are messages from linked devices, "msg.out" those written to them, and
// "undecryptable" the answers a customer's phone dropped silently because their
// ratchet counter was already used. A name that never happened is missing.
type Stats map[string]int64

// String lists the counters by name, for logs and failing tests.
func (s Stats) String() string {
	parts := make([]string, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, s[name]))
	}
	return strings.Join(parts, " ")
}

// counters is Stats in the making; safe from any goroutine.
type counters struct {
	mu     sync.Mutex
	counts Stats // guarded by mu
}

func (c *counters) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = Stats{}
	}
	c.counts[name] += int64(n)
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}
