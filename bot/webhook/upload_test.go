package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve puts an intake behind a real server, whose own time to read a body is shorter
// than the intake's, as bot/web's is.
func serve(t testing.TB, b *booth) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(b)
	s.Config.ReadTimeout, s.Config.WriteTimeout = 30*time.Second, 2*time.Minute
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// zeros is a file of n bytes that nobody holds.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// parts writes a form, as fast as it is read.
func parts(write func(w *multipart.Writer) error) (body io.Reader, kind string) {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		err := write(form)
		if err == nil {
			err = form.Close()
		}
		w.CloseWithError(err)
	}()
	return r, "Content-Type: " + form.FormDataContentType()
}

// files is a form of files of so many bytes.
func files(sizes ...int64) (body io.Reader, kind string) {
	return parts(func(w *multipart.Writer) error {
		for n, size := range sizes {
			part, err := w.CreateFormFile("file", fmt.Sprintf("folder/x%d.pdf", n))
			if err != nil {
				return err
			}
			if _, err := io.Copy(part, zeros(size)); err != nil {
				return err
			}
		}
		return nil
	})
}

const mib = 1 << 20

// L20.
func TestAFileOf10MiBPassesAndOneByteMoreDoesNot(t *testing.T) {
	b := newBooth(t, Options{})
	b.desk.forget = true
	asForm := func(n int64) (heard, string) {
		body, kind := files(n)
		return b.call(http.MethodPost, "/webhook/open", body, kind), "x0.pdf"
	}
	asBody := func(n int64) (heard, string) {
		return b.call(http.MethodPost, "/webhook/open", zeros(n), "Content-Type: application/pdf", `Content-Disposition: attachment; filename="../x.pdf"`), "x.pdf"
	}
	for name, send := range map[string]func(int64) (heard, string){"form": asForm, "body": asBody} {
		before := b.desk.count()
		if h, _ := send(10_485_760); h.status != http.StatusAccepted || b.desk.last().Files[0].Bytes != 10_485_760 {
			t.Errorf("%s: 10 MiB answered %d: %s", name, h.status, h.body)
		}
		h, label := send(10_485_761)
		h.wantProblem(t, http.StatusRequestEntityTooLarge, "file_too_large")
		if got, want := h.json(t)["detail"], `File "`+label+`" exceeds maximum size of 10MB`; got != want {
			t.Errorf("%s: it says %q, want %q", name, got, want)
		}
		if b.desk.count() != before+1 {
			t.Errorf("%s: an execution was made", name)
		}
		b.wantNothingLeft()
	}
}

// L21.
func TestFiveFilesOf10MiBPassAndSixOf9DoNot(t *testing.T) {
	b := newBooth(t, Options{})
	b.desk.forget = true
	body, kind := files(10*mib, 10*mib, 10*mib, 10*mib, 10*mib)
	if h := b.call(http.MethodPost, "/webhook/open", body, kind); h.status != http.StatusAccepted || len(b.desk.last().Files) != 5 {
		t.Errorf("5 × 10 MiB answered %d: %s", h.status, h.body)
	}
	for _, sizes := range [][]int64{{9 * mib, 9 * mib, 9 * mib, 9 * mib, 9 * mib, 9 * mib}, {10 * mib, 10 * mib, 10 * mib, 10 * mib, 10*mib - 1, 2}} {
		body, kind = files(sizes...)
		h := b.call(http.MethodPost, "/webhook/open", body, kind)
		h.wantProblem(t, http.StatusRequestEntityTooLarge, "upload_too_large")
		if got := h.json(t)["detail"]; got != "Total upload size exceeds 50MB limit" {
			t.Errorf("it says %q", got)
		}
	}
	if b.desk.count() != 1 {
		t.Errorf("%d executions, want 1", b.desk.count())
	}
	b.wantNothingLeft()
}

