package watch

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsSaidEveryHalfMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		m.read = func() usage { return usage{heap: 256 * mib, total: 512 * mib, rss: 384 * mib} }
		_ = m.Start(t.Context())
		time.Sleep(65 * time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "📊 Memory: 256MB / 512MB (RSS: 384MB)"); n != 2 {
			t.Errorf("said %d times in 65 s, not 2: %s", n, log.String())
		}
		_ = m.Close(t.Context())
		_ = m.Close(t.Context())
	})
}

func TestAlarmWarnsFreesAndEndsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var used atomic.Uint64
		freed := 0
		m := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), AlarmMiB: 100, Sockets: func() int { return 7 }})
		m.read = func() usage { return usage{rss: used.Load() * mib} }
		m.free = func() { freed++ }
		_ = m.Start(t.Context())
		look := func(mib uint64, alarm bool) {
			t.Helper()
			used.Store(mib)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if m.Alarm() != alarm {
				t.Errorf("at %d MiB the alarm is %v", mib, m.Alarm())
			}
		}
		look(100, false)
		look(101, true)
		look(120, true)
		look(95, true) // not yet below 900/1024
		look(80, false)
		for line, times := range map[string]int{
			"⚠️  High memory usage detected: 101MB": 1, "⚠️  High memory usage detected: 120MB": 1, "  Active executions: 0": 2,
			"  Connected sockets: 7": 2, "  Event buffer size: 0": 2, "Memory alarm\"": 1, "Memory alarm ended": 1,
		} {
			if n := strings.Count(log.String(), line); n != times {
				t.Errorf("%q was said %d times, not %d", line, n, times)
			}
		}
		if freed != 2 {
			t.Errorf("memory was freed %d times, not 2", freed)
		}
		_ = m.Close(t.Context())
	})
}

func TestPresentUsageIsPlausible(t *testing.T) {
	t.Parallel()
	u := present()
	if u.heap == 0 || u.total < u.heap || u.rss < mib {
		t.Errorf("heap %d, total %d, rss %d", u.heap, u.total, u.rss)
	}
}
