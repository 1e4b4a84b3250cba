package wasim_test

import (
	"testing"
	"time"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestNewDeviceGetsTheChatsOfThePhone(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	control := wasim.NewControl(s.ControlURL())
	yesterday := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	must(t, control.Remember(t.Context(), desk, alice,
		wasim.Message{Text: "are you open?", FromCustomer: true, At: yesterday},
		wasim.Message{Text: "we are", At: yesterday.Add(time.Minute)},
	))
	d := linked(t, s)
	h := await(d, func(h *events.HistorySync) bool {
		return h.Data.GetSyncType() == waHistorySync.HistorySync_INITIAL_BOOTSTRAP
	}).Data
	if len(h.GetConversations()) != 1 {
		t.Fatalf("the history is %v", h)
	}
	talk := h.GetConversations()[0]
	if talk.GetPnJID() != number(alice).String() || talk.GetLidJID() != hidden(alice).String() || len(talk.GetMessages()) != 2 {
		t.Fatalf("the conversation is %v", talk)
	}
	chat, err := types.ParseJID(talk.GetID())
	must(t, err)
	for i, want := range []struct {
		text   string
		fromMe bool
		at     time.Time
	}{{"we are", true, yesterday.Add(time.Minute)}, {"are you open?", false, yesterday}} {
		got, err := d.ParseWebMessage(chat, talk.GetMessages()[i].GetMessage())
		must(t, err)
		if got.Message.GetConversation() != want.text || got.Info.IsFromMe != want.fromMe || !got.Info.Timestamp.Equal(want.at) {
			t.Errorf("message %d is %q, from me %v, at %v", i, got.Message.GetConversation(), got.Info.IsFromMe, got.Info.Timestamp)
		}
	}
}

func TestPhoneSharesItsChatsOnDemand(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	_, err := control.ShareHistory(t.Context(), desk)
	refused(t, err, "no chats")
	id, err := s.Customer(bob).SendMedia(t.Context(), desk, wasim.Media{Kind: wasim.Image, Data: []byte("an old picture")})
	must(t, err)
	_, err = control.ShareHistory(t.Context(), desk)
	must(t, err)
	h := await(d, func(h *events.HistorySync) bool { return h.Data.GetSyncType() == waHistorySync.HistorySync_RECENT }).Data
	got, err := d.ParseWebMessage(number(bob), h.GetConversations()[0].GetMessages()[0].GetMessage())
	must(t, err)
	data, err := d.download(got.Message)
	if err != nil || string(data) != "an old picture" || got.Info.ID != id {
		t.Errorf("%q of %s, %v", data, got.Info.ID, err)
	}
}