func TestFormIsReadPartByPart(t *testing.T) {
	b := newBooth(t, Options{})
	picture := "\x89PNG\r\n\x1a\n" + strings.Repeat("frontdesk", 10_000)
	body, kind := parts(func(w *multipart.Writer) error {
		_ = w.WriteField("name", "Zo\x00ë")
		part, _ := w.CreateFormFile("photo", `C:\temp\..\a "b".png`)
		_, _ = io.WriteString(part, picture)
		_ = w.WriteField("tag", "one")
		_ = w.WriteField("tag", "two")
		_ = w.WriteField("tag", "three")
		_, err := w.CreateFormFile("empty", "empty.txt")
		return err
	})
	h := b.call(http.MethodPost, "/webhook/open", body, kind)
	if h.status != http.StatusAccepted {
		t.Fatalf("answered %d: %s", h.status, h.body)
	}
	d := b.desk.last()
	if got := fmt.Sprint(d.Body); got != "map[name:Zoë tag:[one two three]]" {
		t.Errorf("the fields are %s", got)
	}
	sum := sha256.Sum256([]byte(picture))
	if f := d.Files[0]; f.Field != "photo" || f.Label != "a b.png" || f.Mime != "image/png" || f.Bytes != int64(len(picture)) || !bytes.Equal(f.SHA256, sum[:]) || string(b.desk.files[0]) != picture {
		t.Errorf("the file is %+v", f)
	}
	if f := d.Files[1]; f.Label != "empty.txt" || f.Bytes != 0 || len(b.desk.files[1]) != 0 {
		t.Errorf("the empty file is %+v", f)
	}
	b.wantNothingLeft()
}

func TestBodyIsReadByItsType(t *testing.T) {
	b := newBooth(t, Options{})
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		kind, body string
		status     int
		want       string
	}{
		{"application/json", `{"a":[1,2.5,true,null,"x"],"a\u0000":"\u0000b\\u0000"}`, 202, `map[a:b\u0000]`},
		{"application/vnd.github+json; charset=utf-8", `[1]`, 202, "[1]"},
		{"application/json", "\ufeff{}", 202, "map[]"},
		{"application/json", `  `, 202, "<nil>"},
		{"application/json", `{"a":1,"a":2}`, 202, "map[a:2]"},
		{"application/json", `{"a":1`, 400, "malformed_body"},
		{"application/json", `{} {}`, 400, "malformed_body"},
		{"application/json", `1e999`, 400, "malformed_body"},
		{"application/json", deep(100), 202, ""},
		{"application/json", deep(101), 400, "malformed_body"},
		{"application/json", strings.Repeat(`{"[[":"\"[`+strings.Repeat("[", 200)+`"}`, 1), 202, ""},
		{"application/json; charset=latin1", "\"caf\xe9\"", 202, "café"},
		{"application/json; charset=klingon", `1`, 415, "unsupported_charset"},
		{"application/x-www-form-urlencoded", "a=1&b=x+y&a=%00z", 202, "map[a:[1 z] b:x y]"},
		{"application/x-www-form-urlencoded", "a=%zz", 400, "malformed_body"},
		{"text/plain", "hello\x00 \xff", 202, "hello \ufffd"},
		{"text/plain", strings.Repeat("x", 1<<20+1), 413, "body_too_large"},
		{"text/plain", strings.Repeat("x", 1<<20), 202, ""},
		{"text/;", "x", 415, "unsupported_body"},
		{"multipart/mixed; boundary=x", "--x--", 415, "unsupported_body"},
		{"multipart/form-data", "--x--", 415, "unsupported_body"},
		{"multipart/form-data; boundary=x", "--x--", 202, "map[]"},
		{"multipart/form-data; boundary=x", "", 202, "<nil>"},
		{"multipart/form-data; boundary=x", "nothing", 400, "malformed_body"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nunfinished", 400, "broken_off"},
		{"multipart/form-data; boundary=x", "--x\r\nX: " + strings.Repeat("y", mostPartHeader) + "\r\n\r\n\r\n--x--", 400, "malformed_body"},
		{"", `[{"a":1}]`, 202, "[map[a:1]]"},
		{"", "\x89PNG\r\n\x1a\n", 202, "<nil>"},
	} {
		for _, length := range []bool{true, false} {
			var body io.Reader = strings.NewReader(c.body)
			if !length {
				body = io.MultiReader(body) // chunked
			}
			h := b.call(http.MethodPost, "/webhook/open", body, "Content-Type: "+c.kind)
			if c.kind == "" {
				h = b.call(http.MethodPost, "/webhook/open", strings.NewReader(c.body))
			}
			if !length && c.body == "" {
				continue // a form without an end
			}
			got := fmt.Sprint(b.desk.last().Body)
			if h.status >= 400 {
				got = h.code()
			}
			if h.status != c.status || c.want != "" && got != c.want {
				t.Errorf("%s %.60q answered %d %.100s, want %d %s", c.kind, c.body, h.status, got, c.status, c.want)
			}
		}
	}
	if f := b.desk.last().Files; len(f) != 1 || f[0].Mime != "image/png" || f[0].Label != "" {
		t.Errorf("what has no type became %+v", f)
	}
	h := b.call(http.MethodPost, "/webhook/open", strings.NewReader("x"), "Content-Type: text/plain", "Content-Encoding: gzip")
	h.wantProblem(t, http.StatusUnsupportedMediaType, "unsupported_encoding")
	b.wantNothingLeft()
}

