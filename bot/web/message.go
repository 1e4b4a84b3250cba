package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"frontdesk/store"
)

type newMessage struct {
	ByID

	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Sending the same key again sends nothing and returns the first answer"`
	Body struct {
		To      string     `json:"to" minLength:"5" maxLength:"60" doc:"A phone number with country code, or a WhatsApp address" example:"+12025550123"`
		Text    string     `json:"text,omitempty" maxLength:"4096" doc:"The message, or the words beside its file"`
		ReplyTo string     `json:"reply_to,omitempty" maxLength:"100" doc:"WhatsApp id of an earlier message of the chat, which is quoted"`
		SendAt  *time.Time `json:"send_at,omitempty" doc:"Not before this time, which is at most 366 days ahead"`

		Media    *Attachment    `json:"media,omitempty"`
		Location *Location      `json:"location,omitempty"`
		React    *MessageChange `json:"react,omitempty" doc:"Put text, one sign, on an earlier message; no text takes it away"`
		Edit     *MessageChange `json:"edit,omitempty" doc:"Give an earlier message of ours the words in text"`
		Delete   *MessageChange `json:"delete,omitempty" doc:"Delete an earlier message of ours for everybody"`
	}
}

// Location is a place; text is its name.
type Location struct {
	Latitude  float64 `json:"latitude" minimum:"-90" maximum:"90"`
	Longitude float64 `json:"longitude" minimum:"-180" maximum:"180"`
}

// MessageChange names the earlier message that a new one changes.
type MessageChange struct {
	WaID string `json:"wa_id" minLength:"1" maxLength:"100" doc:"Its id on WhatsApp"`
}

// SentMessage is a message on its way.
type SentMessage struct {
	ID     int64  `json:"id"`
	WaID   string `json:"wa_id" doc:"The message's id on WhatsApp"`
	Status string `json:"status" enum:"queued,sending,perhaps_sent,sent,delivered,read,played,failed,cancelled"`
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
	if err := s.checkTime(ctx, in.Body.SendAt); err != nil {
		return nil, err
	}
	parcel, err := s.parcel(ctx, in)
	if err != nil {
		return nil, err
	}
	contact, err := s.store.ResolveContact(ctx, to.phone, to.lid, "")
	if err != nil {
		return nil, err
	}
	parcel.ContactID, parcel.Chat = contact, to.chat
	o, replayed, err := s.store.Queue(ctx, parcel)
	if err != nil {
		return nil, err
	}
	if !replayed {
		s.o.Queued(in.ID, o.ConversationID)
	}
	return sentOf(o, replayed), nil
}

func sentOf(o store.Outbound, replayed bool) *sentResponse {
	sent := &sentResponse{Body: SentMessage{ID: o.ID, WaID: o.WaID, Status: o.Status}}
	if replayed {
		sent.Replayed = "true"
	}
	return sent
}

// parcel is what the request wants sent: exactly one thing.
func (s *Server) parcel(ctx context.Context, in *newMessage) (store.Parcel, error) {
	b := &in.Body
	p := store.Parcel{
		AccountID: in.ID, Origin: "api", Body: b.Text, ReplyTo: b.ReplyTo, DueAt: b.SendAt, IdempotencyKey: in.Key, RequestHash: hash(in.Body),
	}
	things := 0
	for _, there := range []bool{b.Media != nil, b.Location != nil, b.React != nil, b.Edit != nil, b.Delete != nil} {
		if there {
			things++
		}
	}
	switch {
	case things > 1:
		return p, problem(http.StatusUnprocessableEntity, "too_much", "A message holds one of media, location, react, edit and delete")
	case b.Text == "" && (things == 0 || b.Edit != nil):
		return p, problem(http.StatusUnprocessableEntity, "no_text", "\"text\" is missing")
	case b.Media != nil:
		f, kind, err := s.attach(ctx, b.Media)
		p.FileID, p.Kind = &f.ID, kind
		return p, err
	case b.Location != nil:
		p.Kind, p.Extra = "location", map[string]any{"latitude": b.Location.Latitude, "longitude": b.Location.Longitude}
	case b.React != nil:
		p.Kind, p.Extra = store.KindReaction, map[string]any{"wa_id": b.React.WaID}
	case b.Edit != nil:
		p.Kind, p.Extra = store.KindEdit, map[string]any{"wa_id": b.Edit.WaID}
	case b.Delete != nil:
		p.Kind, p.Extra = store.KindDelete, map[string]any{"wa_id": b.Delete.WaID}
	}
	return p, nil
}

