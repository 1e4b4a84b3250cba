package providers

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"frontdesk/store"
)

// aimock runs an OpenAI-compatible server that others wrote, npm's
// @copilotkit/aimock, and returns its address.
func aimock(t *testing.T) string {
	t.Helper()
	program := filepath.Join("..", ".ci", "aimock", "node_modules", "@copilotkit", "aimock", "dist", "cli.js")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("aimock is not installed, make test does that: %v", err)
	}
	running := exec.CommandContext(t.Context(), "node", program, "--port", "0", "--fixtures", filepath.Join("testdata", "aimock.json"), "--strict")
	out, err := running.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	running.Stderr = running.Stdout
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = running.Process.Kill()
		_ = running.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, at, found := strings.Cut(lines.Text(), "listening on "); found {
			go func() {
				for lines.Scan() { // it must not wait for a reader
				}
			}()
			return at + "/v1"
		}
	}
	t.Fatalf("aimock ended before it listened: %v", lines.Err())
	return ""
}

func TestServerOfOthersIsUnderstood(t *testing.T) {
	t.Parallel()
	at := aimock(t)
	row := func(name, model string, priority int, capabilities ...string) store.Provider {
		return store.Provider{Name: name, BaseURL: at, Model: model, Priority: priority, Capabilities: capabilities}
	}
	ask := func(text string) Request { return Request{Messages: []Message{{Role: RoleUser, Text: text}}} }

	t.Run("chats", func(t *testing.T) {
		for _, stream := range [][]string{{store.CanStream}, {store.CanVision}} {
			r, s := start(t, row("a", "m", 1, stream...))
			got, err := r.Chat(t.Context(), ask("Do you sell tulips?"))
			if err != nil || got.Text != "Yes, tulips." || got.PromptTokens == 0 || got.CompletionTokens == 0 {
				t.Errorf("%v: got %+v, %v", stream, got, err)
			}
			wantBooks(t, s, r, 1, 1, int64(got.PromptTokens), int64(got.CompletionTokens))
		}
	})
	t.Run("tools", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanStream, store.CanTools))
		q := ask("What is in stock?")
		q.Tools = []Tool{stock}
		got, err := r.Chat(t.Context(), q)
		if err != nil || len(got.Calls) != 1 || got.Calls[0].Name != "stock" || got.Calls[0].Arguments != `{"flower":"tulip"}` {
			t.Fatalf("got %+v, %v", got, err)
		}
		q.Messages = append(q.Messages, Message{Role: RoleAssistant, Calls: got.Calls}, Message{Role: RoleTool, CallID: got.Calls[0].ID, Text: "7"})
		if got, err = r.Chat(t.Context(), q); err != nil || got.Text != "There are 7 tulips." {
			t.Errorf("after the result: %+v, %v", got, err)
		}
	})
	t.Run("pictures", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanStream, store.CanVision))
		q := ask("Are these tulips?")
		q.Messages[0].Images = []Image{{Mime: "image/png", Data: []byte("png")}}
		if got, err := r.Chat(t.Context(), q); err != nil || got.Text != "Yes, tulips." || len(got.Lacking) > 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("wanted forms", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanStream, store.CanSchema))
		q := ask("The price?")
		q.Schema = price
		if got, err := r.Chat(t.Context(), q); err != nil || got.Text != `{"euros":3}` {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("speech", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanTranscribe))
		if got, err := r.Transcribe(t.Context(), Speech{Audio: silence(), Name: "note.wav"}); err != nil || got.Text != "Do you sell tulips?" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("vectors", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanEmbed))
		got, err := r.Embed(t.Context(), Passages{Texts: []string{"red tulips", "white tulips"}})
		if err != nil || len(got.Vectors) != 2 || !slices.Equal(got.Vectors[1], []float32{0.5, 0.25, -1}) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("errors", func(t *testing.T) {
		for model, steps := range map[string]string{
			"rate-limited": "a:rate_limit b:ok", "broke": "a:quota b:ok", "locked": "a:credential b:ok", "gone": "a:model b:ok",
			"narrow": "a:context a:context b:ok", "ill": "a:transient a:transient b:ok", "cut": "a:network a:network b:ok", // it resets the connection
		} {
			r, _ := start(t, row("a", model, 2, store.CanStream), row("b", "m", 1, store.CanStream))
			got, err := r.Chat(t.Context(), ask("Do you sell tulips?"))
			if err != nil || got.Text != "Yes, tulips." || way(got.Attempts) != steps {
				t.Errorf("%s: answered %q by %s, want %s: %v", model, got.Text, way(got.Attempts), steps, err)
			}
		}
	})
	t.Run("no such answer", func(t *testing.T) {
		r, _ := start(t, row("a", "m", 1, store.CanStream))
		if _, err := r.Chat(t.Context(), ask("Something else")); err == nil || !strings.Contains(fmt.Sprint(err), "no fixture matched") {
			t.Errorf("got %v", err)
		}
	})
}