func TestFormsHaveBounds(t *testing.T) {
	b := newBooth(t, Options{})
	fields := func(n, size int) func(w *multipart.Writer) error {
		return func(w *multipart.Writer) error {
			for i := range n {
				if err := w.WriteField(fmt.Sprint("f", i), strings.Repeat("x", size)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	nFiles := func(n int) func(w *multipart.Writer) error {
		return func(w *multipart.Writer) error {
			for range n {
				part, err := w.CreateFormFile("f", "a.txt")
				if err != nil {
					return err
				}
				fmt.Fprint(part, "x")
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		write  func(w *multipart.Writer) error
		status int
		code   string
	}{
		"100 parts":       {fields(100, 10), 202, ""},
		"101 parts":       {fields(101, 10), 400, "too_many_parts"},
		"a MiB of fields": {fields(2, 1<<19-2), 202, ""},
		"more":            {fields(2, 1<<19-1), 413, "fields_too_large"},
		"10 files":        {nFiles(10), 202, ""},
		"11 files":        {nFiles(11), 413, "too_many_files"},
	} {
		body, kind := parts(c.write)
		if h := b.call(http.MethodPost, "/webhook/open", body, kind); h.status != c.status || h.code() != c.code {
			t.Errorf("%s answered %d %s, want %d", name, h.status, h.body, c.status)
		}
	}
	b.wantNothingLeft()
}

func TestWhatIsTooLongIsRefusedBeforeItIsSent(t *testing.T) {
	b := newBooth(t, Options{}, open, Target{ID: "locked", Auth: AuthBearer, Secrets: []string{"k"}})
	server := httptest.NewServer(b) // without a limit of its own
	t.Cleanup(server.Close)
	for _, c := range []struct {
		path, kind string
		length     int
		headers    string
		status     int
	}{
		{"/webhook/open", "application/json", 1<<20 + 1, "", 413},
		{"/webhook/open", "image/png", 10<<20 + 1, "", 413},
		{"/webhook/open", "multipart/form-data; boundary=x", 60 << 20, "", 413},
		{"/webhook/none", "image/png", 100, "", 404},
		{"/webhook/locked", "image/png", 100, "Authorization: Bearer no\r\n", 401},
	} {
		said := talk(t, server, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n%s\r\n", c.path, c.kind, c.length, c.headers))
		first, err := said.ReadString('\n')
		if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); err != nil || !strings.HasPrefix(first, want) {
			t.Errorf("%s of %d bytes to %s is told %q, want %s without a 100", c.kind, c.length, c.path, first, want)
		}
	}
	patient := talk(t, server, "POST /webhook/none HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 200000\r\n\r\n")
	if first, _ := patient.ReadString('\n'); !strings.HasPrefix(first, "HTTP/1.1 404 ") {
		t.Errorf("who sends no body is told %q, want 404 at once", first)
	}
	said := talk(t, server, "POST /webhook/locked HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\nExpect: 100-continue\r\nAuthorization: Bearer k\r\n\r\n")
	if first, _ := said.ReadString('\n'); !strings.HasPrefix(first, "HTTP/1.1 100 ") {
		t.Errorf("what will be taken is told %q, want 100", first)
	}
}

// talk says something to a server by a connection of its own.
func talk(t *testing.T, server *httptest.Server, words string) *bufio.Reader {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	noError(t, err)
	t.Cleanup(func() { c.Close() })
	noError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, words)
	noError(t, err)
	return bufio.NewReader(c)
}

func TestWhoSendsTooSlowlyGivesUpItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		drip   bool
	}{
		"silent":        {Limits{Uploads: 1, IdleRead: 50 * time.Millisecond}, false},
		"drop by drop":  {Limits{Uploads: 1, IdleRead: 10 * time.Second, TotalRead: 200 * time.Millisecond}, true},
		"text, silent":  {Limits{IdleRead: 50 * time.Millisecond}, false},
		"text, by drop": {Limits{IdleRead: 10 * time.Second, TotalRead: 200 * time.Millisecond}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooth(t, Options{Limits: c.limits})
			server := serve(t, b)
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			noError(t, err)
			defer conn.Close()
			kind := "image/png"
			if strings.HasPrefix(name, "text") {
				kind = "text/plain"
			}
			fmt.Fprintf(conn, "POST /webhook/open HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000000\r\n\r\nfew", kind)
			if c.drip {
				go func() {
					for t.Context().Err() == nil {
						if _, err := io.WriteString(conn, "x"); err != nil {
							return
						}
						time.Sleep(5 * time.Millisecond)
					}
				}()
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			noError(t, err)
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusRequestTimeout || !answer.Close {
				t.Errorf("answered %s, closed: %t; want 408 and the end", answer.Status, answer.Close)
			}
			if h := b.call(http.MethodPost, "/webhook/open", strings.NewReader("x"), "Content-Type: image/png"); h.status != http.StatusAccepted {
				t.Errorf("the next one answered %d: %s", h.status, h.body)
			}
			b.wantNothingLeft()
		})
	}
}

func TestBodyThatBreaksOffLeavesNothing(t *testing.T) {
	b := newBooth(t, Options{})
	server := serve(t, b)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	noError(t, err)
	fmt.Fprint(conn, "POST /webhook/open HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\nfew")
	for b.Stats().SpoolBytes != 3 {
		time.Sleep(time.Millisecond)
	}
	noError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	noError(t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %s", answer.Status)
	}
	noError(t, b.Close(t.Context()))
	if b.desk.count() != 0 {
		t.Error("half a file was accepted")
	}
	b.wantNothingLeft()
}

// stalled starts an upload that goes on when its reader is closed.
func stalled(t *testing.T, b *booth) (goOn func(), done <-chan heard) {
	t.Helper()
	r, w := io.Pipe()
	answered, before := make(chan heard, 1), b.Stats().SpoolBytes
	go func() { answered <- b.call(http.MethodPost, "/webhook/open", r, "Content-Type: image/png") }()
	if _, err := w.Write([]byte("begun")); err != nil {
		t.Fatal(err)
	}
	for b.Stats().SpoolBytes == before {
		time.Sleep(time.Millisecond)
	}
	return func() { w.Close() }, answered
}

func TestTheSeventeenthUploadAtOnceIsToldToComeAgain(t *testing.T) {
	b := newBooth(t, Options{})
	var goOn []func()
	var done []<-chan heard
	for range 16 {
		begin, answer := stalled(t, b)
		goOn, done = append(goOn, begin), append(done, answer)
	}
	if s := b.Stats(); s.Uploads != 16 {
		t.Errorf("%d uploads under way, want 16", s.Uploads)
	}
	h := b.call(http.MethodPost, "/webhook/open", strings.NewReader("x"), "Content-Type: image/png")
	if h.wantProblem(t, http.StatusServiceUnavailable, "uploads_busy"); h.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come again")
	}
	if h := b.post("/webhook/open", `{}`); h.status != http.StatusAccepted {
		t.Errorf("JSON meanwhile answered %d", h.status)
	}
	for n := range goOn {
		goOn[n]()
		if h := wait(t, done[n]); h.status != http.StatusAccepted {
			t.Errorf("upload %d answered %d: %s", n, h.status, h.body)
		}
	}
	b.wantNothingLeft()
}

func TestUploadHasNoPlaceWhileItsResultIsAwaited(t *testing.T) {
	b := newBooth(t, Options{Limits: Limits{Uploads: 1}}, Target{ID: "open", Sync: true})
	b.desk.forget = true
	b.desk.entered, b.desk.leave = make(chan struct{}), make(chan struct{})
	done := make(chan heard, 1)
	go func() {
		done <- b.call(http.MethodPost, "/webhook/open", strings.NewReader("file"), "Content-Type: image/png")
	}()
	wait(t, b.desk.entered)
	if s := b.Stats(); s.Uploads != 1 || s.SpoolBytes != 4 {
		t.Errorf("while it is accepted: %+v", s)
	}
	close(b.desk.leave)
	for b.Stats().Uploads != 0 {
		time.Sleep(time.Millisecond)
	}
	b.wantNothingLeft()
	b.desk.end(1, Receipt{Status: "completed"})
	if h := wait(t, done); h.status != http.StatusOK {
		t.Errorf("answered %d", h.status)
	}
}

func TestSpoolIsBounded(t *testing.T) {
	b := newBooth(t, Options{Limits: Limits{Spool: 100_000}})
	goOn, done := stalled(t, b)
	h := b.call(http.MethodPost, "/webhook/open", zeros(100_000), "Content-Type: image/png")
	if h.wantProblem(t, http.StatusServiceUnavailable, "no_space"); h.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come again")
	}
	if h := b.call(http.MethodPost, "/webhook/open", zeros(90_000), "Content-Type: image/png"); h.status != http.StatusAccepted {
		t.Errorf("what fits answered %d: %s", h.status, h.body)
	}
	goOn()
	wait(t, done)
	b.wantNothingLeft()
}

// A full disk: /dev/full answers as one does.
func TestFullDiskIsSaidAndLeavesNothing(t *testing.T) {
	b := newBooth(t, Options{})
	b.Intake.spool.create = func() (*os.File, error) {
		path := filepath.Join(b.spool, "upload-full.spool")
		if err := os.Symlink("/dev/full", path); err != nil {
			return nil, err
		}
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	for range 2 {
		h := b.call(http.MethodPost, "/webhook/open", zeros(100_000), "Content-Type: image/png")
		if h.wantProblem(t, http.StatusServiceUnavailable, "no_space"); h.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
		b.wantNothingLeft()
	}
	b.Intake.spool.create = func() (*os.File, error) { return nil, os.ErrPermission }
	b.call(http.MethodPost, "/webhook/open", zeros(1), "Content-Type: image/png").wantProblem(t, http.StatusServiceUnavailable, "unavailable")
	b.wantNothingLeft()
}

func TestParsedJSONTakesNoMoreThanIsReserved(t *testing.T) {
	usual := Limits{}.orUsual()
	var names strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(&names, `"%d":0,`, n)
	}
	bodies := map[string]string{"many names": "{" + names.String() + `"":0}`}
	for _, piece := range []string{"0,", `"",`, "[],", "[[[[]]]],", "9007199254740993,", "1e9,", "{},", "{ },", `{"":0},`, `{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0},`} {
		bodies[piece] = "[" + strings.Repeat(piece, 300_000/len(piece)) + "0]"
		if _, most := measure([]byte(strings.Repeat(piece, int(usual.Text)/len(piece)))); most+2*usual.Text > usual.Memory {
			t.Errorf("as much %s as may come reserves %d bytes, which nobody ever has", piece, most)
		}
	}
	for name, body := range bodies {
		_, reserved := measure([]byte(body))
		if took := memoryOf(t, body); took > reserved {
			t.Errorf("%d bytes of %s take %d, reserved are %d", len(body), name, took, reserved)
		}
	}
}

// memoryOf is what JSON takes when it is parsed.
func memoryOf(t *testing.T, body string) int64 {
	t.Helper()
	var before, after runtime.MemStats
	raw := []byte(body)
	runtime.GC()
	runtime.ReadMemStats(&before)
	value, err := decodeJSON(raw)
	noError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(value)
	runtime.KeepAlive(raw)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

func TestBodiesInMemoryAreBounded(t *testing.T) {
	b := newBooth(t, Options{Limits: Limits{Memory: 2 << 20}})
	if h := b.post("/webhook/open", `"`+strings.Repeat("x", 900_000)+`"`); h.status != http.StatusAccepted {
		t.Errorf("a long string answered %d", h.status)
	}
	h := b.post("/webhook/open", "["+strings.Repeat(`{},`, 100_000)+"1]")
	if h.wantProblem(t, http.StatusServiceUnavailable, "crowded"); h.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come again")
	}
	b.wantNothingLeft()
}

func TestStartSweepsWhatADeadProcessLeft(t *testing.T) {
	b := newBooth(t, Options{})
	noError(t, os.WriteFile(filepath.Join(b.spool, "upload-123.spool"), []byte("left"), 0o600))
	noError(t, os.WriteFile(filepath.Join(b.spool, "notes.txt"), []byte("not ours"), 0o600))
	goOn, done := stalled(t, b)
	noError(t, New(Options{Spool: b.spool}).Start(context.Background())) // another process, at the same place
	left, err := os.ReadDir(b.spool)
	noError(t, err)
	if len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v, want only what is not ours", left)
	}
	goOn()
	if h := wait(t, done); h.status != http.StatusAccepted || string(b.desk.files[0]) != "begun" {
		t.Errorf("the upload under way answered %d: %s", h.status, h.body)
	}
}

func TestManyFilesAtOnceAreNotMixedUp(t *testing.T) {
	b := newBooth(t, Options{Limits: Limits{Uploads: 100}})
	server := serve(t, b)
	var sending sync.WaitGroup
	for n := range 40 {
		sending.Go(func() {
			content := bytes.Repeat([]byte{byte(n)}, 10_000+n)
			answer, err := http.Post(server.URL+"/webhook/open", "image/png", bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
		})
	}
	sending.Wait()
	seen := map[int]bool{}
	for _, content := range b.desk.files {
		if len(content) < 10_000 || !bytes.Equal(content, bytes.Repeat(content[:1], 10_000+int(content[0]))) {
			t.Errorf("a file of %d bytes is not what was sent", len(content))
			continue
		}
		seen[len(content)] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d files came, want 40", len(seen))
	}
}
