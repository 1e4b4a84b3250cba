package providers

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// patience is how long a silent provider is waited for.
type patience struct {
	first     time.Duration // until the first chunk
	reasoning time.Duration // the same, of a model that thinks before it speaks
	stall     time.Duration // between chunks
	usage     time.Duration // for the books, once the answer is whole
}

var usualPatience = patience{first: 12 * time.Second, reasoning: 45 * time.Second, stall: 15 * time.Second, usage: 2 * time.Second}

// usage is what a call took, in tokens.
type usage struct {
	prompt, completion int
	known              bool // the service said so; else it is an estimate
}

// reply is a whole answer, or what had come of it.
type reply struct {
	text   string
	finish openai.FinishReason
	usage  usage
	begun  bool
}

// ask makes one call, at most limit long, and returns a whole answer or a
// classified failure. It never returns part of an answer.
func (r *Registry) ask(ctx context.Context, c *candidate, q openai.ChatCompletionRequest, limit time.Duration) (reply, *failure) {
	call, end := context.WithCancelCause(ctx)
	defer end(nil)
	tooLate := time.AfterFunc(limit, func() { end(errLate) })
	defer tooLate.Stop()
	call, seen := watch(call)
	defer seen.close()

	var got reply
	var err error
	if q.Stream {
		got, err = r.stream(call, end, c, q)
	} else {
		got, err = whole(call, c, q)
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
		return got, nil
	}
	f := &failure{err: err, cause: ourCause(call, ctx), ended: ctx.Err() != nil, begun: got.begun, seen: seen, key: c.key}
	f.classify()
	return got, f
}

// ourCause is why call was ended by its own watch, or nil.
func ourCause(call, parent context.Context) error {
	if parent.Err() != nil || call.Err() == nil {
		return nil //nolint:nilerr // not ours
	}
	return context.Cause(call)
}

// flaw is what is wrong with an answer that came to its end.
func (a *reply) flaw() error {
	switch {
	case a.finish == openai.FinishReasonContentFilter:
		return errFiltered
	case strings.TrimSpace(a.text) == "":
		return errEmpty
	}
	return nil
}

// stream collects an answer chunk by chunk, to notice a silence. Only a chunk
// is a sign of life; a keep-alive is not.
func (r *Registry) stream(ctx context.Context, end context.CancelCauseFunc, c *candidate, q openai.ChatCompletionRequest) (reply, error) {
	var got reply
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
	for {
		chunk, err := s.Recv()
		if err != nil && got.finish != "" {
			return got, nil // whole already; the rest was for the books
		}
		if err != nil {
			return got, err // io.EOF too: without finish_reason it is a cut
		}
		got.add(&text, chunk)
		silence.Reset(r.patience.stall)
		if got.finish != "" {
			got.text = text.String()
			silence.Reset(r.patience.usage)
		}
	}
}

func (a *reply) add(text *strings.Builder, chunk openai.ChatCompletionStreamResponse) {
	if chunk.Usage != nil {
		a.usage = usage{chunk.Usage.PromptTokens, chunk.Usage.CompletionTokens, true}
	}
	if len(chunk.Choices) == 0 {
		return
	}
	choice := chunk.Choices[0]
	a.begun = true
	text.WriteString(choice.Delta.Content)
	text.WriteString(choice.Delta.Refusal)
	if !a.usage.known {
		a.usage.completion = estimate(text.Len())
	}
	if choice.FinishReason != "" && choice.FinishReason != openai.FinishReasonNull {
		a.finish = choice.FinishReason
	}
}

// whole asks a provider that cannot stream.
func whole(ctx context.Context, c *candidate, q openai.ChatCompletionRequest) (reply, error) {
	resp, err := c.client.CreateChatCompletion(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return fromResponse(resp)
}

// readWhole reads a whole answer from a body.
func readWhole(body []byte) (reply, bool) {
	var resp openai.ChatCompletionResponse
	if json.Unmarshal(body, &resp) != nil {
		return reply{}, false
	}
	got, err := fromResponse(resp)
	return got, err == nil
}

func fromResponse(resp openai.ChatCompletionResponse) (reply, error) {
	if len(resp.Choices) == 0 {
		return reply{}, errNoAnswer
	}
	choice := resp.Choices[0]
	text := choice.Message.Content + choice.Message.Refusal
	for _, part := range choice.Message.MultiContent { // some services answer in parts
		text += part.Text
	}
	got := reply{text: text, finish: choice.FinishReason, usage: usage{completion: estimate(len(text))}}
	if resp.Usage.TotalTokens > 0 || resp.Usage.PromptTokens > 0 {
		got.usage = usage{resp.Usage.PromptTokens, resp.Usage.CompletionTokens, true}
	}
	return got, nil
}

// request puts a conversation into the words of a row.
func (c *candidate) request(messages []Message, maxTokens int) openai.ChatCompletionRequest {
	without := c.state.leftOut()
	q := openai.ChatCompletionRequest{Model: c.Model, Stream: c.Can(store.CanStream)}
	for _, m := range messages {
		if m.Text != "" { // go-openai omits empty content, which no service accepts
			q.Messages = append(q.Messages, openai.ChatCompletionMessage{Role: string(m.Role), Content: m.Text})
		}
	}
	if q.Stream && !slices.Contains(without, "stream_options") {
		q.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	}
	c.tune(&q, maxTokens, without)
	return q
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

// estimate is a number of tokens that bytes of text rarely pass: most languages
// need three to six bytes for one. Real figures replace it when they come.
func estimate(bytes int) int { return (bytes + 2) / 3 }

// promptTokens estimates what a conversation takes.
func promptTokens(messages []Message) int {
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Text)
	}
	return estimate(bytes) + 4*len(messages) + 3
}

// empty says that an answer came and said nothing.
func (f *failure) empty() bool { return errors.Is(f.err, errEmpty) }
