package main

import "frontdesk/bot/live"

// typed says that somebody types in a conversation, or has stopped.
type typed struct {
	Account      int64  `json:"account"`
	Conversation int64  `json:"conversation"`
	From         string `json:"from"` // customer or us
	Typing       bool   `json:"typing"`
}

// audience are those who hear who types.
type audience struct {
	hear  func(typed) // returns at once
	there func() bool // nil: whether anybody is there is not known
}

// typing is what the parts of a worker call while somebody types.
func (to audience) typing(from string) func(account, conversation int64, on bool) {
	return func(account, conversation int64, on bool) { to.hear(typed{account, conversation, from, on}) }
}

// typed tells those who follow; before the start there is nobody.
func (a *automation) typed(t typed) {
	if a == nil {
		return
	}
	a.hub.Publish(live.Transient{
		Type: "typing", AccountID: &t.Account, ConversationID: &t.Conversation, Data: map[string]any{"from": t.From, "typing": t.Typing},
	})
}

func (a *automation) followed() bool { return a != nil && a.hub.Followed() }
