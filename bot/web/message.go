package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"frontdesk/store"
)

type newMessage struct {
	ByID

	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Sending the same key again sends nothing and returns the first answer"`
	Body struct {
		To     string     `json:"to" minLength:"5" maxLength:"60" doc:"A phone number with country code, or a WhatsApp address" example:"+12025550123"`
		Text   string     `json:"text" minLength:"1" maxLength:"4096"`
		SendAt *time.Time `json:"send_at,omitempty" doc:"Not before this time"`
	}
}

// SentMessage is a message on its way.
type SentMessage struct {
	ID     int64  `json:"id"`
	WaID   string `json:"wa_id" doc:"The message's id on WhatsApp"`
	Status string `json:"status" enum:"queued,sending,sent,delivered,read,failed,cancelled"`
}

type sentResponse struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     SentMessage
}

// sendMessage queues a message; once it is accepted it will be sent.
func (s *Server) sendMessage(ctx context.Context, in *newMessage) (*sentResponse, error) {
	a, err := s.store.Account(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !a.Paired() {
		return nil, problem(http.StatusConflict, "not_paired", "This account is not linked to a phone yet; scan its code first")
	}
	to, err := recipient(in.Body.To)
	if err != nil {
		return nil, err
	}
	contact, err := s.store.ResolveContact(ctx, to.phone, to.lid, "")
	if err != nil {
		return nil, err
	}
	o, replayed, err := s.store.Queue(ctx, store.Parcel{
		AccountID: in.ID, ContactID: contact, Chat: to.chat, Origin: "api", Body: in.Body.Text, DueAt: in.Body.SendAt,
		IdempotencyKey: in.Key, RequestHash: hash(in.Body),
	})
	if err != nil {
		return nil, err
	}
	out := &sentResponse{Body: SentMessage{ID: o.ID, WaID: o.WaID, Status: o.Status}}
	if replayed {
		out.Replayed = "true"
	} else {
		s.o.Queued(in.ID, o.ConversationID)
	}
	return out, nil
}

// person is whom a message is for.
type person struct{ phone, lid, chat string }

// recipient reads an address as people write it.
func recipient(to string) (person, error) {
	user, server, isAddress := strings.Cut(to, "@")
	number := strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "", ".", "").Replace(user)
	wrong := problem(http.StatusUnprocessableEntity, "bad_recipient", "\"to\" is neither a phone number with country code, such as +12025550123, nor the address of a person on WhatsApp")
	if len(number) < 5 || len(number) > 20 || strings.Trim(number, "0123456789") != "" || strings.HasPrefix(number, "0") {
		return person{}, wrong
	}
	switch {
	case !isAddress, server == "s.whatsapp.net":
		return person{phone: number, chat: number + "@s.whatsapp.net"}, nil
	case server == "lid":
		return person{lid: number, chat: number + "@lid"}, nil
	}
	return person{}, wrong
}

// hash tells one request from another under the same key.
func hash(body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // it was JSON a moment ago
	}
	sum := sha256.Sum256(text)
	return sum[:]
}
