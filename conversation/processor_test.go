package conversation_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

func TestThousandTurnsRunAndTheNextWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		idle := memoryInUse()
		release := make(chan struct{})
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			<-release
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.start()
		for c := range int64(1001) {
			d.write(c+1, "hello", 0)
		}
		pass(10 * time.Second)
		s := d.p.Stats()
		if s.Active != 1000 || s.Deferred != 1 {
			t.Errorf("%d turns under way and %d deferred, not 1000 and 1", s.Active, s.Deferred)
		}
		if n := d.log.count("Conversation processing limit reached, message deferred"); n != 1 {
			t.Errorf("the limit was said %d times, not once", n)
		}
		t.Logf("%.1f MiB in use with 1,000 turns that hang and one that waits, %.1f MiB before", memoryInUse(), idle)
		close(release)
		pass(time.Second)
		for c := range int64(1001) {
			if got := d.answers(c + 1); len(got) != 1 {
				t.Fatalf("conversation %d has %d answers, not 1", c+1, len(got))
			}
		}
		d.close()
	})
}

// memoryInUse is what the heap and the stacks hold after a collection, in MiB.
func memoryInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse+m.StackInuse) / (1 << 20)
}

func TestOneCustomerHasOneTurnAtATimeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			time.Sleep(70 * time.Millisecond)
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.start()
		var want []string
		for i := range 100 {
			d.write(7, fmt.Sprint(i), 0)
			want = append(want, fmt.Sprint(i))
			pass(13 * time.Millisecond)
		}
		pass(time.Minute)
		if d.doubled() {
			t.Error("the customer had two turns at once")
		}
		var answered []string
		for _, a := range d.answers(7) {
			answered = append(answered, strings.Fields(strings.TrimPrefix(a, "re "))...)
		}
		if !slices.Equal(answered, want) {
			t.Errorf("answered %v", answered)
		}
		d.close()
	})
}

func TestRapidMessagesGetOneAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.start()
		for i := range 5 {
			d.write(1, fmt.Sprint("part", i), 2500*time.Millisecond)
			pass(time.Second)
		}
		pass(10 * time.Second)
		if got := d.answers(1); !slices.Equal(got, []string{"re part0 part1 part2 part3 part4"}) {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestNewerMessageReplacesTheDraftTwiceAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		drafts := 0
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			drafts++
			if drafts <= 5 {
				d.write(1, fmt.Sprint("and", drafts), 0)
			}
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.start()
		d.write(1, "first", 0)
		pass(time.Minute)
		got := d.answers(1)
		if len(got) == 0 || got[0] != "re first and1 and2" {
			t.Fatalf("the third draft must be sent; answers %q", got)
		}
		if last := got[len(got)-1]; !strings.HasSuffix(last, "and5") {
			t.Errorf("the newest message has no answer: %q", got)
		}
		d.close()
	})
}

func TestTurnEndsAfterTwoMinutesAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		calls := 0
		d.think = func(ctx context.Context, q providers.Request) (providers.Answer, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return providers.Answer{}, &providers.Error{}
			}
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.start()
		d.write(1, "hello", 0)
		pass(119 * time.Second)
		if s := d.p.Stats(); s.Active != 1 {
			t.Errorf("%d turns under way after 119 s, not 1", s.Active)
		}
		pass(2 * time.Second)
		if s := d.p.Stats(); s.Active != 0 {
			t.Errorf("%d turns under way after 121 s, not 0", s.Active)
		}
		if n := d.log.count("Conversation processing timed out"); n != 1 {
			t.Errorf("the time-out was said %d times, not once", n)
		}
		pass(time.Minute)
		if got := d.answers(1); !slices.Equal(got, []string{"re hello"}) {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestHungTurnGivesItsPlaceBackAndCannotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(o *conversation.Options) { o.Turns = 1 })
		release := make(chan struct{})
		d.think = hang(release)
		d.start()
		d.write(1, "hello", 0)
		pass(time.Second)
		d.mu.Lock()
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.mu.Unlock()
		d.write(2, "good morning", 0)
		pass(2*time.Minute + 5*time.Second)
		if s := d.p.Stats(); s.Abandoned != 1 || s.Active != 0 {
			t.Errorf("%d abandoned and %d under way, not 1 and 0", s.Abandoned, s.Active)
		}
		if got := d.answers(2); !slices.Equal(got, []string{"re good morning"}) {
			t.Errorf("the other customer got %q", got)
		}
		pass(time.Minute)
		close(release)
		pass(time.Minute)
		if got := d.answers(1); !slices.Equal(got, []string{"re hello"}) {
			t.Errorf("answers %q", got)
		}
		if s := d.p.Stats(); s.Abandoned != 0 {
			t.Errorf("%d abandoned after the hung turn came back", s.Abandoned)
		}
		d.close()
	})
}

