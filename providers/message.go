package providers

import "time"

// Role says who speaks in a conversation given to a model.
type Role string

// The roles of a chat.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Message is one line of the conversation given to a model.
type Message struct {
	Role Role
	Text string
}

// Request asks for the next line of a conversation.
type Request struct {
	Messages     []Message
	Conversation int64 // keeps a chat with one provider among equals, and names it in logs
	MaxTokens    int   // longest answer; 0: the provider's own limit
}

// Answer is the text of the provider that could give one, and the way there.
type Answer struct {
	Text             string
	Provider, Model  string
	Attempts         []Attempt // every try in order, the successful one last
	PromptTokens     int       // of the successful try, as are the next two
	CompletionTokens int
	Cost             *int64 // micros; nil: price unknown
	Took             time.Duration
	Demo             bool // frontdesk's own demo answered, no real model
}

// Attempt is one call of one provider.
type Attempt struct {
	Provider, Model  string
	Class            Class
	Took             time.Duration
	Err              string // one redacted sentence for people of the house, never for customers
	PromptTokens     int    // booked, where the provider may have billed them
	CompletionTokens int
}
