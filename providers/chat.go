package providers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// imageTokens is what a picture of 1,568 px takes at most with the well-known models.
const imageTokens = 1600

// chat is the task of Chat. It belongs to one turn.
type chat struct {
	q        Request
	shape    *shape // of the answer; nil: any
	window   int    // the largest that was too small
	prompted map[int64][]Message
}

func newChat(q Request) (*chat, error) {
	shape, err := shapeOf(q.Schema)
	return &chat{q: q, shape: shape, prompted: map[int64][]Message{}}, err
}

func (t *chat) kind() string { return "chat" }

// lacking: without tools or sight, a model can still answer; without a schema of its
// own it is told to write JSON, which is checked.
func (t *chat) lacking(c *candidate) (names []string, able bool) {
	without := c.state.leftOut()
	want := func(wanted bool, capability, parameter string) {
		if wanted && (!c.Can(capability) || slices.Contains(without, parameter)) {
			names = append(names, capability)
		}
	}
	want(len(t.q.Tools) > 0, store.CanTools, "tools")
	want(slices.ContainsFunc(t.messages(c), hasImages), store.CanVision, "image_url")
	want(t.q.Schema != nil, store.CanSchema, "response_format")
	return names, c.Chats()
}

func hasImages(m Message) bool { return len(m.Images) > 0 }

// messages is the conversation as a candidate gets it.
func (t *chat) messages(c *candidate) []Message {
	whole := t.q.Messages
	if t.q.Prompt != nil {
		var made bool
		if whole, made = t.prompted[c.ID]; !made {
			whole = t.q.Prompt(c.room())
			t.prompted[c.ID] = whole
		}
	}
	if c.ContextTokens > t.window {
		return whole
	}
	return newerHalf(whole)
}

func (c *candidate) room() Room {
	without := c.state.leftOut()
	return Room{
		ContextTokens: c.ContextTokens, MaxOutputTokens: c.MaxOutputTokens,
		Vision: c.Can(store.CanVision) && !slices.Contains(without, "image_url"),
		Tools:  c.Can(store.CanTools) && !slices.Contains(without, "tools"),
	}
}

// newerHalf is a conversation without its older half, for a window that the whole
// was too long for.
func newerHalf(messages []Message) []Message {
	var head, lines []Message
	for _, m := range messages {
		if m.Role == RoleSystem {
			head = append(head, m)
		} else {
			lines = append(lines, m)
		}
	}
	lines = lines[len(lines)/2:]
	for len(lines) > 1 && lines[0].Role != RoleUser {
		lines = lines[1:] // many services want the customer to begin
	}
	return append(head, lines...)
}

func (t *chat) shorten(window int) bool {
	t.window = max(t.window, window)
	return true
}

func (t *chat) maxTokens(c *candidate) int {
	if t.q.MaxTokens > 0 {
		return min(t.q.MaxTokens, c.MaxOutputTokens)
	}
	return c.MaxOutputTokens
}

func (t *chat) size(c *candidate) (prompt, completion int) {
	prompt = promptTokens(t.messages(c))
	for _, tool := range t.q.Tools {
		prompt += estimate(len(tool.Name) + len(tool.Description) + len(tool.Parameters))
	}
	return prompt, t.maxTokens(c)
}

// promptTokens estimates what a conversation takes.
func promptTokens(messages []Message) int {
	bytes, images := 0, 0
	for _, m := range messages {
		bytes += len(m.Text)
		images += len(m.Images)
		for _, call := range m.Calls {
			bytes += len(call.Name) + len(call.Arguments)
		}
	}
	return estimate(bytes) + imageTokens*images + 4*len(messages) + 3
}

// ask returns a whole answer or a classified failure, never part of an answer.
func (t *chat) ask(ctx context.Context, r *Registry, c *candidate, limit time.Duration) (reply, *failure) {
	q := t.request(c)
	return r.call(ctx, c, limit, longestAnswer, func(ctx context.Context, end context.CancelCauseFunc, seen *seen) (reply, error) {
		var got said
		var err error
		if q.Stream {
			got, err = r.stream(ctx, end, c, q, t.q.Progress)
		} else {
			got, err = whole(ctx, c, q)
		}
		if err != nil && !got.begun && seen.status < 300 {
			if unstreamed, ok := readWhole(seen.body); ok { // it took our request for a stream as one for a whole answer
				got, err = unstreamed, nil
			}
		}
		if err == nil {
			err = got.flaw()
		}
		if err == nil {
			got.text, err = t.shape.check(got.text)
		}
		return got.reply, err
	})
}

// said is the answer of a chat and why it ended.
type said struct {
	reply

	finish openai.FinishReason
}

