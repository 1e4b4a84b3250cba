package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// can is a row that can do these things.
func (e *endpoint) can(name string, priority int, capabilities ...string) store.Provider {
	p := e.row(name, priority)
	p.Capabilities = capabilities
	return p
}

var stock = Tool{Name: "stock", Description: "How many there are", Parameters: json.RawMessage(`{"type":"object","properties":{"flower":{"type":"string"}}}`)}

func withTools() Request {
	q := question
	q.Tools = []Tool{stock}
	return q
}

// calls streams a call of a tool in pieces, as services do.
func calls(arguments ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		at := 0
		piece := openai.ToolCall{Index: &at, ID: "call-1", Type: openai.ToolTypeFunction, Function: openai.FunctionCall{Name: "stock"}}
		streams(w)
		for _, part := range append([]string{""}, arguments...) {
			piece.Function.Arguments = part
			line, _ := json.Marshal(openai.ChatCompletionStreamResponse{Choices: []openai.ChatCompletionStreamChoice{{
				Delta: openai.ChatCompletionStreamChoiceDelta{ToolCalls: []openai.ToolCall{piece}},
			}}})
			fmt.Fprintf(w, "data: %s\n\n", line)
			piece = openai.ToolCall{Index: &at}
		}
		chunk(w, "", "tool_calls")
		io.WriteString(w, "data: [DONE]\n\n")
	}
}

func TestCallOfAToolComesWholeAndItsResultGoesBack(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, calls(`{"flow`, `er":"tulip"}`), answers("Yes, tulips."))
	r, _ := start(t, a.can("a", 1, store.CanStream, store.CanTools))
	got, err := r.Chat(t.Context(), withTools())
	if err != nil || len(got.Calls) != 1 || got.Calls[0] != (Call{"call-1", "stock", `{"flower":"tulip"}`}) || len(got.Lacking) > 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	q := withTools()
	q.Messages = append(slices.Clone(q.Messages), Message{Role: RoleAssistant, Calls: got.Calls}, Message{Role: RoleTool, CallID: "call-1"})
	if got, err = r.Chat(t.Context(), q); err != nil || got.Text != "Yes, tulips." {
		t.Fatalf("after the result: %+v, %v", got, err)
	}
	sent := a.requests[1].Messages
	if call, result := sent[2], sent[3]; call.ToolCalls[0].Function.Arguments != `{"flower":"tulip"}` || result.ToolCallID != "call-1" || result.Content == "" {
		t.Errorf("sent %+v and %+v", call, result)
	}
}

func TestCallThatCannotBeReadIsNoAnswer(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, calls(`{"flower":`)), newEndpoint(t, calls(`{"flower":"tulip"}`))
	r, _ := start(t, a.can("a", 2, store.CanStream, store.CanTools), b.can("b", 1, store.CanStream, store.CanTools))
	got, err := r.Chat(t.Context(), withTools())
	if err != nil || way(got.Attempts) != "a:malformed a:malformed b:ok" || len(got.Calls) != 1 {
		t.Errorf("got %+v by %s, %v", got.Calls, way(got.Attempts), err)
	}
}

func TestWhoKnowsToolsIsAskedFirstAndWhoDoesNotAnswersWithout(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("Yes, tulips.")), newEndpoint(t, calls(`{}`), refuses(503, ""))
	r, _ := start(t, a.can("a", 2, store.CanStream), b.can("b", 1, store.CanStream, store.CanTools))
	got, err := r.Chat(t.Context(), withTools())
	if err != nil || got.Provider != "b" || len(got.Calls) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	q := withTools()
	q.Messages = append(slices.Clone(q.Messages), Message{Role: RoleAssistant, Calls: got.Calls}, Message{Role: RoleTool, CallID: "call-1", Text: "7"})
	got, err = r.Chat(t.Context(), q)
	if err != nil || got.Text != "Yes, tulips." || !slices.Equal(got.Lacking, []string{store.CanTools}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if sent := a.requests[0]; len(sent.Tools) > 0 || !strings.Contains(a.said(0), "system:The tool answered: 7") {
		t.Errorf("a model without tools was sent %+v", sent)
	}
}

