package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestKillsUnderLoadLoseDoubleAndReorderNothing(t *testing.T) {
	t.Parallel()
	runs, customers, messages := 1, 10, 10
	if torture() {
		runs, customers, messages = 3, 20, 20
	}
	for run := range runs {
		r := newRig(t, nil)
		r.start()
		r.provider(r.ai, "first", 10)
		r.quick(r.pair(phone), 50*time.Millisecond)
		r.ai.slow.Store(int64(30 * time.Millisecond))
		c := newCrowd(r, phone, customers)
		written := make(chan struct{})
		go func() {
			defer close(written)
			c.write(messages, 9*time.Second/time.Duration(messages))
		}()
		for range 4 {
			time.Sleep(time.Second + rand.N(time.Second))
			r.kill()
			r.start()
		}
		<-written
		got := c.await(2 * time.Minute)
		t.Logf("kill -9 four times under load, run %d: %v", run+1, got)
		if !got.clean() {
			t.Fatal(got)
		}
		r.kill()
	}
}

func TestKillsRightAfterAMessageReachesTheSocketLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	kills := 3
	if torture() {
		kills = 50
	}
	aim := make(chan struct{}, 1)
	r := newRig(t, func(string, string) {
		select {
		case aim <- struct{}{}:
		default:
		}
	})
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 0)
	c := newCrowd(r, phone, 1)
	for range kills {
		eventually(t, time.Minute, "the account to connect", r.wa.Phone(phone).Connected)
		drain(aim)
		c.write(1, 0)
		<-aim
		time.Sleep(rand.N(8 * time.Millisecond))
		r.kill()
		r.start()
	}
	got := c.await(2 * time.Minute)
	t.Logf("kill -9 0 to 8 ms after a message reached the socket, %d times: %v", kills, got)
	if !got.clean() {
		t.Fatal(got)
	}
}

// What a customer writes in several messages is one question, also when frontdesk dies
// before it answers, or while the model is thinking.
func TestQuickMessagesGetOneAnswerAcrossAKill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, then int }{
		"killed while it waits for more":               {5, 0},
		"killed while the model thinks, one more came": {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.start()
			r.provider(r.ai, "first", 10)
			wait := 10 * time.Second
			if c.then > 0 {
				wait = 0
				r.ai.slow.Store(int64(10 * time.Second))
			}
			r.quick(r.pair(phone), wait)
			customer := newCrowd(r, phone, 1)
			asked := r.ai.calls.Load()
			customer.write(c.first, 0)
			if c.then > 0 {
				eventually(t, time.Minute, "the model to think", func() bool { return r.ai.calls.Load() > asked })
			}
			customer.write(c.then, 0)
			eventually(t, time.Minute, "the messages to be stored", func() bool { return customer.delivered() == c.first+c.then })
			r.kill()
			r.ai.slow.Store(0)
			if n := len(customer.answers(0)); n != 0 {
				t.Fatalf("%d answers before the kill", n)
			}
			r.start()
			got := customer.await(2 * time.Minute)
			answers := customer.answers(0)
			t.Logf("%v, in %d answers", got, len(answers))
			if !got.clean() || len(answers) != 1 {
				t.Fatalf("%v, in %d answers", got, len(answers))
			}
		})
	}
}

// Answers and claims are committed without waiting for the disk; this shows that
// nothing hangs on it.
func TestKillsOfPostgresUnderLoadLoseDoubleAndReorderNothing(t *testing.T) {
	t.Parallel()
	kills := 2
	if torture() {
		kills = 10
	}
	r := newRig(t, nil)
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 50*time.Millisecond)
	c := newCrowd(r, phone, 10)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(5*kills, 500*time.Millisecond)
	}()
	for i := range kills {
		time.Sleep(time.Second + rand.N(time.Second))
		r.killPostgres()
		eventually(t, time.Minute, "a new start of Postgres", func() bool {
			return strings.Count(r.log.String(), "Embedded Postgres runs again") > i
		})
	}
	<-written
	got := c.await(2 * time.Minute)
	t.Logf("kill -9 of Postgres %d times under load: %v", kills, got)
	if !got.clean() {
		t.Fatal(got)
	}
}

// killPostgres ends the embedded Postgres as a crash would, once it runs.
func (r *rig) killPostgres() {
	r.t.Helper()
	eventually(r.t, time.Minute, "Postgres to run", func() bool {
		text, err := os.ReadFile(filepath.Join(r.dir, "postgres", "data", "postmaster.pid"))
		lines := strings.Split(string(text), "\n")
		if err != nil || len(lines) < 8 || !strings.Contains(lines[7], "ready") {
			return false
		}
		pid, err := strconv.Atoi(lines[0])
		return err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil
	})
}

func TestEndpointAwayLosesAndReordersNothing(t *testing.T) {
	t.Parallel()
	away, customers, messages := 3*time.Second, 10, 5
	if torture() {
		away, customers, messages = 20*time.Second, 20, 20
	}
	r := newRig(t, nil)
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 50*time.Millisecond)
	c := newCrowd(r, phone, customers)
	var leaving sync.WaitGroup
	leaving.Go(func() {
		time.Sleep(away / 4)
		r.ai.away.Store(true)
		time.Sleep(away)
		r.ai.away.Store(false)
	})
	c.write(messages, away*3/2/time.Duration(messages))
	leaving.Wait()
	got := c.await(3 * time.Minute)
	t.Logf("AI endpoint away for %v: %v", away, got)
	if !got.clean() || r.ai.calls.Load() == 0 {
		t.Fatal(got)
	}
}

// drain forgets what was delivered before.
func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func TestTallySeesLostDoubledAndReordered(t *testing.T) {
	t.Parallel()
	for numbers, want := range map[string]tally{
		"123": {written: 3, answered: 3},
		"13":  {written: 3, answered: 2, lost: 1},
		"122": {written: 3, answered: 2, lost: 1, doubled: 1},
		"132": {written: 3, answered: 3, reordered: 1},
	} {
		var got tally
		var seen []int
		for _, digit := range numbers {
			n, err := strconv.Atoi(string(digit))
			must(t, err)
			seen = append(seen, n)
		}
		got.add(seen, 3)
		if got != want {
			t.Errorf("%s: %+v, not %+v", numbers, got, want)
		}
	}
}

// Each message of a customer starts a flow once, in order, whatever is killed meanwhile.
func TestKillsWhileMessagesStartFlowsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	kills, customers, messages := 2, 10, 10
	if torture() {
		kills, customers, messages = 10, 20, 40
	}
	r := newRig(t, nil)
	r.start()
	r.provider(r.ai, "first", 10)
	account := r.pair(phone)
	r.quick(account, 0)
	r.api(http.MethodPatch, fmt.Sprintf("/api/v1/accounts/%d", account), map[string]any{"answering": "shadow"}, nil)
	r.command("flows", "put", r.file("flow.json", fmt.Sprintf(`{"name": "echo", "account": %d, "trigger": {"type": "message"},
		"steps": [{"id": "told", "type": "send", "text": "seen {{trigger.text}}"}]}`, account)))
	c := newCrowd(r, phone, customers)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(messages, time.Duration(kills)*2*time.Second/time.Duration(messages))
	}()
	for range kills {
		time.Sleep(time.Second + rand.N(time.Second))
		r.kill()
		r.start()
	}
	<-written
	got := c.await(2 * time.Minute)
	t.Logf("kill -9 %d times while messages start flows: %v", kills, got)
	if !got.clean() {
		t.Fatal(got)
	}
}