// flaw is what is wrong with an answer that came to its end.
func (a *said) flaw() error {
	switch {
	case a.finish == openai.FinishReasonContentFilter:
		return errFiltered
	case len(a.calls) > 0:
		return a.mendCalls()
	case strings.TrimSpace(a.text) == "":
		return errEmpty
	}
	return nil
}

// mendCalls gives calls without arguments empty ones, and refuses what is not JSON.
func (a *said) mendCalls() error {
	for i, call := range a.calls {
		if strings.TrimSpace(call.Arguments) == "" {
			a.calls[i].Arguments = "{}"
		} else if !json.Valid([]byte(call.Arguments)) {
			return errBadCall
		}
		if call.Name == "" {
			return errBadCall
		}
	}
	return nil
}

// stream collects an answer chunk by chunk, to notice a silence. Only a chunk
// is a sign of life; a keep-alive is not.
func (r *Registry) stream(ctx context.Context, end context.CancelCauseFunc, c *candidate, q openai.ChatCompletionRequest, progress func(int)) (said, error) {
	var got said
	first := r.patience.first
	if c.ParamStyle == store.ParamsReasoning {
		first = r.patience.reasoning
	}
	silence := time.AfterFunc(first, func() { end(errSilent) })
	defer silence.Stop()
	s, err := c.client.CreateChatCompletionStream(ctx, q)
	if err != nil {
		return got, err
	}
	defer s.Close()
	var text strings.Builder
	calls := map[int]*Call{}
	for {
		chunk, err := s.Recv()
		if err != nil && got.finish != "" {
			return got, nil // whole already; the rest was for the books
		}
		if err != nil {
			return got, err // io.EOF too: without finish_reason it is a cut
		}
		got.add(&text, calls, chunk)
		if progress != nil && text.Len() > 0 {
			progress(utf8.RuneCountInString(text.String()))
		}
		silence.Reset(r.patience.stall)
		if got.finish != "" {
			got.text, got.calls = text.String(), inOrder(calls)
			silence.Reset(r.patience.usage)
		}
	}
}

func (a *said) add(text *strings.Builder, calls map[int]*Call, chunk openai.ChatCompletionStreamResponse) {
	if chunk.Usage != nil {
		a.usage = usage{chunk.Usage.PromptTokens, chunk.Usage.CompletionTokens, true}
	}
	if a.firstAt.IsZero() {
		a.firstAt = time.Now()
	}
	if len(chunk.Choices) == 0 {
		return
	}
	choice := chunk.Choices[0]
	a.begun = true
	text.WriteString(choice.Delta.Content)
	text.WriteString(choice.Delta.Refusal)
	written := text.Len() + addCalls(calls, choice.Delta.ToolCalls)
	if !a.usage.known {
		a.usage.completion = estimate(written)
	}
	if choice.FinishReason != "" && choice.FinishReason != openai.FinishReasonNull {
		a.finish = choice.FinishReason
	}
}

// addCalls puts parts of calls together, and says how many bytes there are now.
// A service that gives no index means a call of its own each time.
func addCalls(calls map[int]*Call, parts []openai.ToolCall) (bytes int) {
	for _, part := range parts {
		at := len(calls)
		if part.Index != nil {
			at = *part.Index
		} else if part.ID == "" && part.Function.Name == "" && at > 0 {
			at-- // the rest of the last one
		}
		call := calls[at]
		if call == nil {
			call = &Call{}
			calls[at] = call
		}
		call.ID += part.ID
		call.Name += part.Function.Name
		call.Arguments += part.Function.Arguments
	}
	for _, call := range calls {
		bytes += len(call.Name) + len(call.Arguments)
	}
	return bytes
}

func inOrder(calls map[int]*Call) []Call {
	var all []Call
	for _, at := range slices.Sorted(maps.Keys(calls)) {
		all = append(all, *calls[at])
	}
	return all
}

// whole asks a provider that cannot stream.
func whole(ctx context.Context, c *candidate, q openai.ChatCompletionRequest) (said, error) {
	resp, err := c.client.CreateChatCompletion(ctx, q)
	if err != nil {
		return said{}, err
	}
	return fromResponse(resp)
}

// readWhole reads a whole answer from a body.
func readWhole(body []byte) (said, bool) {
	var resp openai.ChatCompletionResponse
	if json.Unmarshal(body, &resp) != nil {
		return said{}, false
	}
	got, err := fromResponse(resp)
	return got, err == nil
}

