package web_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/live"
	"frontdesk/bot/web"
)

// Whoever signs out hears nothing more of what happens, in no window that is open.
func TestStreamEndsWhenItsFollowerSignsOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *web.Options) {
		o.Live = live.New(live.Options{Store: o.Store.(*gate).Store, Check: 50 * time.Millisecond}) //nolint:forcetypeassert // newHouse put it there
		must(t, o.Live.Start(t.Context()))
		t.Cleanup(func() { must(t, o.Live.Close(context.Background())) })
	})
	leaves, stays := h.signedIn(), h.signedIn()
	window, other := h.follow(leaves), h.follow(stays)
	if a := h.visit(leaves, http.MethodPost, "/sign-out", ""); a.status != http.StatusSeeOther {
		t.Fatalf("signing out answered %d", a.status)
	}
	for window.Scan() {
		if strings.HasPrefix(window.Text(), "data:") {
			t.Errorf("after the sign-out it heard %s", window.Text())
		}
	}
	if err := window.Err(); err != nil {
		t.Errorf("the stream did not end, but %v", err)
	}
	if a := h.visit(leaves, http.MethodGet, "/live/events?room=all", ""); a.status != http.StatusUnauthorized {
		t.Errorf("coming back was answered %d", a.status)
	}
	h.paired("12025550111") // something happens
	for other.Scan() && !strings.Contains(other.Text(), `"account.status"`) {
	}
	if err := other.Err(); err != nil || !strings.Contains(other.Text(), `"account.status"`) {
		t.Errorf("whoever stays signed in heard %q, %v", other.Text(), err)
	}
}

// follow reads the lines of a stream about everything, behind the one that says that it
// has begun.
func (h *house) follow(c *http.Client) *bufio.Scanner {
	h.t.Helper()
	ctx, leave := context.WithTimeout(h.t.Context(), time.Minute)
	h.t.Cleanup(leave)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, h.server.URL+"/live/events?room=all", http.NoBody)
	must(h.t, err)
	r, err := c.Do(q)
	must(h.t, err)
	h.t.Cleanup(func() { r.Body.Close() })
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "subscribed") {
	}
	return lines
}