func TestProcessWithFiftyHungTurnsTakesNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		release := make(chan struct{})
		d.think = hang(release)
		d.start()
		for c := range int64(50) {
			d.write(c+1, "hello", 0)
		}
		pass(2*time.Minute + 5*time.Second)
		if err := d.p.Ready(); err == nil {
			t.Error("the process says that it is ready")
		}
		d.write(99, "anybody?", 0)
		pass(10 * time.Second)
		if s := d.p.Stats(); s.Active != 0 || s.Abandoned != 50 {
			t.Errorf("%d under way, %d abandoned", s.Active, s.Abandoned)
		}
		close(release)
		pass(10 * time.Second)
		if err := d.p.Ready(); err != nil {
			t.Errorf("not ready after the hung turns came back: %v", err)
		}
		d.close()
	})
}

func TestQueueWatchWarnsFromNinetyPercent(t *testing.T) {
	t.Parallel()
	for turns, warnings := range map[int]int{899: 0, 900: 1} {
		t.Run(fmt.Sprint(turns), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, func(o *conversation.Options) { o.TurnTimeout = time.Hour })
				release := make(chan struct{})
				d.think = hang(release)
				d.start()
				for c := range int64(turns) {
					d.write(c+1, "hello", 0)
				}
				pass(5*time.Minute + time.Second)
				if n := d.log.count("Conversation queue near capacity"); n != warnings {
					t.Errorf("%d warnings, not %d", n, warnings)
				}
				close(release)
				pass(time.Second)
				d.close()
			})
		})
	}
}

func TestCloseFinishesTheReplyUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.think = func(ctx context.Context, q providers.Request) (providers.Answer, error) {
			select {
			case <-time.After(4 * time.Second):
				return providers.Answer{Text: "re " + said(q)}, nil
			case <-ctx.Done():
				return providers.Answer{}, ctx.Err()
			}
		}
		d.start()
		d.write(1, "hello", 0)
		pass(100 * time.Millisecond)
		began := time.Now()
		d.write(2, "too late for this process", time.Second)
		d.close()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %v although the turn was done before", took)
		}
		if len(d.answers(1)) != 1 || len(d.answers(2)) != 0 {
			t.Errorf("answers %q and %q", d.answers(1), d.answers(2))
		}
		if d.log.count("Waiting for pending message processing") != 1 || d.log.count("pending=1") != 1 || d.log.count("Conversation service stopped") != 1 {
			t.Errorf("log: %s", d.log.b.String())
		}
	})
}

func TestCloseLeavesAHungTurnAfterFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		release := make(chan struct{})
		d.think = hang(release)
		d.start()
		d.write(1, "hello", 0)
		pass(time.Second)
		began := time.Now()
		d.close()
		if took := time.Since(began).Truncate(time.Second); took != 5*time.Second {
			t.Errorf("took %v, not 5 s", took)
		}
		if r := d.look(1); r.AnsweredSeq != 0 || len(r.skipped) != 0 {
			t.Error("the stop settled a message that nobody answered")
		}
		close(release)
	})
}

func TestMessageThatNobodyWokeIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.store(1, "before the start", 0)
		d.start()
		pass(time.Second)
		if got := d.answers(1); len(got) != 1 {
			t.Errorf("answers %q", got)
		}
		d.store(2, "from another process", 0)
		pass(6 * time.Second)
		if got := d.answers(2); len(got) != 1 {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestStorageFailureDelaysAndLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.change(1, func(r *row) { r.broken = context.DeadlineExceeded })
		d.start()
		d.write(1, "hello", 0)
		pass(20 * time.Second)
		d.change(1, func(r *row) { r.broken = nil })
		pass(5 * time.Second)
		if got := d.answers(1); !slices.Equal(got, []string{"re hello"}) {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestAccountThatMovedIsLeftToItsNewOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		account, move := context.WithCancel(context.Background())
		d.account = account
		d.think = func(ctx context.Context, _ providers.Request) (providers.Answer, error) {
			<-ctx.Done()
			return providers.Answer{}, ctx.Err()
		}
		d.start()
		d.write(1, "hello", 0)
		pass(time.Second)
		move()
		pass(10 * time.Second)
		if r := d.look(1); r.AnsweredSeq != 0 || r.Attempts != 0 || d.p.Stats().Active != 0 {
			t.Errorf("cursor %d, attempts %d, active %d", r.AnsweredSeq, r.Attempts, d.p.Stats().Active)
		}
		d.close()
	})
}

func TestPanicIsATurnThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		calls := 0
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			if calls++; calls == 1 {
				panic("a bug")
			}
			return providers.Answer{Text: "re " + said(q)}, nil
		}
		d.start()
		d.write(1, "hello", 0)
		pass(40 * time.Second)
		if got := d.answers(1); !slices.Equal(got, []string{"re hello"}) {
			t.Errorf("answers %q", got)
		}
		d.close()
	})
}

func TestTypingShowsWhileThinking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		d := newDesk(t, func(o *conversation.Options) {
			o.Typing = func(account, conversation int64, on bool) {
				heard = append(heard, fmt.Sprint(account, conversation, on))
			}
		})
		d.think = func(context.Context, providers.Request) (providers.Answer, error) {
			time.Sleep(25 * time.Second)
			return unavailable(context.Background(), providers.Request{})
		}
		d.start()
		d.write(1, "hello", 0)
		pass(26 * time.Second)
		if on, off := d.typed("chat1", true), d.typed("chat1", false); on != 3 || off != 1 {
			t.Errorf("typing shown %d times and hidden %d times, not 3 and 1", on, off)
		}
		if want := []string{"1 1 true", "1 1 true", "1 1 true", "1 1 false"}; !slices.Equal(heard, want) {
			t.Errorf("those who follow heard %q, want %q", heard, want)
		}
		d.close()
	})
}

func TestPolicySkipsWithoutBacklog(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(*row){
		"paused":     func(r *row) { r.AccountPaused = true },
		"human":      func(r *row) { r.State = store.StateHuman },
		"closed":     func(r *row) { r.State = store.StateClosed },
		"too_old":    func(r *row) { r.NewestAge = 7 * time.Hour },
		"unreadable": func(r *row) { r.Readable = 0 },
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				d.change(1, change)
				d.start()
				d.write(1, "hello", 0)
				pass(time.Second)
				if r := d.look(1); !slices.Equal(r.skipped, []string{reason}) || r.AnsweredSeq != 1 || len(d.answers(1)) != 0 {
					t.Errorf("skipped %q, cursor %d, answers %q", r.skipped, r.AnsweredSeq, d.answers(1))
				}
				if alerted := len(d.alerts) == 1; alerted != (reason == "unreadable") {
					t.Errorf("skipping what is %s raised %q", reason, d.alerts)
				}
				d.close()
			})
		})
	}
}
