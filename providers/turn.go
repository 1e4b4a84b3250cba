package providers

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"frontdesk/store"
)

// Budget of a turn (providers.md).
const (
	turnBudget    = 110 * time.Second
	mostAttempts  = 6
	mostPerRow    = 2
	leastLimit    = 12 * time.Second // of one attempt, when the budget has it
	leastLeft     = time.Second      // below it another attempt is pointless
	longestRepeat = 3 * time.Second  // Retry-After of a fault that is waited for
)

// task is what a turn is about: how one candidate is asked, and what it must have.
type task interface {
	// kind names it in the log of attempts.
	kind() string
	// lacking are the capabilities that a candidate would have to do without, and
	// whether it can be asked all the same.
	lacking(c *candidate) (names []string, able bool)
	// size is the most that a call is likely to take, in tokens.
	size(c *candidate) (prompt, completion int)
	// shorten makes the task fit a window smaller than this; false: it cannot.
	shorten(window int) bool
	// ask makes one call.
	ask(ctx context.Context, r *Registry, c *candidate, limit time.Duration) (reply, *failure)
}

// turn is one task under way: whom to ask next and what came of it so far.
type turn struct {
	registry     *Registry
	task         task
	conversation int64
	id           int64 // of the turn, in the log of attempts
	order        []*candidate
	began        time.Time
	deadline     time.Time

	attempts []Attempt
	tries    map[int64]int
	again    map[int64]time.Duration // may be asked once more, not before this wait
	skipped  map[int64]string        // will not be asked any more, and why
	at       map[int64]time.Time     // last attempt
	repeat   *candidate              // asked again at once
	others   int                     // how many more untried rows may be asked
	only     func(*candidate) bool   // which of them
	window   int                     // the largest that was too small
	over     bool
	testing  bool // somebody tries a provider
}

func (r *Registry) newTurn(ctx context.Context, work task, conversation int64, rows []*candidate) *turn {
	now := time.Now()
	t := &turn{
		registry: r, task: work, conversation: conversation, id: rand.Int64(), began: now, deadline: now.Add(turnBudget), others: mostAttempts,
		tries: map[int64]int{}, again: map[int64]time.Duration{}, skipped: map[int64]string{}, at: map[int64]time.Time{},
		only: func(*candidate) bool { return true },
	}
	if end, ok := ctx.Deadline(); ok && end.Before(t.deadline) {
		t.deadline = end
	}
	t.order = candidates(rows, work, conversation)
	for _, c := range t.order {
		switch {
		case c.flaw != "":
			t.skipped[c.ID] = c.flaw
		case c.state.paused(now):
			t.skipped[c.ID] = c.Name + " is switched off for a while: " + c.state.pausedBecause()
		}
	}
	return t
}

// run asks until one answers or nobody is left.
func (t *turn) run(ctx context.Context) (Answer, error) {
	for {
		c, wait, force := t.choose(time.Now())
		if c == nil || !sleep(ctx, wait) {
			return Answer{}, t.failed(ctx)
		}
		place, why := t.registry.admit(ctx, c, t.estimate(c), force)
		if why != "" {
			t.skip(c, why)
			continue
		}
		got, f := t.try(ctx, c, place)
		if f == nil {
			t.registry.praise(c, t.last().Took)
			return t.answer(c, got), nil
		}
		t.registry.blame(ctx, c, f, t.last(), t.conversation)
		t.learn(c, f)
	}
}

// choose says who is asked next, after which wait. An untried healthy provider
// is never kept waiting for another one's second chance.
func (t *turn) choose(now time.Time) (next *candidate, wait time.Duration, force bool) {
	if t.over || len(t.attempts) >= mostAttempts || t.deadline.Sub(now) < leastLeft {
		return nil, 0, false
	}
	if c := t.repeat; c != nil {
		t.repeat = nil
		return c, 0, false
	}
	if c := t.untried(now); c != nil {
		return c, 0, false
	}
	if c, wait := t.soonest(now); c != nil {
		return c, wait, false
	}
	return t.firstToReopen(now), 0, true
}

// untried is the first healthy provider not asked yet, or nil. After a prompt
// was too long for one, a larger window goes first.
func (t *turn) untried(now time.Time) *candidate {
	var smaller *candidate
	for _, c := range t.order {
		switch {
		case t.tries[c.ID] > 0 || !t.open(c) || !c.state.ready(now):
		case c.ContextTokens > t.window:
			return c
		case smaller == nil:
			smaller = c
		}
	}
	return smaller
}

// open says whether row may still be asked in this turn.
func (t *turn) open(c *candidate) bool {
	if t.skipped[c.ID] != "" || t.tries[c.ID] >= mostPerRow || c.state.paused(time.Now()) {
		return false
	}
	if t.tries[c.ID] > 0 {
		_, ok := t.again[c.ID]
		return ok
	}
	return t.others > 0 && t.only(c)
}

