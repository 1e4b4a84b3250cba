package conversation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// Bounds of what a model may have done for one answer (conversation.md, "Tools").
const (
	mostRounds    = 6
	mostCalls     = 12
	mostIdentical = 3 // the third such call ends it
	toolTime      = 10 * time.Second
	mostResult    = 8000 // characters a model reads of a result
	mostBroken    = 2    // failures of tools after which people take over
)

// tool is something that a model may have done. It acts for the customer who writes,
// whatever the arguments say: authority comes from here, never from text.
type tool struct {
	providers.Tool

	acts  bool // it changes something
	check func(arguments string) error
	run   func(ctx context.Context, t *turn, now store.Turn, c call) (string, error)
}

// call is one call of a tool, with a key that is the same if it is repeated.
type call struct {
	providers.Call

	key string
}

// builtIn are the tools that every account has.
var builtIn = []tool{
	builtin("search_knowledge", "Look something up in the documents of the business.", `"query": {"type": "string", "minLength": 1, "maxLength": 500}`, (*turn).searchTool),
	builtin("remember_fact", "Remember something about this customer for later conversations, in one short sentence.", `"fact": {"type": "string", "minLength": 1, "maxLength": 300}`, (*turn).rememberTool),
	builtin("hand_off", "Give the conversation to a person of the business: when the customer asks for one in any words, is angry, or needs what only a person may do.",
		`"reason": {"type": "string", "minLength": 1, "maxLength": 300}`, (*turn).handOffTool),
	builtin("business_hours", "Read when the business is open.", "", (*turn).hoursTool),
}

// reserved are names that admins cannot give their own tools.
var reserved = []string{"search_knowledge", "remember_fact", "hand_off", "business_hours", "start_flow"}

func builtin(name, description, properties string, run func(*turn, context.Context, store.Turn, call) (string, error)) tool {
	required := "[]"
	if key, _, found := strings.Cut(properties, ":"); found {
		required = "[" + key + "]"
	}
	schema := json.RawMessage(`{"type": "object", "properties": {` + properties + `}, "required": ` + required + `, "additionalProperties": false}`)
	check, err := providers.Checker(schema)
	if err != nil {
		panic(err) // a schema of our own
	}
	return tool{
		Tool: providers.Tool{Name: name, Description: description, Parameters: schema}, check: check, acts: name == "remember_fact",
		run: func(ctx context.Context, t *turn, now store.Turn, c call) (string, error) { return run(t, ctx, now, c) },
	}
}

// used is what the timeline keeps of a call.
type used struct {
	Tool  string `json:"tool"`
	Took  int64  `json:"took_ms"`
	Error string `json:"error,omitempty"`
}

// work is what a model had done while it thought of one answer.
type work struct {
	rounds  []providers.Message // calls and results, as the model reads them
	calls   []used
	seen    map[string]int
	broken  int
	handOff string // why a person shall go on; "": the bot does
	over    bool   // no more calls

	sources  []Passage
	known    bool                // the account has documents
	prompt   []providers.Message // as the last provider read it
	withheld bool                // the answer told what it should not
	spent    spent
}

// spent is what the rounds of an answer took from the providers.
type spent struct {
	prompt, completion int    // tokens
	cost               *int64 // micros; nil: a price is unknown
}

func (s *spent) add(a providers.Answer) { s.plus(a.PromptTokens, a.CompletionTokens, a.Cost) }

func (s *spent) plus(prompt, completion int, cost *int64) {
	first := s.prompt+s.completion == 0
	s.prompt, s.completion = s.prompt+prompt, s.completion+completion
	switch {
	case first || cost == nil:
		s.cost = cost
	case s.cost != nil:
		s.cost = new(*s.cost + *cost)
	}
}

// errToolsFailed hands over, as what the customer wants cannot be done.
var errToolsFailed = errors.New("tools failed again and again")

// converse asks the providers, and has done what the model wants, until it answers.
func (t *turn) converse(ctx context.Context, now store.Turn, a attached, w *work) (providers.Answer, error) {
	tools, err := t.tools(ctx, now)
	if err != nil {
		return providers.Answer{}, err
	}
	for round := range mostRounds {
		reply, err := t.ask(ctx, now, a, w, offered(tools, w.over || round == mostRounds-1))
		if err != nil || len(reply.Calls) == 0 || w.over {
			return reply, err
		}
		w.rounds = append(w.rounds, providers.Message{Role: providers.RoleAssistant, Text: reply.Text, Calls: reply.Calls})
		for n, c := range reply.Calls {
			result := t.do(ctx, now, tools, w, call{c, fmt.Sprintf("%s-%d-%d", t.cursor(now), round, n)})
			w.rounds = append(w.rounds, providers.Message{Role: providers.RoleTool, CallID: c.ID, Text: result})
		}
		if w.handOff != "" || ctx.Err() != nil {
			return reply, ctx.Err()
		}
		if w.broken >= mostBroken {
			return reply, errToolsFailed
		}
	}
	return providers.Answer{}, errEmpty
}

