package conversation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// Patience of a turn.
const (
	grace       = time.Second            // between the end of a turn's time and the end of its code
	lastGrace   = 100 * time.Millisecond // the same at the stop
	soon        = 2 * time.Second        // after storage failed
	redrafts    = 2                      // times that a newer message makes a draft obsolete
	typingEvery = 10 * time.Second       // WhatsApp forgets "typing…" after some 25 s
)

// Causes for which a turn is cancelled.
var (
	errTimedOut = errors.New("the turn took too long")
	errMoved    = errors.New("another process speaks for the account now")
)

// What can be wrong with a turn besides providers and storage.
var (
	errPanic = errors.New("a turn panicked")
	errEmpty = errors.New("the answer held nothing to send")
)

// turn is one attempt to settle what a customer wrote.
type turn struct {
	p            *Processor
	account      int64
	conversation int64
	thinking     time.Duration // spent waiting for providers
	again        time.Time     // take another turn then; zero: nothing is left
	work         *work         // of the present draft
	rehearsal    bool          // nothing is stored, sent or done
	provider     int64         // that alone is asked; 0: any
}

// run takes a lane's turn and hands its place on, even if the turn hangs (L10).
func (p *Processor) run(l *lane) {
	began := time.Now()
	held, ok := p.accounts.Context(l.account)
	if !ok {
		p.lanes.done(l, time.Time{}, 0, 0) // whoever holds the account sweeps
		return
	}
	ctx, cancel := context.WithTimeoutCause(p.working, p.timeout, errTimedOut)
	defer cancel()
	ctx, move := context.WithCancelCause(ctx)
	defer context.AfterFunc(held, func() { move(errMoved) })()
	t := &turn{p: p, account: l.account, conversation: l.conversation}
	done := make(chan error, 1)
	go func() { done <- t.safely(ctx) }()
	err, ended := p.await(ctx, done)
	if !ended {
		p.lanes.abandon(1)
		go func() {
			<-done
			p.lanes.abandon(-1)
		}()
		t = &turn{p: p, account: l.account, conversation: l.conversation} // the hung one may still write to its own
		err = context.Cause(ctx)
	}
	t.conclude(ctx, err)
	took := time.Since(began)
	p.lanes.done(l, t.again, took, took-t.thinking)
}

// await waits for a turn, and a moment longer than its time.
func (p *Processor) await(ctx context.Context, done <-chan error) (err error, ended bool) { //nolint:revive // whether there is an error at all
	select {
	case err = <-done:
		return err, true
	case <-ctx.Done():
	}
	select {
	case err = <-done:
		return err, true
	case <-time.After(grace):
		return nil, false
	}
}

// safely turns a panic into an error.
func (t *turn) safely(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			t.p.log.ErrorContext(ctx, "Turn panicked", slog.Int64("conversation", t.conversation), slog.Any("error", v),
				slog.String("stack", string(debug.Stack())))
			err = errPanic
		}
	}()
	return t.take(ctx)
}

// take settles what waits: by an answer, by a reason not to, or by an error that
// conclude deals with.
func (t *turn) take(ctx context.Context) error {
	for draft := 0; ; draft++ {
		now, err := t.p.store.Turn(ctx, t.conversation)
		if err != nil {
			return err
		}
		if now.LastSeq == now.AnsweredSeq {
			return nil
		}
		if now.DueIn > 0 && draft == 0 {
			t.again = time.Now().Add(now.DueIn)
			return nil
		}
		if settled, err := t.decide(ctx, now); settled || err != nil {
			return err
		}
		settled, err := t.answer(ctx, now, draft >= redrafts)
		if err != nil || settled {
			return err
		}
	}
}

// answer asks for a reply to everything that waits and queues it. False: the
// conversation has changed meanwhile, and the draft is forgotten.
func (t *turn) answer(ctx context.Context, now store.Turn, force bool) (bool, error) {
	stopTyping := t.appear(ctx, now)
	reply, err := t.think(ctx, now)
	stopTyping(err != nil)
	switch {
	case errors.Is(err, errToolsFailed):
		return true, t.handOff(ctx, now, "tool_failed", "")
	case err != nil:
		return false, err
	case t.work.handOff != "":
		return true, t.handOff(ctx, now, "asked", t.work.handOff)
	}
	queued, err := t.p.store.Answer(ctx, store.Reply{
		ConversationID: t.conversation, Lo: now.AnsweredSeq, Hi: now.LastSeq, Force: force, Origin: "bot",
		Bubbles: opened(bubbles(reply.Text), disclosure(now)), Provider: reply.Provider, Model: reply.Model, Detail: t.explain(reply),
	})
	if err != nil || !queued {
		return false, err
	}
	t.p.accounts.Send(t.account, t.conversation)
	t.p.log.InfoContext(ctx, "Reply queued", slog.Int64("account", t.account), slog.Int64("conversation", t.conversation),
		slog.String("provider", reply.Provider), slog.Duration("took", reply.Took))
	t.p.keepPrompt(now, reply, t.work.prompt) //nolint:contextcheck // it outlives the turn
	t.p.fold(now)                             //nolint:contextcheck // it outlives the turn
	return true, nil
}

// appear shows the customer that the answer is on its way: their messages are read, and
// somebody types until end is called. Drafts are made unseen.
func (t *turn) appear(ctx context.Context, now store.Turn) (end func(hide bool)) {
	if now.Answering == store.AnsweringApprove || now.Answering == store.AnsweringShadow {
		return func(bool) {}
	}
	t.p.reading.Go(func() { t.p.accounts.Read(context.WithoutCancel(ctx), t.account, now.Chat, now.Unread) })
	return t.typing(ctx, now.Chat)
}

