package watch

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	usualInterval = 30 * time.Second
	usualAlarm    = 1024 // MiB
	mib           = 1 << 20
)

// Options are what a memory watch needs to know; all may be left out.
type Options struct {
	Log      *slog.Logger
	Interval time.Duration // between two looks (L27)
	AlarmMiB int           // (L28); it ends below 900/1024 of it

	// What the warnings name, and what every look says along: gauges by name.
	Executions, Sockets, EventBuffers func() int
	Gauges                            func() []slog.Attr
}

// Memory watches. Its methods may be called from any goroutine.
type Memory struct {
	o       Options
	read    func() usage
	free    func()
	alarm   atomic.Bool
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// usage is memory in bytes.
type usage struct{ heap, total, rss uint64 }

// New returns a watch that does not look yet; see Start.
func New(o Options) *Memory {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Interval <= 0 {
		o.Interval = usualInterval
	}
	if o.AlarmMiB <= 0 {
		o.AlarmMiB = usualAlarm
	}
	none := func() int { return 0 }
	for _, count := range []*func() int{&o.Executions, &o.Sockets, &o.EventBuffers} {
		if *count == nil {
			*count = none
		}
	}
	if o.Gauges == nil {
		o.Gauges = func() []slog.Attr { return nil }
	}
	return &Memory{o: o, read: present, free: debug.FreeOSMemory}
}

// Start looks at every interval, until Close.
func (m *Memory) Start(ctx context.Context) error {
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.running.Go(func() { m.watch(looking) })
	return nil
}

// Close ends the watch. A second call does nothing.
func (m *Memory) Close(context.Context) error {
	m.closing.Do(func() {
		if m.stop != nil {
			m.stop()
		}
		m.running.Wait()
	})
	return nil
}

// HeapBytes is the heap in use at this moment.
func (m *Memory) HeapBytes() uint64 { return m.read().heap }

// RSSBytes is the resident memory of the process at this moment.
func (m *Memory) RSSBytes() uint64 { return m.read().rss }

// Alarm says whether memory is above the alarm, or was and has not come down
// enough since.
func (m *Memory) Alarm() bool { return m.alarm.Load() }

func (m *Memory) watch(ctx context.Context) {
	tick := time.NewTicker(m.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.look(ctx)
		}
	}
}

// look says what is used, and raises or ends the alarm.
func (m *Memory) look(ctx context.Context) {
	u := m.read()
	said := fmt.Sprintf("📊 Memory: %dMB / %dMB (RSS: %dMB)", u.heap/mib, u.total/mib, u.rss/mib)
	m.o.Log.LogAttrs(ctx, slog.LevelInfo, said, m.o.Gauges()...) //nolint:sloglint // L27
	most, limit := max(u.heap, u.rss), uint64(m.o.AlarmMiB)*mib
	switch {
	case most > limit:
		m.warn(ctx, most)
		m.free()
		if !m.alarm.Swap(true) {
			m.o.Log.ErrorContext(ctx, "Memory alarm", slog.Uint64("used_mib", most/mib), slog.Int("limit_mib", m.o.AlarmMiB))
		}
	case most < limit/1024*900 && m.alarm.Swap(false):
		m.o.Log.InfoContext(ctx, "Memory alarm ended", slog.Uint64("used_mib", most/mib))
	}
}

// warn writes the four lines of the contract (L28).
func (m *Memory) warn(ctx context.Context, most uint64) {
	for _, line := range []string{
		fmt.Sprintf("⚠️  High memory usage detected: %dMB", most/mib),
		fmt.Sprintf("  Active executions: %d", m.o.Executions()),
		fmt.Sprintf("  Connected sockets: %d", m.o.Sockets()),
		fmt.Sprintf("  Event buffer size: %d", m.o.EventBuffers()),
	} {
		m.o.Log.WarnContext(ctx, line) //nolint:sloglint // L28
	}
}

// present reads the runtime's numbers without stopping it.
func present() usage {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	heap := samples[0].Value.Uint64()
	rss, ok := resident()
	if !ok {
		rss = samples[3].Value.Uint64() - samples[4].Value.Uint64()
	}
	return usage{heap: heap, total: heap + samples[1].Value.Uint64() + samples[2].Value.Uint64(), rss: rss}
}
