package live

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowdEnv has the test binary be a crowd of clients instead: "address sockets lazy
// events".
const crowdEnv = "FRONTDESK_LIVE_CROWD"

// delays are how long events took from before their commit until a client had them.
type delays struct {
	P50, P99, Max time.Duration
	Events, Lost  int
}

// crowd connects sockets to all, and as many lazy ones that read nothing. It says ready,
// and in the end how long events took.
func crowd(job string) error {
	var address string
	var sockets, lazy, events int
	if _, err := fmt.Sscan(job, &address, &sockets, &lazy, &events); err != nil {
		return err
	}
	var mu sync.Mutex
	var took []time.Duration
	var reading, ready sync.WaitGroup
	errs := make(chan error, sockets+lazy)
	for n := range sockets + lazy {
		conn, lines, err := attach(address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if n < lazy {
			continue
		}
		ready.Add(1)
		reading.Go(func() {
			own, err := follow(lines, events, ready.Done)
			errs <- err
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	ready.Wait()
	fmt.Println("ready")
	reading.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	slices.Sort(took)
	return json.NewEncoder(os.Stdout).Encode(delays{
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1], len(took), sockets*events - len(took),
	})
}

// attach makes a WebSocket with as little as that takes, and follows all.
func attach(address string) (net.Conn, *bufio.Reader, error) {
	dialer := net.Dialer{Control: smallBuffer}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", address)
	lines := bufio.NewReaderSize(conn, 16<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, nil, err
		}
		if line == "\r\n" {
			break
		}
	}
	text := `{"op":"subscribe","room":"all"}`
	_, err = conn.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...))
	return conn, lines, err
}

// follow reads so many events.
func follow(lines *bufio.Reader, events int, subscribed func()) ([]time.Duration, error) {
	took := make([]time.Duration, 0, events)
	frame := make([]byte, 16<<10)
	last := 0
	for len(took) < events {
		text, err := readFrame(lines, frame)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(text, []byte(`"subscribed"`)) {
			subscribed()
		}
		sent, n := numberIn(text, `"sent":`), numberIn(text, `"n":`)
		if sent == 0 {
			continue
		}
		if n != last+1 {
			return nil, fmt.Errorf("%d came behind %d", n, last)
		}
		last = n
		took = append(took, time.Duration(time.Now().UnixNano()-int64(sent)))
	}
	return took, nil
}

func numberIn(text []byte, before string) int {
	_, rest, found := bytes.Cut(text, []byte(before))
	if !found {
		return 0
	}
	end := bytes.IndexAny(rest, ",}")
	n, _ := strconv.Atoi(string(rest[:max(end, 0)]))
	return n
}

func readFrame(lines *bufio.Reader, into []byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(lines, head[:]); err != nil {
		return nil, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(lines, long[:]); err != nil {
			return nil, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	if size > len(into) {
		return nil, errors.New("a frame is too long")
	}
	if _, err := io.ReadFull(lines, into[:size]); err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 {
		return nil, fmt.Errorf("closed: %q", into[:size])
	}
	return into[:size], nil
}

// load has so many events a second happen for a while, and returns how long they took
// to a crowd in a process of its own.
func load(b *testing.B, sockets, lazy, rate, seconds int, filling string) (delays, Stats, int) {
	b.Helper()
	d := newHouse(b)
	h, server := d.open(Options{Poll: usualPoll})
	events := rate * seconds
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d", crowdEnv, strings.TrimPrefix(server.URL, "http://"), sockets, lazy, events))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(b, err)
	must(b, child.Start())
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		b.Fatalf("the crowd says %q, %v", line, err)
	}
	most := 0
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := range events {
		<-tick.C
		_, err := d.pool.Exec(b.Context(), `insert into event (type, account_id, data) values ('account.status', 1, jsonb_build_object('n', $1::int, 'sent', $2::bigint, 'x', $3::text))`,
			n+1, time.Now().UnixNano(), filling)
		must(b, err)
		h.Wake()
		if n%rate == 0 {
			most = max(most, resident())
		}
	}
	var got delays
	must(b, json.NewDecoder(lines).Decode(&got))
	must(b, child.Wait())
	return got, h.Stats(), most
}

// resident is this process's memory in MiB.
func resident() int {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int
	_, _ = fmt.Sscan(rest, &kib)
	return kib >> 10
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkThousandSockets: 1,000 sockets that all follow 100 events a second.
func BenchmarkThousandSockets(b *testing.B) {
	for b.Loop() {
		got, stats, rss := load(b, 1_000, 0, 100, 10, "")
		b.ReportMetric(inMS(got.P50), "p50-ms")
		b.ReportMetric(inMS(got.P99), "p99-ms")
		b.ReportMetric(inMS(got.Max), "max-ms")
		b.ReportMetric(float64(rss), "rss-MiB")
		b.ReportMetric(float64(got.Lost+stats.Slow), "lost")
	}
}

// BenchmarkSlowReader: what 200 others get with and without five that read nothing.
func BenchmarkSlowReader(b *testing.B) {
	for _, lazy := range []int{0, 5} {
		b.Run(fmt.Sprintf("lazy=%d", lazy), func(b *testing.B) {
			for range b.N {
				got, stats, _ := load(b, 200, lazy, 50, 20, strings.Repeat("x", 7_000))
				b.ReportMetric(inMS(got.P50), "p50-ms")
				b.ReportMetric(inMS(got.P99), "p99-ms")
				b.ReportMetric(inMS(got.Max), "max-ms")
				b.ReportMetric(float64(stats.Slow), "closed")
				b.ReportMetric(float64(got.Lost), "lost")
			}
		})
	}
}
