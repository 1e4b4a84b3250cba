package conversation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// Rehearsal is what the bot would have said.
type Rehearsal struct {
	Bubbles          []string
	HandOff          string // why people would have taken over; "": they would not
	Provider, Model  string
	Sources          []Passage
	Tools            []string // called, in order
	Withheld         bool     // the model told what only models may read, so a refusal stands here
	Took             time.Duration
	PromptTokens     int
	CompletionTokens int
	Cost             *int64 // micros; nil: price unknown
}

// ErrNoAnswer says that no provider gave an answer to be compared.
var ErrNoAnswer = errors.New("there is no answer")

// Rehearse has the bot answer what waits in now, and nothing comes of it: nothing is
// stored or sent, and tools that change something only say that they did. It is how an
// answer is compared with that of another persona (in now) or of one provider alone;
// provider 0 asks as ever. When nobody answers, the error is ErrNoAnswer.
func (p *Processor) Rehearse(ctx context.Context, now store.Turn, provider int64) (Rehearsal, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, errTimedOut)
	defer cancel()
	t := &turn{p: p, account: now.AccountID, rehearsal: true, provider: provider}
	now.ConversationID = 0
	reply, err := t.think(ctx, now)
	switch {
	case errors.Is(err, errToolsFailed):
		t.work.handOff = "tool_failed"
	case err != nil:
		return Rehearsal{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return t.rehearsed(now, reply), nil
}

func (t *turn) rehearsed(now store.Turn, reply providers.Answer) Rehearsal {
	r := Rehearsal{
		HandOff: t.work.handOff, Provider: reply.Provider, Model: reply.Model, Sources: t.work.sources, Withheld: t.work.withheld,
		Took: t.thinking, PromptTokens: t.work.spent.prompt, CompletionTokens: t.work.spent.completion, Cost: t.work.spent.cost,
	}
	for _, c := range t.work.calls {
		r.Tools = append(r.Tools, c.Tool)
	}
	if r.HandOff == "" {
		for _, b := range opened(bubbles(reply.Text), disclosure(now)) {
			r.Bubbles = append(r.Bubbles, b.Body)
		}
	}
	return r
}
