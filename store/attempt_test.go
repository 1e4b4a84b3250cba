package store_test

import (
	"slices"
	"testing"
	"time"

	"frontdesk/store"
)

func TestAttemptsAreFoundByProviderAndConversationNewestFirst(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	conversation, first := int64(7), 40*time.Millisecond
	var attempts []store.ProviderAttempt
	for i := range 5 {
		a := store.ProviderAttempt{At: time.Now(), TurnID: int64(i / 2), Kind: "chat", ProviderID: int64(1 + i%2), Provider: "a", Model: "m", Class: "ok", Took: time.Second}
		if i > 2 {
			a.ConversationID, a.First, a.Error, a.Cost = &conversation, &first, "a is tired", new(int64(12))
		}
		attempts = append(attempts, a)
	}
	attempts[0].At = time.Now().Add(-31 * 24 * time.Hour)
	must(t, s.NoteAttempts(ctx, attempts))
	ids := func(f store.AttemptFilter, p store.Page) (ids []int64) {
		t.Helper()
		found, err := s.Attempts(ctx, f, p)
		must(t, err)
		for _, a := range found {
			ids = append(ids, a.ID)
		}
		return ids
	}
	same(t, ids(store.AttemptFilter{}, store.Page{Limit: 3}), 5, 4, 3)
	same(t, ids(store.AttemptFilter{}, store.Page{Limit: 3, Before: 3}), 2, 1)
	same(t, ids(store.AttemptFilter{Provider: 2}, store.Page{Limit: 9}), 4, 2)
	same(t, ids(store.AttemptFilter{Conversation: 7}, store.Page{Limit: 9}), 5, 4)
	must(t, s.ForgetAttempts(ctx))
	same(t, ids(store.AttemptFilter{}, store.Page{Limit: 9}), 5, 4, 3, 2)
	found, err := s.Attempts(ctx, store.AttemptFilter{Conversation: 7}, store.Page{Limit: 1})
	must(t, err)
	if a := found[0]; a.Took != time.Second || *a.First != first || *a.Cost != 12 || a.Error != "a is tired" || time.Since(a.At).Abs() > time.Minute {
		t.Errorf("read back: %+v", a)
	}
}

func same(t *testing.T, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
