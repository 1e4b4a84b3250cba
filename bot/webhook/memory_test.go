package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// uploadEnv makes a process of this test take uploads instead, into the folder that it
// names.
const uploadEnv = "FRONTDESK_TEST_UPLOADS"

func init() {
	if folder := os.Getenv(uploadEnv); folder != "" {
		if err := takeUploads(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// taken is what a process that takes uploads says of itself.
type taken struct {
	PeakKiB int64
	Count   int
	Left    int // files in the spool
	Stats   Stats
}

// takeUploads serves an intake with room for 50 uploads at once until its input ends.
// GET / says what was taken.
func takeUploads(folder string) error {
	d := newDesk(open)
	d.forget = true
	in := New(Options{Desk: d, Spool: folder, Limits: Limits{Rate: 1000, Uploads: 50, Spool: 3 << 30}})
	if err := in.Start(context.Background()); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(Prefix, in)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		left, _ := os.ReadDir(folder)
		json.NewEncoder(w).Encode(taken{peak(), d.count(), len(left), in.Stats()})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	io.Copy(io.Discard, os.Stdin)
	return server.Close()
}

// peak is the most memory that this process ever had, in KiB.
func peak() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n
}

// L22: 50 uploads of 45 MiB at once with FRONTDESK_TORTURE=1, else 12 of 10 MiB, which
// would not fit into 100 MiB either if they were held. None ends before all have begun.
func TestFiftyUploadsAtOnceAreStreamed(t *testing.T) {
	const most = 100 << 10 // KiB
	uploads, sizes := 12, []int64{5 * mib, 5 * mib}
	if os.Getenv("FRONTDESK_TORTURE") != "" {
		uploads, sizes = 50, []int64{9 * mib, 9 * mib, 9 * mib, 9 * mib, 9 * mib}
	}
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), uploadEnv+"="+t.TempDir())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	noError(t, err)
	out, err := c.StdoutPipe()
	noError(t, err)
	noError(t, c.Start())
	at, err := bufio.NewReader(out).ReadString('\n')
	noError(t, err)
	at = strings.TrimSpace(at)

	send(t, at, sizes[:1], nil) // what the first one loads is no growth
	before := ask(t, at)
	atOnce := make(chan struct{})
	var sending sync.WaitGroup
	for range uploads {
		sending.Go(func() { send(t, at, sizes, atOnce) })
	}
	for ask(t, at).Stats.Uploads < uploads {
		time.Sleep(10 * time.Millisecond)
	}
	close(atOnce)
	sending.Wait()
	after := ask(t, at)
	grown := after.PeakKiB - before.PeakKiB
	t.Logf("%d uploads of %d MiB at once: peak RSS grew from %d to %d KiB, by %.1f MiB", uploads, len(sizes)*int(sizes[0]/mib), before.PeakKiB, after.PeakKiB, float64(grown)/1024)
	if before.PeakKiB == 0 || grown >= most {
		t.Errorf("peak RSS grew by %d KiB, want less than %d", grown, most)
	}
	if after.Count != uploads+1 || after.Left != 0 || after.Stats.SpoolBytes != 0 || after.Stats.Uploads != 0 {
		t.Errorf("after %d uploads: %+v; want all of them, and nothing left", uploads, after)
	}
	in.Close()
	noError(t, c.Wait())
}

// send uploads files. Before the last byte it waits for atOnce, unless that is nil.
func send(t *testing.T, at string, sizes []int64, atOnce <-chan struct{}) {
	body, kind := parts(func(w *multipart.Writer) error {
		for n, size := range sizes {
			part, err := w.CreateFormFile("file", fmt.Sprintf("x%d.pdf", n))
			if err != nil {
				return err
			}
			if _, err := io.Copy(part, zeros(size-1)); err != nil {
				return err
			}
			if n == len(sizes)-1 && atOnce != nil {
				<-atOnce
			}
			if _, err := part.Write([]byte{0}); err != nil {
				return err
			}
		}
		return nil
	})
	answer, err := http.Post(at+"/webhook/open", strings.TrimPrefix(kind, "Content-Type: "), body)
	if err != nil {
		t.Error(err)
		return
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("an upload answered %s", answer.Status)
	}
}

func ask(t *testing.T, at string) (said taken) {
	t.Helper()
	answer, err := http.Get(at)
	noError(t, err)
	defer answer.Body.Close()
	noError(t, json.NewDecoder(answer.Body).Decode(&said))
	return said
}
