package store_test

import (
	"slices"
	"testing"
	"time"

	"frontdesk/store"
)

// A pass is good as long as a door would let its holder in.
func TestPassEndsWithItsTokenOrSession(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var tokens []store.Pass
	for _, name := range []string{"good", "expires", "removed"} {
		secret, err := d.AddToken(t.Context(), name, store.RoleViewer)
		must(t, err)
		tokens = append(tokens, store.TokenPass(secret))
	}
	sessions := []store.Pass{store.SessionPass("good"), store.SessionPass("expires"), store.SessionPass("removed")}
	for _, p := range sessions {
		must(t, d.Sessions().Commit(p.Hash, []byte("{}"), time.Now().Add(time.Hour)))
	}
	all := append(slices.Clone(tokens), sessions...)
	if ended, err := d.EndedPasses(t.Context(), all); err != nil || len(ended) != 0 {
		t.Fatalf("ended are %v (%v), want none", ended, err)
	}
	_, err := d.db.Exec(t.Context(), `update token set expires_at = clock() where name = 'expires'`)
	must(t, err)
	_, err = d.db.Exec(t.Context(), `delete from token where name = 'removed'`)
	must(t, err)
	must(t, d.Sessions().Commit(sessions[1].Hash, []byte("{}"), time.Now().Add(-time.Second)))
	must(t, d.Sessions().Delete(sessions[2].Hash))
	ended, err := d.EndedPasses(t.Context(), append(all, store.TokenPass("never"), store.SessionPass("never")))
	must(t, err)
	want := []store.Pass{tokens[1], tokens[2], sessions[1], sessions[2], store.TokenPass("never"), store.SessionPass("never")}
	if !slices.Equal(ended, want) {
		t.Errorf("ended are %v, want %v", ended, want)
	}
}
