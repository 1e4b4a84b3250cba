package providers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/sashabaranov/go-openai"
)

// demoModel is the only model of the demo.
const demoModel = "demo"

// Demo is a small OpenAI-compatible service that needs no model and no network.
// It says in every answer that it is a demo. frontdesk serves it to itself
// until a real provider is there.
func Demo() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", demoChat)
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, openai.ModelsList{Models: []openai.Model{{ID: demoModel, Object: "model", OwnedBy: "frontdesk"}}})
	})
	return mux
}

func demoChat(w http.ResponseWriter, r *http.Request) {
	var q openai.ChatCompletionRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&q); err != nil {
		http.Error(w, `{"error":{"message":"the request is not JSON","type":"invalid_request_error"}}`, http.StatusBadRequest)
		return
	}
	text := demoAnswer(lastOfCustomer(q.Messages))
	usage := openai.Usage{PromptTokens: demoTokens(q.Messages), CompletionTokens: len(strings.Fields(text))}
	usage.TotalTokens = usage.PromptTokens + usage.CompletionTokens
	if q.Stream {
		demoStream(w, text, usage, q.StreamOptions)
		return
	}
	writeJSON(w, openai.ChatCompletionResponse{
		ID: "demo", Object: "chat.completion", Model: demoModel, Usage: usage,
		Choices: []openai.ChatCompletionChoice{{
			Message:      openai.ChatCompletionMessage{Role: openai.ChatMessageRoleAssistant, Content: text},
			FinishReason: openai.FinishReasonStop,
		}},
	})
}

// demoAnswer is friendly, short, and always the same for the same message.
func demoAnswer(message string) string {
	if message == "" {
		return "This is frontdesk's demo answer: hello! Everything works. Add a real AI provider in the console to get real answers."
	}
	return fmt.Sprintf("This is frontdesk's demo answer: you wrote “%s”. Everything works! Add a real AI provider in the console to get real answers.", message)
}

// lastOfCustomer is the last message of the customer, cut to a line.
func lastOfCustomer(messages []openai.ChatCompletionMessage) string {
	text := ""
	for _, m := range messages {
		if m.Role == openai.ChatMessageRoleUser {
			text = m.Content
			for _, part := range m.MultiContent {
				text += part.Text
			}
		}
	}
	text = strings.Join(strings.FieldsFunc(text, unicode.IsSpace), " ")
	if runes := []rune(text); len(runes) > 80 {
		text = string(runes[:80]) + "…"
	}
	return text
}

func demoTokens(messages []openai.ChatCompletionMessage) int {
	words := 0
	for _, m := range messages {
		words += len(strings.Fields(m.Content))
	}
	return words
}

// demoStream sends the answer word by word, as real services do.
func demoStream(w http.ResponseWriter, text string, usage openai.Usage, o *openai.StreamOptions) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(chunk openai.ChatCompletionStreamResponse) {
		chunk.ID, chunk.Object, chunk.Model = "demo", "chat.completion.chunk", demoModel
		line, _ := json.Marshal(chunk) // our own types always marshal
		fmt.Fprintf(w, "data: %s\n\n", line)
		_ = http.NewResponseController(w).Flush()
	}
	say := func(delta string, finish openai.FinishReason) {
		send(openai.ChatCompletionStreamResponse{Choices: []openai.ChatCompletionStreamChoice{{
			Delta: openai.ChatCompletionStreamChoiceDelta{Content: delta}, FinishReason: finish,
		}}})
	}
	for word := range strings.SplitAfterSeq(text, " ") {
		say(word, "")
	}
	say("", openai.FinishReasonStop)
	if o != nil && o.IncludeUsage {
		send(openai.ChatCompletionStreamResponse{Choices: []openai.ChatCompletionStreamChoice{}, Usage: &usage})
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader is gone
}
