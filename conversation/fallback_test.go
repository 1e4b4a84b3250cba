package conversation_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/providers"
)

func TestAnswerComesLaterWhenNobodyCouldAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		began := time.Now()
		var tried []time.Duration
		d.think = func(ctx context.Context, q providers.Request) (providers.Answer, error) {
			tried = append(tried, time.Since(began).Truncate(time.Second))
			return unavailable(ctx, q)
		}
		d.start()
		d.write(1, "hello", 0)
		pass(time.Hour)
		want := []time.Duration{0, 30 * time.Second, 150 * time.Second, 750 * time.Second}
		if !slices.Equal(tried, want) {
			t.Errorf("tried after %v, not %v", tried, want)
		}
		if r := d.look(1); !slices.Equal(r.skipped, []string{"no_answer"}) {
			t.Errorf("skipped %q", r.skipped)
		}
		if n := d.log.count("Customer left without an answer"); n != 1 {
			t.Errorf("said %d times, not once", n)
		}
		d.close()
	})
}

func TestFallbackTextIsSentOnceInTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.change(1, func(r *row) { r.Fallback, r.FallbackText = "text", "Somebody will answer you soon." })
		d.think = unavailable
		d.start()
		for range 3 {
			d.write(1, "hello", 0)
			pass(4 * time.Minute)
		}
		if got := d.answers(1); len(got) != 1 {
			t.Errorf("answers %q", got)
		}
		d.write(1, "hello", 0)
		pass(time.Minute)
		if got := d.answers(1); len(got) != 2 {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestFallbackHandsTheConversationToPeople(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.change(1, func(r *row) { r.Fallback = "handoff" })
		d.think = unavailable
		d.start()
		d.write(1, "hello", 0)
		pass(time.Second)
		if r := d.look(1); !slices.Equal(r.skipped, []string{"handed off: no_answer"}) {
			t.Errorf("%q", r.skipped)
		}
		d.close()
	})
}

func TestTimeoutIsRetriedOnceWhateverThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.change(1, func(r *row) { r.Fallback = "silent" })
		calls := 0
		d.think = func(ctx context.Context, _ providers.Request) (providers.Answer, error) {
			calls++
			<-ctx.Done()
			return providers.Answer{}, ctx.Err()
		}
		d.start()
		d.write(1, "hello", 0)
		pass(time.Hour)
		if r := d.look(1); calls != 2 || !slices.Equal(r.skipped, []string{"no_answer"}) {
			t.Errorf("asked %d times, skipped %q", calls, r.skipped)
		}
		d.close()
	})
}
