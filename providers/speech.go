package providers

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// speech is the task of Transcribe.
type speech struct{ q Speech }

func (t *speech) kind() string { return "transcription" }

func (t *speech) lacking(c *candidate) (names []string, able bool) {
	if c.Can(store.CanTranscribe) {
		return nil, true
	}
	return []string{store.CanTranscribe}, false
}

// size: services bill recordings by time; the books count the call and, where a
// service tells them, its tokens.
func (t *speech) size(*candidate) (prompt, completion int) { return 0, 0 }

func (t *speech) shorten(int) bool { return false }

func (t *speech) ask(ctx context.Context, r *Registry, c *candidate, limit time.Duration) (reply, *failure) {
	return r.call(ctx, c, limit, longestOther, func(ctx context.Context, _ context.CancelCauseFunc, seen *seen) (reply, error) {
		got, err := c.client.CreateTranscription(ctx, openai.AudioRequest{
			Model: c.Model, FilePath: t.q.Name, Reader: bytes.NewReader(t.q.Audio), Language: t.q.Language, Format: openai.AudioResponseFormatJSON,
		})
		if err != nil {
			return reply{}, err
		}
		var body struct {
			Text  *string `json:"text"`
			Usage *struct {
				Input  int `json:"input_tokens"`
				Output int `json:"output_tokens"`
			} `json:"usage"`
		}
		if json.Unmarshal(seen.body, &body) != nil || body.Text == nil { // "" is the answer to silence
			return reply{}, errNoAnswer
		}
		heard := reply{text: got.Text}
		if body.Usage != nil {
			heard.usage = usage{body.Usage.Input, body.Usage.Output, true}
		}
		return heard, nil
	})
}

// silence is a tenth of a second of it, as a WAV file: 8,000 samples a second of 16 bits.
func silence() []byte {
	const samples = 800
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(head[4:], uint32(len(head)-8+2*samples))
	binary.LittleEndian.PutUint32(head[40:], 2*samples)
	return append(head, make([]byte, 2*samples)...)
}

// passages is the task of Embed.
type passages struct{ q Passages }

func (t *passages) kind() string { return "embedding" }

func (t *passages) lacking(c *candidate) (names []string, able bool) {
	if c.Can(store.CanEmbed) && (t.q.Model == "" || t.q.Model == c.Model) {
		return nil, true
	}
	return []string{store.CanEmbed}, false
}

func (t *passages) size(*candidate) (prompt, completion int) {
	for _, text := range t.q.Texts {
		prompt += estimate(len(text)) + 1
	}
	return prompt, 0
}

func (t *passages) shorten(int) bool { return false }

func (t *passages) ask(ctx context.Context, r *Registry, c *candidate, limit time.Duration) (reply, *failure) {
	return r.call(ctx, c, limit, longestOther, func(ctx context.Context, _ context.CancelCauseFunc, _ *seen) (reply, error) {
		got, err := c.client.CreateEmbeddings(ctx, openai.EmbeddingRequest{
			Input: t.q.Texts, Model: openai.EmbeddingModel(c.Model), EncodingFormat: openai.EmbeddingEncodingFormatFloat,
		})
		if err != nil {
			return reply{}, err
		}
		vectors, err := vectorsOf(got.Data, len(t.q.Texts))
		return reply{vectors: vectors, usage: usage{got.Usage.PromptTokens, 0, got.Usage.PromptTokens > 0}}, err
	})
}

// vectorsOf are n vectors of one length, in the order of their texts.
func vectorsOf(data []openai.Embedding, n int) ([][]float32, error) {
	vectors := make([][]float32, n)
	for _, e := range data {
		if e.Index < 0 || e.Index >= n || len(e.Embedding) == 0 || len(e.Embedding) != len(data[0].Embedding) {
			return nil, errNoAnswer
		}
		vectors[e.Index] = e.Embedding
	}
	for _, v := range vectors {
		if v == nil {
			return nil, errNoAnswer
		}
	}
	return vectors, nil
}
