package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot/web"
	"frontdesk/store"
)

// sends is a house with one paired account.
type sends struct {
	*house
	account int64
}

func newSends(t *testing.T) sends {
	t.Helper()
	h := newHouse(t)
	return sends{h, h.paired("12025550111")}
}

func (s sends) path(more ...any) string {
	return fmt.Sprintf("/api/v1/accounts/%d", s.account) + fmt.Sprint(more...)
}

func (s sends) send(body string, header ...string) answer {
	s.t.Helper()
	return s.admin(http.MethodPost, s.path("/messages"), body, header...)
}

func (s sends) patch(body string) answer {
	s.t.Helper()
	return s.admin(http.MethodPatch, s.path(), body)
}

func decoded[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	var found T
	if a.status != status {
		t.Fatalf("answered %d, want %d: %s", a.status, status, a.body)
	}
	must(t, json.Unmarshal([]byte(a.body), &found))
	return found
}

// refused fails unless a is a 429 of that code that says when to try again.
func refused(t *testing.T, a answer, code string) time.Duration {
	t.Helper()
	p := a.problem(t)
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusTooManyRequests || p.Code != code || err != nil || after < 1 || p.Detail == "" {
		t.Fatalf("answered %d, Retry-After %q: %s", a.status, a.header.Get("Retry-After"), a.body)
	}
	return time.Duration(after) * time.Second
}

func TestSendIsRefusedWithATimeWhenThePaceIsFull(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	decoded[web.Account](t, s.patch(`{"pace_account":1,"pace_recipient":3,"new_chats_per_day":100}`), http.StatusOK)
	for i := range 5 {
		decoded[web.SentMessage](t, s.send(fmt.Sprintf(`{"to":"1202555012%d","text":"hi"}`, i)), http.StatusAccepted)
	}
	if after := refused(t, s.send(`{"to":"12025550130","text":"hi"}`), "pace"); after != time.Minute {
		t.Errorf("try again after %v, want a minute: one leaves every minute", after)
	}
	if n, err := s.store.PendingOutbound(t.Context()); err != nil || n != 5 {
		t.Errorf("%d messages are queued, want 5: %v", n, err)
	}
}

func TestNewChatsBeyondTheBudgetAreRefusedWithATime(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	a := decoded[web.Account](t, s.patch(`{"new_chats_per_day":1}`), http.StatusOK)
	if a.NewChatsPerDay == nil || *a.NewChatsPerDay != 1 || a.PairedAt == nil {
		t.Fatalf("%+v", a)
	}
	decoded[web.SentMessage](t, s.send(`{"to":"12025550122","text":"hi"}`), http.StatusAccepted)
	refused(t, s.send(`{"to":"12025550123","text":"hi"}`), "new_chat_budget")
	decoded[web.SentMessage](t, s.send(`{"to":"12025550122","text":"again"}`), http.StatusAccepted)
	must(t, s.store.Restrict(t.Context(), s.account, store.NoNewChats, time.Now().Add(time.Hour)))
	a429 := s.send(`{"to":"12025550124","text":"hi"}`)
	if after := refused(t, a429, "restricted"); after > time.Hour || !strings.Contains(a429.problem(t).Detail, "until") {
		t.Errorf("try again after %v: %s", after, a429.body)
	}
}

func TestPaceHasItsRanges(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	for _, body := range []string{
		`{"pace_account":601}`, `{"pace_account":-1}`, `{"pace_recipient":101}`, `{"pace_recipient":-1}`, `{"new_chats_per_day":-2}`, `{"new_chats_per_day":10001}`,
	} {
		if a := s.patch(body); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s answered %d", body, a.status)
		}
	}
	a := decoded[web.Account](t, s.patch(`{"pace_account":600,"pace_recipient":100,"new_chats_per_day":0}`), http.StatusOK)
	if a.PaceAccount != 600 || a.PaceRecipient != 100 || *a.NewChatsPerDay != 0 {
		t.Errorf("%+v", a)
	}
	if a := decoded[web.Account](t, s.patch(`{"new_chats_per_day":-1}`), http.StatusOK); a.NewChatsPerDay != nil {
		t.Errorf("-1 left %d new chats a day", *a.NewChatsPerDay)
	}
}

func TestSendAtIsATimeThatCanBeMeant(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	for in, good := range map[time.Duration]bool{
		-2 * time.Minute: false, -30 * time.Second: true, time.Hour: true, 365 * 24 * time.Hour: true, 367 * 24 * time.Hour: false,
	} {
		a := s.send(fmt.Sprintf(`{"to":"12025550122","text":"hi","send_at":%q}`, time.Now().Add(in).Format(time.RFC3339)))
		if good && a.status != http.StatusAccepted || !good && (a.status != http.StatusUnprocessableEntity || a.problem(t).Code != "bad_time") {
			t.Errorf("send_at in %v answered %d: %s", in, a.status, a.body)
		}
	}
}

