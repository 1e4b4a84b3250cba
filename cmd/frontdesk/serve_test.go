package main

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestEveryMessageIsAnsweredInOrderOnceAndAfterARestartAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.env = append(r.env, "FRONTDESK_LIMIT_SHUTDOWN=1m")
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 100*time.Millisecond)
	c := newCrowd(r, phone, 20)
	c.write(20, 20*time.Millisecond)
	if got := c.await(time.Minute); !got.clean() {
		t.Fatal(got)
	}
	if code, took := r.stop(); code != 0 || took > time.Minute {
		t.Fatalf("the stop took %v and gave exit code %d", took, code)
	}
	r.start()
	c.write(20, 20*time.Millisecond)
	got := c.await(time.Minute)
	if !got.clean() {
		t.Fatal(got)
	}
	t.Log(got)
	if log := r.log.String(); strings.Contains(log, "1202555") || strings.Contains(log, "sk-test") {
		t.Error("the log holds a phone number or a key")
	}
}

func TestPairShowsACodeInTheTerminalUntilAPhoneScansIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	var said logFile
	pairing := exec.Command(binary, "pair", "Terminal desk")
	pairing.Env, pairing.Stdout, pairing.Stderr = r.env, &said, &said
	must(t, pairing.Start())
	eventually(t, time.Minute, "a code in the terminal", func() bool { return strings.Contains(said.String(), "▄") })
	must(t, r.scan(phone, 1))
	if err := pairing.Wait(); err != nil || !strings.Contains(said.String(), "Linked.") {
		t.Fatalf("pair ended with %v and said %q", err, said.String())
	}
}

func TestPairShowsACodeToTypeForAPhoneNumber(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	var said logFile
	pairing := exec.Command(binary, "pair", "Terminal desk", "--phone", "+1 (202) 555-0111")
	pairing.Env, pairing.Stdout, pairing.Stderr = r.env, &said, &said
	must(t, pairing.Start())
	code := regexp.MustCompile(`(?m)^    (\w{4}-\w{4})$`)
	eventually(t, time.Minute, "a code in the terminal", func() bool { return code.MatchString(said.String()) })
	must(t, r.wa.Phone(phone).EnterCode(deadline(t, time.Minute), code.FindStringSubmatch(said.String())[1]))
	if err := pairing.Wait(); err != nil || !strings.Contains(said.String(), "Linked.") {
		t.Fatalf("pair ended with %v and said %q", err, said.String())
	}
}

func TestHighestPriorityAnswersAndTheNextOneInTheSameTurnWhenItIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	second := newEndpoint(t)
	second.prefix = "second"
	r.start()
	r.provider(second, "second", 5)
	r.provider(r.ai, "first", 10)
	account := r.pair(phone)
	r.quick(account, 0)
	c := newCrowd(r, phone, 1)
	c.write(1, 0)
	eventually(t, time.Minute, "an answer", func() bool { return c.count().answered == 1 })
	r.ai.away.Store(true)
	c.write(1, 0)
	eventually(t, time.Minute, "an answer", func() bool { return c.count().answered == 2 })
	var texts []string
	for _, m := range r.wa.Customer(c.number(0)).Messages(phone) {
		if !m.FromCustomer {
			texts = append(texts, m.Text)
		}
	}
	if strings.Join(texts, "|") != "re 1|second 2" {
		t.Fatalf("the customer saw %q", texts)
	}
	var timeline struct {
		Items []struct {
			Kind   string         `json:"kind"`
			Detail map[string]any `json:"detail"`
		} `json:"items"`
	}
	r.api(http.MethodGet, "/api/v1/conversations/1/timeline", nil, &timeline)
	if len(timeline.Items) != 2 || timeline.Items[0].Detail["provider"] != "second" {
		t.Fatalf("the second answer took more than its own turn: %v", timeline.Items)
	}
}

func TestStopUnderLoadAnswersWhatItHasBegunAndSaysSoInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.env = append(r.env, "FRONTDESK_LIMIT_SHUTDOWN=1m")
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 0)
	r.ai.slow.Store(int64(time.Second))
	c := newCrowd(r, phone, 20)
	c.write(3, 30*time.Millisecond)
	code, took := r.stop()
	if code != 0 || took > time.Minute {
		t.Fatalf("the stop took %v and gave exit code %d", took, code)
	}
	inOrder(t, r.log.String(), "Stopping", "HTTP server stopped", "Socket service stopped", "Waiting for pending message processing",
		"Conversation service stopped", "WhatsApp service stopped", "Shutting down AI service", "AI service shutdown complete", "AI service stopped",
		"Database stopped", "Stopped")
	r.start()
	if got := c.await(time.Minute); !got.clean() {
		t.Fatal(got)
	}
}

// inOrder fails unless every line is in the log, one after the other.
func inOrder(t *testing.T, log string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		_, rest, found := strings.Cut(log, `"msg":"`+line+`"`)
		if !found {
			t.Fatalf("%q is missing or out of order", line)
		}
		log = rest
	}
}

// A loop that asks the database again at once would be seen by nobody but the answers,
// which come later.
func TestAtRestTheDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	r.quick(r.pair(phone), 0)
	before, began := r.transactions(), time.Now()
	time.Sleep(3 * time.Second) // the stretch that is measured
	rate := float64(r.transactions()-before) / time.Since(began).Seconds()
	t.Logf("%.0f transactions a second at rest", rate)
	if rate > 300 { // about 10, and what Postgres counts late of the pairing
		t.Errorf("%.0f transactions a second with nothing to do", rate)
	}
}

// transactions is how many the embedded Postgres has ended so far.
func (r *rig) transactions() (n int64) {
	r.t.Helper()
	db := r.database()
	must(r.t, db.QueryRow(r.t.Context(), `select xact_commit + xact_rollback from pg_stat_database where datname = current_database()`).Scan(&n))
	return n
}