// Bounds of send_at.
const (
	mostAhead = 366 * 24 * time.Hour
	mostLate  = time.Minute // clocks differ
)

// checkTime refuses a time that is a mistake.
func (s *Server) checkTime(ctx context.Context, at *time.Time) error {
	if at == nil {
		return nil
	}
	now, err := s.store.Now(ctx)
	switch {
	case err != nil:
		return err
	case at.Before(now.Add(-mostLate)):
		return problem(http.StatusUnprocessableEntity, "bad_time", "\"send_at\" is in the past; leave it out to send at once")
	case at.After(now.Add(mostAhead)):
		return problem(http.StatusUnprocessableEntity, "bad_time", "\"send_at\" is more than 366 days ahead")
	}
	return nil
}

type byMessage struct {
	ByID

	MessageID int64 `path:"message_id" minimum:"1"`
}

// Delivery is a message of ours and how far it got.
type Delivery struct {
	SentMessage

	ConversationID int64      `json:"conversation_id"`
	Origin         string     `json:"origin" enum:"bot,api,person,flow,system"`
	ReplyTo        string     `json:"reply_to,omitempty"`
	Attempts       int        `json:"attempts" doc:"How often it was tried, always with the same wa_id"`
	Failure        string     `json:"failure,omitempty" doc:"Why the last try did not work"`
	DueAt          time.Time  `json:"due_at" doc:"It is not tried before"`
	CreatedAt      time.Time  `json:"created_at"`
	SendingAt      *time.Time `json:"sending_at,omitempty" doc:"The last try began"`
	PerhapsSentAt  *time.Time `json:"perhaps_sent_at,omitempty" doc:"A try ended without WhatsApp's word; the same wa_id is sent again, and a phone shows one message"`
	SentAt         *time.Time `json:"sent_at,omitempty" doc:"WhatsApp took it"`
	DeliveredAt    *time.Time `json:"delivered_at,omitempty"`
	ReadAt         *time.Time `json:"read_at,omitempty"`
	PlayedAt       *time.Time `json:"played_at,omitempty" doc:"A voice note was listened to"`
	FailedAt       *time.Time `json:"failed_at,omitempty"`
	CancelledAt    *time.Time `json:"cancelled_at,omitempty"`
}

func deliveryOf(o store.Outbound) *one[Delivery] {
	return &one[Delivery]{Delivery{
		SentMessage: SentMessage{ID: o.ID, WaID: o.WaID, Status: o.Status}, ConversationID: o.ConversationID, Origin: o.Origin,
		ReplyTo: o.ReplyTo, Attempts: o.Attempts, Failure: o.Failure, DueAt: o.DueAt, CreatedAt: o.CreatedAt, SendingAt: o.ClaimedAt,
		PerhapsSentAt: o.PerhapsAt, SentAt: o.SentAt, DeliveredAt: o.DeliveredAt, ReadAt: o.ReadAt, PlayedAt: o.PlayedAt,
		FailedAt: o.FailedAt, CancelledAt: o.CancelledAt,
	}}
}

func (s *Server) readMessage(ctx context.Context, in *byMessage) (*one[Delivery], error) {
	o, err := s.store.SentMessage(ctx, in.ID, in.MessageID)
	if err != nil {
		return nil, err
	}
	return deliveryOf(o), nil
}

// cancelMessage has a queued message never sent; once it was tried it is too late.
func (s *Server) cancelMessage(ctx context.Context, in *byMessage) (*one[Delivery], error) {
	o, err := s.store.CancelMessage(ctx, in.ID, in.MessageID)
	if err != nil {
		return nil, err
	}
	return deliveryOf(o), nil
}

// person is whom a message is for.
type person struct{ phone, lid, chat string }

// recipient reads an address in any form.
func recipient(to string) (person, error) {
	a, err := store.ParseAddress(to)
	if err != nil || a.Username != "" {
		return person{}, problem(http.StatusUnprocessableEntity, "bad_recipient", "\"to\" is wrong: "+store.ErrBadAddress.Error())
	}
	return person{phone: a.Phone, lid: a.LID, chat: a.Chat()}, nil
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
