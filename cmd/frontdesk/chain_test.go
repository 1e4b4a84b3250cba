package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestStopGoesBackwardsAndPassesOverWhatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		c := &chain{log: slog.New(slog.DiscardHandler)}
		add := func(name string, takes time.Duration) {
			c.add(name, time.Second, func(context.Context) error {
				time.Sleep(takes)
				stopped = append(stopped, name)
				return errors.New("said while stopping") // one part's error is not the next one's business
			})
		}
		add("database", 0)
		release := make(chan struct{})
		c.add("turns", time.Second, func(context.Context) error {
			<-release
			return nil
		})
		add("doors", 100*time.Millisecond)
		began := time.Now()
		err := c.Stop(10 * time.Second)
		if took := time.Since(began); took != 9*time.Second { // all but the second that is kept for the database
			t.Errorf("the stop took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "not stopped in time: turns") || !slices.Equal(stopped, []string{"doors", "database"}) {
			t.Errorf("stopped %v: %v", stopped, err)
		}
		close(release)
	})
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.env = append(r.env, "FRONTDESK_LIMIT_DRAIN=40s", "FRONTDESK_LIMIT_SHUTDOWN=1m")
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 0)
	r.ai.slow.Store(int64(11 * time.Second)) // providers have 12
	c := newCrowd(r, phone, 1)
	calls := r.ai.calls.Load()
	c.write(1, 0)
	eventually(t, time.Minute, "a turn under way", func() bool { return r.ai.calls.Load() > calls })
	must(t, r.child.Process.Signal(syscall.SIGTERM))
	eventually(t, time.Minute, "the stop to begin", func() bool { return strings.Contains(r.log.String(), `"msg":"Stopping"`) })
	must(t, r.child.Process.Signal(syscall.SIGTERM))
	_ = r.child.Wait()
	if how := r.child.ProcessState.Sys().(syscall.WaitStatus); !how.Signaled() {
		t.Errorf("the second signal did not end the process, its stop went on to exit code %d", how.ExitStatus())
	}
	r.child = nil
	r.ai.slow.Store(0)
	r.start()
	if got := c.await(time.Minute); !got.clean() {
		t.Error(got)
	}
}