func fromResponse(resp openai.ChatCompletionResponse) (said, error) {
	if len(resp.Choices) == 0 {
		return said{}, errNoAnswer
	}
	choice := resp.Choices[0]
	text := choice.Message.Content + choice.Message.Refusal
	for _, part := range choice.Message.MultiContent { // some services answer in parts
		text += part.Text
	}
	calls := map[int]*Call{}
	bytes := len(text) + addCalls(calls, choice.Message.ToolCalls)
	got := said{reply{text: text, calls: inOrder(calls), usage: usage{completion: estimate(bytes)}}, choice.FinishReason}
	if resp.Usage.TotalTokens > 0 || resp.Usage.PromptTokens > 0 {
		got.usage = usage{resp.Usage.PromptTokens, resp.Usage.CompletionTokens, true}
	}
	return got, nil
}

// request puts the conversation into the words of a row.
func (t *chat) request(c *candidate) openai.ChatCompletionRequest {
	without, room := c.state.leftOut(), c.room()
	q := openai.ChatCompletionRequest{Model: c.Model, Stream: c.Can(store.CanStream)}
	for _, m := range t.messages(c) {
		if said, ok := m.inWordsOf(room); ok {
			q.Messages = append(q.Messages, said)
		}
	}
	if q.Stream && !slices.Contains(without, "stream_options") {
		q.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	}
	if room.Tools {
		for _, tool := range t.q.Tools {
			q.Tools = append(q.Tools, openai.Tool{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{
				Name: tool.Name, Description: tool.Description, Parameters: tool.Parameters,
			}})
		}
	}
	t.shape.ask(&q, c.Can(store.CanSchema) && !slices.Contains(without, "response_format"))
	c.tune(&q, t.maxTokens(c), without)
	return q
}

// inWordsOf is a message as a provider with this room is told it; false: there is
// nothing to say. go-openai omits empty content, which no service accepts.
func (m Message) inWordsOf(room Room) (openai.ChatCompletionMessage, bool) {
	out := openai.ChatCompletionMessage{Role: string(m.Role), Content: m.Text}
	switch {
	case m.Role == RoleTool && room.Tools:
		out.ToolCallID = m.CallID
		if out.Content == "" {
			out.Content = "done"
		}
	case m.Role == RoleTool:
		out.Role, out.Content = string(RoleSystem), "The tool answered: "+m.Text
	case len(m.Calls) > 0 && room.Tools:
		out.ToolCalls = callsOf(m.Calls)
	case len(m.Images) > 0 && room.Vision:
		out.Content, out.MultiContent = "", m.parts()
	case len(m.Images) > 0:
		for _, image := range m.Images {
			out.Content = strings.TrimSpace(image.Alt + "\n" + out.Content)
		}
	}
	return out, out.Content != "" || len(out.MultiContent) > 0 || len(out.ToolCalls) > 0
}

func callsOf(calls []Call) (out []openai.ToolCall) {
	for _, call := range calls {
		arguments := call.Arguments
		if arguments == "" {
			arguments = "{}"
		}
		out = append(out, openai.ToolCall{ID: call.ID, Type: openai.ToolTypeFunction, Function: openai.FunctionCall{Name: call.Name, Arguments: arguments}})
	}
	return out
}

func (m Message) parts() (parts []openai.ChatMessagePart) {
	if m.Text != "" {
		parts = append(parts, openai.ChatMessagePart{Type: openai.ChatMessagePartTypeText, Text: m.Text})
	}
	for _, image := range m.Images {
		address := "data:" + image.Mime + ";base64," + base64.StdEncoding.EncodeToString(image.Data)
		parts = append(parts, openai.ChatMessagePart{Type: openai.ChatMessagePartTypeImageURL, ImageURL: &openai.ChatMessageImageURL{URL: address}})
	}
	return parts
}

// tune sets length and temperature in the parameter style of the row, or of the
// model where go-openai would refuse the row's.
func (c *candidate) tune(q *openai.ChatCompletionRequest, maxTokens int, without []string) {
	reasoning := c.ParamStyle == store.ParamsReasoning || slices.Contains(without, "max_tokens")
	if !reasoning {
		q.MaxTokens = maxTokens
		if c.Temperature != nil {
			q.Temperature = max(*c.Temperature, math.SmallestNonzeroFloat32) // 0 itself would be omitted
		}
		reasoning = openai.NewReasoningValidator().Validate(*q) != nil
	}
	if reasoning {
		q.MaxTokens, q.MaxCompletionTokens, q.Temperature = 0, maxTokens, 0
	}
	if slices.Contains(without, "temperature") {
		q.Temperature = 0
	}
	if slices.Contains(without, "max_completion_tokens") {
		q.MaxTokens, q.MaxCompletionTokens = maxTokens, 0
	}
	if slices.Contains(without, "max_tokens") && slices.Contains(without, "max_completion_tokens") {
		q.MaxTokens, q.MaxCompletionTokens = 0, 0
	}
}
