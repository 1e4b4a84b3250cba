package conversation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// When nobody can answer, the account's policy decides (conversation.md).
var retryAfter = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// textPause is how long a customer is spared a second fallback text.
const textPause = 10 * time.Minute

// fail does what the account wants when a turn found no answer. A time-out is
// retried once whatever the policy, as is what the house itself did wrong. Its
// own error means that nothing could be written.
func (t *turn) fail(ctx context.Context, why error) error {
	if storageFailed(why) {
		return why
	}
	now, err := t.p.store.Turn(ctx, t.conversation)
	if err != nil {
		return err
	}
	if now.LastSeq == now.AnsweredSeq {
		return nil
	}
	t.p.log.WarnContext(ctx, "No provider could answer", slog.Int64("account", t.account), slog.Int64("conversation", t.conversation),
		slog.Int("attempt", now.Attempts+1), slog.String("policy", now.Fallback), slog.Any("error", why))
	if mayRetry(now, why) {
		return t.retry(ctx, now, why)
	}
	switch now.Fallback {
	case "text":
		return t.sayOnce(ctx, now, now.FallbackText, "no_answer")
	case "handoff":
		err = t.handOff(ctx, now, "no_answer", "")
	default:
		err = t.skip(ctx, now, "no_answer")
	}
	t.p.log.ErrorContext(ctx, "Customer left without an answer", slog.Int64("account", t.account), slog.Int64("conversation", t.conversation),
		slog.String("policy", now.Fallback))
	return err
}

// storageFailed tells our own failure from that of the providers.
func storageFailed(why error) bool {
	var failed *providers.Error
	return !errors.As(why, &failed) && !errors.Is(why, errTimedOut) && !errors.Is(why, errEmpty) && !errors.Is(why, errPanic)
}

// mayRetry says whether the turn is tried again later.
func mayRetry(now store.Turn, why error) bool {
	if now.Fallback == "later" {
		return now.Attempts < len(retryAfter)
	}
	var failed *providers.Error
	return now.Attempts == 0 && !errors.As(why, &failed)
}

func (t *turn) retry(ctx context.Context, now store.Turn, why error) error {
	wait := retryAfter[now.Attempts]
	if moved, err := t.p.store.RetryLater(ctx, t.conversation, now.AnsweredSeq, wait, reason(why)); err != nil || !moved {
		return err
	}
	t.again = time.Now().Add(wait)
	return nil
}

// reason is a word for the timeline.
func reason(why error) string {
	switch {
	case errors.Is(why, errTimedOut):
		return "timed_out"
	case errors.Is(why, providers.ErrNone):
		return "no_provider"
	case errors.Is(why, errPanic):
		return "internal"
	}
	return "providers_failed"
}