// soonest is the provider that may be asked first after a wait the turn can
// afford: its back-off or the Retry-After it sent. Nil when there is none.
func (t *turn) soonest(now time.Time) (next *candidate, wait time.Duration) {
	for _, c := range t.order {
		until, guess := c.state.rests(now)
		if !t.open(c) || guess {
			continue
		}
		due := max(until.Sub(now), t.again[c.ID]-now.Sub(t.at[c.ID]))
		if t.tries[c.ID] > 0 {
			due = max(due, jitter(len(t.attempts)))
		}
		if next == nil || due < wait {
			next, wait = c, due
		}
	}
	if wait > t.deadline.Sub(now)-leastLeft {
		return nil, 0
	}
	return next, wait
}

// firstToReopen is the resting provider whose breaker opens again first: with
// nobody else left, its guess is put to the test.
func (t *turn) firstToReopen(now time.Time) *candidate {
	var first *candidate
	var soonest time.Time
	for _, c := range t.order {
		until, guess := c.state.rests(now)
		if t.open(c) && guess && (first == nil || until.Before(soonest)) {
			first, soonest = c, until
		}
	}
	return first
}

// jitter is a back-off before a second chance: rand(0, min(4 s, 400 ms·2ⁿ)).
func jitter(attempts int) time.Duration {
	return rand.N(min(4*time.Second, 400*time.Millisecond<<min(attempts, 8)))
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// test makes one attempt and says what a person can do about a failure. It
// changes nothing but the books, and ends an automatic pause when all is well.
func (t *turn) test(ctx context.Context, c *candidate) (Answer, error) {
	t.testing = true
	got, f := t.try(ctx, c, &place{registry: t.registry, give: func() {}})
	if f == nil {
		t.registry.praise(c, t.last().Took)
		return t.answer(c, got), nil
	}
	e := t.failed(ctx)
	e.said = t.last().Err
	if advice := rules[f.class].advice; advice != "" {
		e.said += "; " + advice
	}
	return Answer{}, e
}

// try makes one attempt, settles its books and notes it.
func (t *turn) try(ctx context.Context, c *candidate, place *place) (reply, *failure) {
	began := time.Now()
	t.at[c.ID] = began
	prompt, _ := t.task.size(c)
	got, f := t.task.ask(ctx, t.registry, c, t.limit(c, began))
	a := Attempt{Provider: c.Name, Model: c.Model, Class: ClassOK, Took: time.Since(began), provider: c.ID, began: began}
	if f != nil {
		a.Class, a.Err = f.class, f.sentence(c.Name)
	}
	if !got.firstAt.IsZero() {
		a.First = got.firstAt.Sub(began)
	}
	c.state.count(a.Class, a.Took)
	spent := c.spent(got, f, prompt)
	a.PromptTokens, a.CompletionTokens, a.Cost = int(spent.PromptTokens), int(spent.CompletionTokens), spent.Cost
	place.settle(ctx, spent)
	t.attempts = append(t.attempts, a)
	t.note(a)
	return got, f
}

func (t *turn) last() Attempt { return t.attempts[len(t.attempts)-1] }

// limit is the longest that one attempt may take: enough for an answer, and
// little enough that those after it have their chance.
func (t *turn) limit(c *candidate, now time.Time) time.Duration {
	left := t.deadline.Sub(now)
	candidates := 1
	for _, other := range t.order {
		if other != c && t.tries[other.ID] == 0 && t.open(other) && other.state.ready(now) {
			candidates++
		}
	}
	return min(c.Timeout(), left, max(leastLimit, left/time.Duration(min(candidates, 3))))
}

// learn decides from a failure of row who may be asked next.
func (t *turn) learn(c *candidate, f *failure) {
	if t.tries[c.ID] == 0 {
		t.others--
	}
	t.tries[c.ID]++
	delete(t.again, c.ID)
	switch rule := rules[f.class]; rule.next {
	case nobody:
		t.over = true
	case oneOther:
		t.others = min(t.others, 1)
	case filterless:
		t.only = func(c *candidate) bool { return c.AnswerFiltered }
	case anyOther:
	}
	if t.tries[c.ID] < mostPerRow {
		t.secondChance(c, f)
	}
}

// secondChance allows row another attempt, at once or after the wait it asked
// for, where the class makes that promising.
func (t *turn) secondChance(c *candidate, f *failure) {
	wait := retryAfter(f.seen.header, f.seen.body, time.Now())
	switch f.class {
	case ClassRateLimit:
		t.again[c.ID] = wait
	case ClassTransient, ClassNetwork, ClassStreamCut:
		if wait > longestRepeat {
			return
		}
		t.again[c.ID] = wait
		if wait == 0 {
			t.repeat = c
		}
	case ClassMalformed:
		if f.slip() {
			t.again[c.ID], t.repeat = 0, c
		}
	case ClassUnsupported:
		if c.state.leaveOut(refusedParameter(f.wrong.words)) {
			t.againAfterOthers(c)
		}
	case ClassContext: // a larger window first, else this one with less
		t.window = max(t.window, c.ContextTokens)
		if !t.task.shorten(t.window) {
			return
		}
		t.again[c.ID] = 0
		if larger := t.untried(time.Now()); larger == nil || larger.ContextTokens <= t.window {
			t.repeat = c
		}
	}
}

// againAfterOthers asks row once more without what it does not know: at once, unless
// somebody else can do without leaving anything out.
func (t *turn) againAfterOthers(c *candidate) {
	t.again[c.ID] = 0
	other := t.untried(time.Now())
	if other != nil {
		mine, _ := t.task.lacking(c)
		theirs, _ := t.task.lacking(other)
		if len(theirs) < len(mine) {
			return
		}
	}
	t.repeat = c
}

// estimate is the most that a call of row is likely to take.
func (t *turn) estimate(c *candidate) store.Usage {
	prompt, completion := t.task.size(c)
	return c.price(int64(prompt), int64(completion))
}

func (t *turn) skip(c *candidate, why string) {
	t.skipped[c.ID] = c.Name + " " + why
}

func (t *turn) answer(c *candidate, got reply) Answer {
	last := t.last()
	lacking, _ := t.task.lacking(c)
	return Answer{
		Text: got.text, Calls: got.calls, Vectors: got.vectors, Lacking: lacking, Provider: c.Name, Model: c.Model, Attempts: t.attempts, Demo: c.Demo,
		PromptTokens: last.PromptTokens, CompletionTokens: last.CompletionTokens,
		Cost: last.Cost,
		Took: time.Since(t.began),
	}
}

// failed is the error of a turn that nobody could answer.
func (t *turn) failed(ctx context.Context) *Error {
	e := &Error{Attempts: t.attempts, Temporary: over(ctx)}
	if over(ctx) {
		e.cause = cmp.Or(ctx.Err(), context.DeadlineExceeded)
	}
	now := time.Now()
	for _, a := range t.attempts {
		e.Temporary = e.Temporary || rules[a.Class].later
	}
	for _, c := range t.order {
		if why := t.skipped[c.ID]; why != "" {
			e.Skipped = append(e.Skipped, why)
			e.Temporary = e.Temporary || c.flaw == ""
		} else if t.tries[c.ID] == 0 && !c.state.ready(now) {
			e.Skipped = append(e.Skipped, c.Name+" rests after failures")
			e.Temporary = true
		}
		if until, _ := c.state.rests(now); until.After(now) && (e.RetryAfter == 0 || until.Sub(now) < e.RetryAfter) {
			e.RetryAfter = until.Sub(now)
		}
	}
	return e
}

// blame records a failure where it belongs: state, log, and for what needs a
// person the database.
func (r *Registry) blame(ctx context.Context, c *candidate, f *failure, a Attempt, conversation int64) {
	now := time.Now()
	c.state.failed(now, f.class, a.Err, retryAfter(f.seen.header, f.seen.body, now))
	if f.class == ClassCanceled {
		return
	}
	r.log.WarnContext(ctx, "AI provider attempt failed", slog.String("provider", c.Name), slog.String("model", c.Model),
		slog.String("class", string(f.class)), slog.Int("status", f.seen.status),
		slog.Int64("conversation", conversation), slog.Duration("took", a.Took))
	rule := rules[f.class]
	if rule.harm != pause {
		return
	}
	r.log.ErrorContext(ctx, "AI provider switched off for a while", slog.String("provider", c.Name),
		slog.String("model", c.Model), slog.String("class", string(f.class)), slog.String("advice", rule.advice))
	reason := a.Err
	if rule.advice != "" {
		reason += "; " + rule.advice
	}
	r.later(func(ctx context.Context) error {
		err := r.store.DisableProvider(ctx, c.ID, rule.first, rule.longest, reason)
		if err != nil {
			return fmt.Errorf("switch provider %d off: %w", c.ID, err)
		}
		return nil
	})
}

// praise records a success, and ends a pause that proved needless.
func (r *Registry) praise(c *candidate, took time.Duration) {
	c.state.succeeded(time.Now(), took)
	if c.AutoDisabledTimes == 0 || !c.state.unpause() {
		return
	}
	r.later(func(ctx context.Context) error { return r.store.EnableProvider(ctx, c.ID) })
}