// think reads what came, looks up what may answer it and asks the providers.
func (t *turn) think(ctx context.Context, now store.Turn) (providers.Answer, error) {
	a, err := t.attend(ctx, now)
	if err != nil {
		return providers.Answer{}, err
	}
	t.work = &work{}
	t.work.sources, t.work.known = t.lookUp(ctx, now, a)
	reply, err := t.converse(ctx, now, a, t.work)
	if err != nil || t.work.handOff != "" {
		return reply, err
	}
	switch {
	case strings.Contains(reply.Text, personMark):
		t.work.handOff = "the model asked for a person"
	case leaks(reply.Text, now):
		t.p.log.WarnContext(ctx, "Answer withheld, it told what only models may read", slog.Int64("conversation", t.conversation))
		reply.Text, t.work.withheld = sentencesIn(now.Language).refusal, true
	case len(bubbles(reply.Text)) == 0:
		return reply, errEmpty
	}
	return reply, nil
}

// ask asks the providers for the next line.
func (t *turn) ask(ctx context.Context, now store.Turn, a attached, w *work, tools []providers.Tool) (providers.Answer, error) {
	began := time.Now()
	reply, err := t.p.ai.Chat(ctx, providers.Request{
		Prompt: func(r providers.Room) []providers.Message {
			w.prompt = append(prompt(now, r, a, w), w.rounds...)
			return w.prompt
		},
		Tools: tools, Conversation: t.conversation, Pool: now.ProviderPool, Provider: t.provider,
	})
	t.thinking += time.Since(began)
	w.spent.add(reply)
	return reply, err
}

// disclosure is what opens the answer: in a session's first, that it is automated. A
// person who spoke meanwhile makes it worth saying again.
func disclosure(now store.Turn) string {
	for _, l := range slices.Backward(session(now)) {
		switch l.Origin {
		case "bot":
			return ""
		case "phone", "person":
			return said(now.Disclosure, sentencesIn(now.Language).disclosure)
		}
	}
	return said(now.Disclosure, sentencesIn(now.Language).disclosure)
}

// opened are bubbles that begin with a sentence of ours.
func opened(all []store.Bubble, by string) []store.Bubble {
	if by != "" && len(all) > 0 {
		all[0].Body = "_" + by + "_\n\n" + all[0].Body
	}
	return all
}

// typing shows "typing…" until its end is called; a reply that follows hides it
// by itself.
func (t *turn) typing(ctx context.Context, chat string) (end func(hide bool)) {
	showing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for showing.Err() == nil {
			t.p.typing(t.account, t.conversation, true)
			t.p.accounts.Typing(showing, t.account, chat, true)
			select {
			case <-showing.Done():
			case <-time.After(typingEvery):
			}
		}
		t.p.typing(t.account, t.conversation, false) // whoever is asked may never return
	}()
	return func(hide bool) {
		stop()
		<-done
		if hide {
			t.p.accounts.Typing(context.WithoutCancel(ctx), t.account, chat, false)
		}
	}
}

func (t *turn) skip(ctx context.Context, now store.Turn, reason string) error {
	_, err := t.p.store.Skip(ctx, t.conversation, now.AnsweredSeq, now.LastSeq, reason)
	if err == nil && reason == unreadable {
		err = t.p.store.RaiseAlert(ctx, t.account, "unreadable",
			"A customer's message could not be decrypted, and no readable copy came within a minute; look at conversation "+fmt.Sprint(t.conversation))
	}
	return err
}

// conclude decides what follows from an error. What it cannot write down stays
// as it was: unsettled, and found by the next turn.
func (t *turn) conclude(ctx context.Context, err error) {
	cause := context.Cause(ctx)
	if err == nil || errors.Is(cause, errMoved) || t.p.working.Err() != nil {
		return // done, or for somebody else to do
	}
	if errors.Is(cause, errTimedOut) {
		t.p.log.WarnContext(ctx, "Conversation processing timed out", slog.Int64("account", t.account), slog.Int64("conversation", t.conversation),
			slog.Duration("limit", t.p.timeout))
		err = errTimedOut
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	if failed := t.fail(ctx, err); failed != nil {
		t.p.log.WarnContext(ctx, "Turn not settled, trying again", slog.Int64("conversation", t.conversation), slog.Any("error", failed))
		t.again = time.Now().Add(soon)
	}
}

// explain is what the timeline keeps of an answer.
func (t *turn) explain(a providers.Answer) map[string]any {
	var attempts []map[string]any
	for _, try := range a.Attempts {
		attempts = append(attempts, map[string]any{
			"provider": try.Provider, "model": try.Model, "class": string(try.Class), "took_ms": try.Took.Milliseconds(), "error": try.Err,
		})
	}
	told := map[string]any{
		"provider": a.Provider, "model": a.Model, "took_ms": a.Took.Milliseconds(), "demo": a.Demo, "attempts": attempts,
		"prompt_tokens": a.PromptTokens, "completion_tokens": a.CompletionTokens,
	}
	if len(t.work.calls) > 0 {
		told["tools"] = t.work.calls
	}
	if len(t.work.sources) > 0 {
		told["sources"] = sourcesOf(t.work.sources)
	}
	if t.work.withheld {
		told["withheld"] = true
	}
	return told
}

// sourcesOf names each document once, the best first.
func sourcesOf(found []Passage) []map[string]any {
	var named []map[string]any
	seen := map[int64]bool{}
	for _, p := range found {
		if !seen[p.Source] {
			seen[p.Source] = true
			named = append(named, map[string]any{"id": p.Source, "title": p.Title, "passage": p.ID})
		}
	}
	return named
}