func TestRefusedToolsAreAskedOfSomebodyElseBeforeTheyAreLeftOut(t *testing.T) {
	t.Parallel()
	refusal := refuses(400, `{"error":{"message":"tools is not supported with this model"}}`)
	a, b := newEndpoint(t, refusal, answers("Yes, tulips.")), newEndpoint(t, calls(`{}`), refuses(503, ""))
	r, _ := start(t, a.can("a", 2, store.CanStream, store.CanTools), b.can("b", 1, store.CanStream, store.CanTools))
	got, err := r.Chat(t.Context(), withTools())
	if err != nil || way(got.Attempts) != "a:unsupported b:ok" || len(got.Calls) != 1 {
		t.Fatalf("got %+v by %s, %v", got, way(got.Attempts), err)
	}
	got, err = r.Chat(t.Context(), withTools())
	if err != nil || way(got.Attempts) != "b:transient b:transient a:ok" || len(a.requests[1].Tools) > 0 {
		t.Errorf("got %+v by %s, %v", got, way(got.Attempts), err)
	}
}

func TestPicturesAreShownToWhoSeesAndTold(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("Yes, tulips.")), newEndpoint(t, answers("Yes, tulips."), refuses(503, ""))
	r, _ := start(t, a.can("a", 2, store.CanStream), b.can("b", 1, store.CanStream, store.CanVision))
	q := Request{Messages: []Message{{Role: RoleUser, Text: "This?", Images: []Image{{Mime: "image/png", Data: []byte("png"), Alt: "[picture]"}}}}}
	got, err := r.Chat(t.Context(), q)
	if err != nil || got.Provider != "b" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if parts := b.requests[0].Messages[0].MultiContent; len(parts) != 2 || parts[1].ImageURL.URL != "data:image/png;base64,cG5n" {
		t.Errorf("sent %+v", parts)
	}
	got, err = r.Chat(t.Context(), q)
	if err != nil || got.Provider != "a" || !slices.Equal(got.Lacking, []string{store.CanVision}) || a.said(0) != "user:[picture]\nThis?" {
		t.Errorf("got %+v, %v; sent %s", got, err, a.said(0))
	}
}

var price = &Schema{Name: "price", JSON: json.RawMessage(`{"type":"object","required":["euros"],"properties":{"euros":{"type":"integer"}}}`)}

func TestAnswerInAWantedFormIsCheckedWhoeverGivesIt(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers(`{"euros":"three"}`)), newEndpoint(t, answers("```json\n{\"euros\":3}\n```"))
	r, _ := start(t, a.can("a", 1, store.CanStream, store.CanSchema), b.can("b", 2, store.CanStream))
	q := question
	q.Schema = price
	got, err := r.Chat(t.Context(), q)
	if err != nil || got.Text != `{"euros":3}` || way(got.Attempts) != "a:malformed a:malformed b:ok" || !slices.Equal(got.Lacking, []string{store.CanSchema}) {
		t.Fatalf("got %q by %s, %v", got.Text, way(got.Attempts), err)
	}
	if f := a.requests[0].ResponseFormat; f == nil || f.JSONSchema.Name != "price" || !f.JSONSchema.Strict {
		t.Errorf("who knows schemas was sent %+v", f)
	}
	if b.requests[0].ResponseFormat != nil || !strings.Contains(b.said(0), "JSON Schema") {
		t.Errorf("who does not was told %s", b.said(0))
	}
	q.Schema = &Schema{Name: "bad", JSON: json.RawMessage(`{"type":7}`)}
	if _, err := r.Chat(t.Context(), q); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("a schema that is none gave %v", err)
	}
}

func hears(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/audio/transcriptions") {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}
}

func TestSpeechGoesToWhoUnderstandsItWithTheSameFailover(t *testing.T) {
	t.Parallel()
	chatty := newEndpoint(t, answers("never asked"))
	a, b := newEndpoint(t, hears(`{}`)), newEndpoint(t, hears(`{"text":"Do you sell tulips?","usage":{"input_tokens":9,"output_tokens":6}}`))
	r, s := start(t, chatty.row("chatty", 3), a.can("a", 2, store.CanTranscribe), b.can("b", 1, store.CanTranscribe))
	got, err := r.Transcribe(t.Context(), Speech{Audio: silence(), Name: "note.ogg", Conversation: 7})
	if err != nil || got.Text != "Do you sell tulips?" || way(got.Attempts) != "a:malformed b:ok" || chatty.calls() > 0 {
		t.Fatalf("got %q by %s, %v", got.Text, way(got.Attempts), err)
	}
	wantBooks(t, s, r, 3, 1, 9, 6)
	if got, err := r.Chat(t.Context(), question); err != nil || got.Provider != "chatty" || len(got.Attempts) != 1 {
		t.Errorf("a chat went to %+v, %v", got, err)
	}
}

