package providers

import (
	"encoding/json"
	"time"
)

// Role says who speaks in a conversation given to a model.
type Role string

// The roles of a chat.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool" // what a called tool gave
)

// Message is one line of the conversation given to a model.
type Message struct {
	Role   Role
	Text   string
	Images []Image // of a customer; a model that cannot see reads what they are instead
	Calls  []Call  // of an assistant: the tools it wants called
	CallID string  // of a tool: the call that Text is the result of
}

// Image is a picture for models that can see.
type Image struct {
	Mime string
	Data []byte
	Alt  string // what others read instead
}

// Tool is something that a model may have done before it answers.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON Schema of the arguments
}

// Call is a tool that a model wants called. Arguments is always JSON, though not
// always such as the tool's schema allows.
type Call struct {
	ID        string
	Name      string
	Arguments string
}

// Schema is what an answer has to look like. An answer that does not is no answer:
// the next provider is asked.
type Schema struct {
	Name string
	JSON json.RawMessage
}

// Room is what one provider has for a conversation.
type Room struct {
	ContextTokens   int
	MaxOutputTokens int
	Vision          bool
	Tools           bool
}

// Request asks for the next line of a conversation.
type Request struct {
	Messages     []Message
	Prompt       func(Room) []Message // instead of Messages: made for each provider that is asked
	Tools        []Tool
	Schema       *Schema
	Conversation int64  // keeps a chat with one provider among equals, and names it in logs
	Pool         string // only providers of this pool; "": all
	Provider     int64  // this one alone, as when somebody compares; 0: any
	MaxTokens    int    // longest answer; 0: the provider's own limit

	// Progress hears, while Chat runs, how many characters of its answer the provider
	// that is asked has written so far; one that is asked next begins again. It must
	// return at once; nil: nobody hears it.
	Progress func(characters int)
}

// Speech asks for the words of a recording.
type Speech struct {
	Audio        []byte
	Name         string // of the file: its ending says what it is, such as note.ogg
	Language     string // of two letters; "": it is found out
	Conversation int64
	Pool         string
}

// Passages asks for the vectors of texts, all by one model.
type Passages struct {
	Texts []string
	Model string // only providers with this model: vectors of others cannot be compared; "": any
	Pool  string
}

// Answer is what the provider that could answer said, and the way there.
type Answer struct {
	Text             string
	Calls            []Call      // of tools; Text may be empty then
	Lacking          []string    // capabilities that were wanted and that the provider lacks
	Vectors          [][]float32 // of Embed, in the order of the texts
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
	First            time.Duration // until the first sign of life; 0: there was none
	Err              string        // one redacted sentence for people of the house, never for customers
	PromptTokens     int           // booked, where the provider may have billed them
	CompletionTokens int
	Cost             *int64 // micros; nil: price unknown

	provider int64
	began    time.Time
}