func TestEveryFormOfAnAddressIsTheSamePerson(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	conversations := map[int64]bool{}
	for _, to := range []string{"12025550122", "+1 (202) 555-0122", "+1-202-555-0122", "12025550122@s.whatsapp.net", "12025550122@c.us"} {
		m := decoded[web.SentMessage](t, s.send(fmt.Sprintf(`{"to":%q,"text":"hi"}`, to)), http.StatusAccepted)
		d := decoded[web.Delivery](t, s.admin(http.MethodGet, s.path("/messages/", m.ID), ""), http.StatusOK)
		conversations[d.ConversationID] = true
	}
	if len(conversations) != 1 {
		t.Errorf("%d conversations with one person", len(conversations))
	}
	decoded[web.SentMessage](t, s.send(`{"to":"812025550122@lid","text":"hi"}`), http.StatusAccepted)
	for _, to := range []string{"12025550122@g.us", "somebody", "12025550122@broadcast", "@lid", "0012025550122"} {
		if a := s.send(fmt.Sprintf(`{"to":%q,"text":"hi"}`, to)); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%q answered %d", to, a.status)
		}
	}
}

func TestMessageTellsHowFarItGotAndIsCancelledInTime(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	m := decoded[web.SentMessage](t, s.send(`{"to":"12025550122","text":"hi"}`), http.StatusAccepted)
	read := func() web.Delivery {
		return decoded[web.Delivery](t, s.admin(http.MethodGet, s.path("/messages/", m.ID), ""), http.StatusOK)
	}
	if d := read(); d.Status != "queued" || d.WaID != m.WaID || d.Origin != "api" || d.Attempts != 0 || d.DueAt.IsZero() || d.SentAt != nil {
		t.Errorf("%+v", d)
	}
	must(t, s.store.MarkReceipts(t.Context(), []store.Mark{{AccountID: s.account, WaID: m.WaID, Receipt: store.Delivered}}))
	if d := read(); d.Status != "delivered" || d.SentAt == nil || d.DeliveredAt == nil || d.ReadAt != nil {
		t.Errorf("%+v", d)
	}
	late := s.admin(http.MethodPost, s.path("/messages/", m.ID, "/cancel"), "")
	if late.status != http.StatusConflict || late.problem(t).Code != "too_late" {
		t.Errorf("cancelling a delivered message answered %d: %s", late.status, late.body)
	}
	m = decoded[web.SentMessage](t, s.send(`{"to":"12025550122","text":"another"}`), http.StatusAccepted)
	if d := decoded[web.Delivery](t, s.admin(http.MethodPost, s.path("/messages/", m.ID, "/cancel"), ""), http.StatusOK); d.Status != "cancelled" || d.CancelledAt == nil {
		t.Errorf("%+v", d)
	}
	if a := s.admin(http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/messages/%d", s.account+1, m.ID), ""); a.status != http.StatusNotFound {
		t.Errorf("of another account: %d", a.status)
	}
	if a := s.send(`{"to":"12025550122","text":"hi","reply_to":"3EB0NOTHING"}`); a.status != http.StatusUnprocessableEntity || a.problem(t).Code != "no_such_message" {
		t.Errorf("quoting nothing answered %d: %s", a.status, a.body)
	}
	q := decoded[web.SentMessage](t, s.send(fmt.Sprintf(`{"to":"12025550122","text":"hi","reply_to":%q}`, m.WaID)), http.StatusAccepted)
	if d := decoded[web.Delivery](t, s.admin(http.MethodGet, s.path("/messages/", q.ID), ""), http.StatusOK); d.ReplyTo != m.WaID {
		t.Errorf("%+v", d)
	}
}

func TestSameKeyTwentyTimesAtOnceIsOneMessage(t *testing.T) {
	t.Parallel()
	s := newSends(t)
	decoded[web.Account](t, s.patch(`{"new_chats_per_day":1}`), http.StatusOK)
	var replays atomic.Int64
	var all sync.WaitGroup
	ids := make([]int64, 20)
	for i := range ids {
		all.Go(func() {
			a := s.send(`{"to":"12025550122","text":"hi"}`, "Idempotency-Key", "k")
			if a.header.Get("Idempotency-Replayed") == "true" {
				replays.Add(1)
			}
			var m web.SentMessage
			if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != http.StatusAccepted {
				t.Errorf("%d %s", a.status, a.body)
			}
			ids[i] = m.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("several messages: %v", ids)
		}
	}
	if n, err := s.store.PendingOutbound(t.Context()); err != nil || n != 1 || replays.Load() != 19 {
		t.Errorf("%d messages and %d replays, want 1 and 19: %v", n, replays.Load(), err)
	}
}