// cursor names what a turn answers, the same whenever it is tried again. A rehearsal is
// like no other.
func (t *turn) cursor(now store.Turn) string {
	if t.rehearsal {
		return "rehearsal-" + rand.Text()
	}
	return fmt.Sprintf("%d-%d-%d", t.conversation, now.AnsweredSeq, now.LastSeq)
}

// offered are the tools as models know them; none when enough was done.
func offered(tools []tool, over bool) []providers.Tool {
	if over {
		return nil
	}
	all := make([]providers.Tool, len(tools))
	for i, t := range tools {
		all[i] = t.Tool
	}
	return all
}

// do has one call done and returns what the model reads of it.
func (t *turn) do(ctx context.Context, now store.Turn, tools []tool, w *work, c call) string {
	if w.seen == nil {
		w.seen = map[string]int{}
	}
	w.seen[c.Name+c.Arguments]++
	if len(w.calls) >= mostCalls || w.seen[c.Name+c.Arguments] >= mostIdentical {
		w.over = true
		return "Enough was looked up; answer now."
	}
	began := time.Now()
	result, err := t.attempt(ctx, now, tools, c)
	note := used{Tool: c.Name, Took: time.Since(began).Milliseconds()}
	if err != nil {
		note.Error = err.Error()
		result = "It did not work: " + err.Error()
		t.p.log.WarnContext(ctx, "Tool failed", slog.String("tool", c.Name), slog.Int64("conversation", t.conversation), slog.Any("error", err))
	}
	w.calls = append(w.calls, note)
	var broke *brokenError
	if errors.As(err, &broke) {
		w.broken++
	}
	return clipped(result, mostResult)
}

// brokenError is a failure of a tool itself; others are the model's.
type brokenError struct{ cause error }

func (e *brokenError) Error() string { return e.cause.Error() }
func (e *brokenError) Unwrap() error { return e.cause }

func (t *turn) attempt(ctx context.Context, now store.Turn, tools []tool, c call) (string, error) {
	for _, tool := range tools {
		if tool.Name != c.Name {
			continue
		}
		if err := tool.check(c.Arguments); err != nil {
			return "", fmt.Errorf("the arguments are not as they should be: %w", err)
		}
		if t.rehearsal && tool.acts {
			return "Done.", nil
		}
		ctx, cancel := context.WithTimeout(ctx, toolTime)
		defer cancel()
		return tool.run(ctx, t, now, c)
	}
	return "", fmt.Errorf("there is no tool %q", c.Name)
}

func (t *turn) searchTool(ctx context.Context, now store.Turn, c call) (string, error) {
	found, err := t.search(ctx, now, argument(c, "query"))
	if err != nil {
		return "", &brokenError{err}
	}
	t.work.sources = append(t.work.sources, found...)
	return passageText(found), nil
}

func (t *turn) rememberTool(ctx context.Context, now store.Turn, c call) (string, error) {
	if err := t.p.store.Remember(ctx, t.account, now.ContactID, strings.TrimSpace(argument(c, "fact"))); err != nil {
		return "", &brokenError{err}
	}
	return "Remembered.", nil
}

func (t *turn) handOffTool(_ context.Context, _ store.Turn, c call) (string, error) {
	t.work.handOff = argument(c, "reason")
	return "A person takes over.", nil
}

func (t *turn) hoursTool(_ context.Context, now store.Turn, _ call) (string, error) {
	hours, err := ReadHours(now.Hours)
	if err != nil {
		return "", &brokenError{err}
	}
	if text := hours.describe(now.Now); text != "" {
		return text, nil
	}
	return "No hours are set.", nil
}

// argument is a text among a call's arguments, which were checked.
func argument(c call, name string) string {
	var all map[string]any
	_ = json.Unmarshal([]byte(c.Arguments), &all)
	text, _ := all[name].(string)
	return text
}

func clipped(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return text
}
