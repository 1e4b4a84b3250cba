package conversation

import (
	"context"
	"encoding/json"
	"log/slog"

	"frontdesk/providers"
	"frontdesk/store"
)

// promptLine is a message of a prompt as people read it.
type promptLine struct {
	Role     string           `json:"role"`
	Text     string           `json:"text,omitempty"`
	Pictures int              `json:"pictures,omitempty"`
	Calls    []providers.Call `json:"calls,omitempty"`
}

// keepPrompt keeps what a model read before it answered. No answer waits for it.
func (p *Processor) keepPrompt(now store.Turn, reply providers.Answer, read []providers.Message) {
	lines := make([]promptLine, len(read))
	for i, m := range read {
		lines[i] = promptLine{string(m.Role), m.Text, len(m.Images), m.Calls}
	}
	p.reading.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.working), writeTime)
		defer cancel()
		messages, err := json.Marshal(lines)
		if err == nil {
			err = p.store.KeepPrompt(ctx, store.Prompt{
				ConversationID: now.ConversationID, Seq: now.LastSeq, Provider: reply.Provider, Model: reply.Model, Messages: messages,
			})
		}
		if err != nil {
			p.log.WarnContext(ctx, "Prompt of an answer not kept", slog.Int64("conversation", now.ConversationID), slog.Any("error", err))
		}
	})
}