func TestSilenceIsARightAnswerToSilence(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, hears(`{"text":""}`))
	r, _ := start(t, a.can("a", 1, store.CanTranscribe))
	if got, err := r.Transcribe(t.Context(), Speech{Audio: silence(), Name: "note.wav"}); err != nil || got.Text != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestVectorsComeInTheOrderOfTheirTextsFromOneModel(t *testing.T) {
	t.Parallel()
	serve := func(body string) *endpoint {
		return newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
	}
	short := serve(`{"data":[{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":4}}`)
	whole := serve(`{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":4,"total_tokens":4}}`)
	other := serve(`{}`)
	a, b, c := short.can("a", 3, store.CanEmbed), whole.can("b", 1, store.CanEmbed), other.can("c", 2, store.CanEmbed)
	c.Model = "another"
	r, s := start(t, a, b, c)
	got, err := r.Embed(t.Context(), Passages{Texts: []string{"one", "two"}, Model: "model"})
	if err != nil || fmt.Sprint(got.Vectors) != "[[1 2] [3 4]]" || way(got.Attempts) != "a:malformed b:ok" {
		t.Fatalf("got %v by %s, %v", got.Vectors, way(got.Attempts), err)
	}
	wantBooks(t, s, r, 2, 1, 4, 0)
}

func TestNobodyAbleIsSaidPlainly(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 1))
	_, err := r.Embed(t.Context(), Passages{Texts: []string{"one"}})
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "embedding") || a.calls() > 0 {
		t.Errorf("got %v after %d calls", err, a.calls())
	}
}

func TestPoolKeepsOthersOut(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	inside := b.row("b", 1)
	inside.Pools = []string{"europe"}
	r, _ := start(t, a.row("a", 2), inside)
	q := question
	q.Pool = "europe"
	if got, err := r.Chat(t.Context(), q); err != nil || got.Provider != "b" || a.calls() > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	for provider, name := range map[int64]string{1: "", 2: "b"} { // who is asked alone is asked inside the pool only
		q.Provider = provider
		if got, err := r.Chat(t.Context(), q); got.Provider != name || (err == nil) != (name != "") || a.calls() > 0 {
			t.Errorf("provider %d alone: %+v, %v", provider, got, err)
		}
	}
	q.Provider = 0
	q.Pool = "asia"
	if _, err := r.Chat(t.Context(), q); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "asia") {
		t.Errorf("an empty pool gave %v", err)
	}
}

func TestPromptIsMadeForEachProviderThatIsAsked(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(503, "")), newEndpoint(t, answers("Yes, tulips."))
	small := b.row("b", 1)
	small.ContextTokens = 8000
	r, _ := start(t, a.row("a", 2), small)
	got, err := r.Chat(t.Context(), Request{Prompt: func(room Room) []Message {
		return []Message{{Role: RoleUser, Text: fmt.Sprint("room for ", room.ContextTokens)}}
	}})
	if err != nil || got.Provider != "b" || a.said(0) != "user:room for 128000" || b.said(0) != "user:room for 8000" {
		t.Errorf("%v: said %q and %q", err, a.said(0), b.said(0))
	}
}

func TestEveryAttemptIsWrittenDownWithItsTurn(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(401, `{"error":{"message":"no"}}`)), newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:credential b:ok")
	if _, err := r.Test(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := r.writeJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts) != 3 {
		t.Fatalf("%d attempts are written down", len(s.attempts))
	}
	first, second, test := s.attempts[0], s.attempts[1], s.attempts[2]
	if first.Class != "credential" || first.Error == "" || first.First != nil || *first.ConversationID != 7 || first.Kind != "chat" {
		t.Errorf("the first is %+v", first)
	}
	if second.TurnID != first.TurnID || second.First == nil || second.PromptTokens != 10 || second.ProviderID != 2 {
		t.Errorf("the second is %+v", second)
	}
	if test.Kind != "test" || test.TurnID == first.TurnID || test.ConversationID != nil {
		t.Errorf("the test is %+v", test)
	}
}
