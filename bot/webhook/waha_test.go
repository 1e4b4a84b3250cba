package webhook

import (
	"testing"

	"frontdesk/store"
)

func TestMessagesReadAsInWAHA(t *testing.T) {
	account := int64(3)
	for _, c := range []struct {
		kind, status string
		outgoing     bool
		event, name  string
		ack          int
	}{
		{"message.received", "", false, "message", "SERVER", 1},
		{"message.sent", "", true, "message.any", "SERVER", 1}, // typed on the phone
		{"message.queued", "read", true, "message.any", "PENDING", 0},
		{"message.sent", "read", true, "message.ack", "SERVER", 1},
		{"message.delivered", "read", true, "message.ack", "DEVICE", 2},
		{"message.read", "read", true, "message.ack", "READ", 3},
		{"message.read", "played", true, "message.ack", "PLAYED", 4},
		{"message.failed", "failed", true, "message.ack", "ERROR", -1},
	} {
		m := familiarOf(store.ClaimedDelivery{
			Type: c.kind, Status: c.status, Outgoing: c.outgoing, AccountID: &account, WaID: "W", Chat: "1@s.whatsapp.net", Phone: "2",
		}, "")
		if m.Event != c.event || m.Session != "3" || m.Payload.Ack != c.ack || m.Payload.AckName != c.name {
			t.Errorf("%s (%s): %+v, want %s with %d %s", c.kind, c.status, m, c.event, c.ack, c.name)
		}
		from, to, id := "1@c.us", "2@c.us", "false_1@c.us_W"
		if c.outgoing {
			from, to, id = to, from, "true_1@c.us_W"
		}
		if m.Payload.From != from || m.Payload.To != to || m.Payload.ID != id || m.Payload.FromMe != c.outgoing {
			t.Errorf("%s goes %+v, want from %s to %s", c.kind, m.Payload, from, to)
		}
	}
}

func TestFileThatIsNotHereSaysWhy(t *testing.T) {
	if a := attached(store.ClaimedDelivery{FileState: "too_large", Mime: "video/mp4"}, "https://desk"); a.URL != "" || a.Error != "too_large" {
		t.Errorf("attachment: %+v", a)
	}
	if chat := chatID("5@lid"); chat != "5@lid" {
		t.Errorf("a hidden number became %s", chat)
	}
}
