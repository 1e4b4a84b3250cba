package live

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/store"
)

// Whoever is signed out hears nothing more a minute later; others stay, and so does
// everybody while the database is away.
func TestWhoIsSignedOutIsClosedWithinAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		h := New(Options{Store: s})
		must(t, h.Start(t.Context()))
		one, other := store.SessionPass("one"), store.SessionPass("other")
		all := Room{Kind: everything}
		first, _ := enter(t, h, one, since{}, all)
		second, _ := enter(t, h, one, since{}, all)
		stays, _ := enter(t, h, other, since{}, all)
		service, _ := attend(t, h, all)
		time.Sleep(time.Minute + time.Second)
		if asked := s.revoke(one); asked != 1 {
			t.Errorf("asked %d times in a minute, for four clients", asked)
		}
		s.fail(errors.New("the database is away"))
		time.Sleep(time.Minute)
		if n := h.Stats().Sockets; n != 4 {
			t.Errorf("%d clients are left while nobody knows, not 4", n)
		}
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := h.Stats().Sockets; n != 2 {
			t.Errorf("%d clients are left, not 2", n)
		}
		must(t, h.Close(t.Context()))
		for _, e := range []*ear{first, second, stays, service} {
			<-e.done
		}
		if first.end != signedOut || second.end != signedOut || stays.end != restarting || service.end != restarting {
			t.Errorf("they were ended with %+v, %+v, %+v and %+v", first.end, second.end, stays.end, service.end)
		}
	})
}

// Over both transports a connection ends with the token that opened it.
func TestConnectionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{Check: 20 * time.Millisecond})
	token, err := d.store.AddToken(t.Context(), "ends", store.RoleViewer)
	must(t, err)
	other, err := d.store.AddToken(t.Context(), "stays", store.RoleViewer)
	must(t, err)
	p, stays := call(t, server, "?token="+token), call(t, server, "?token="+other)
	for _, one := range []*phone{p, stays} {
		one.say(`{"op":"subscribe","room":"all"}`)
		one.hears("subscribed")
	}
	r := listen(t, server, "?room=all&token="+token, "")
	r.hears("subscribed")
	_, err = d.pool.Exec(t.Context(), `update token set expires_at = clock() where name = 'ends'`)
	must(t, err)
	p.ends(4001)
	if left, err := io.ReadAll(r.lines); err != nil || strings.Contains(string(left), "data:") {
		t.Errorf("the stream ended with %q, %v", left, err)
	}
	stays.silent()
	eventually(t, "one is left", func() bool { return h.Stats().Sockets == 1 })
}
