package wasim_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/wasim"
)

// Pairing, messages and faults are proven where a real client is at hand: in
// package bot. Here is what needs none.

func start(t *testing.T, o wasim.Options) *wasim.Server {
	t.Helper()
	s, err := wasim.New(o)
	must(t, err)
	must(t, s.Start(t.Context()))
	t.Cleanup(func() { must(t, s.Close(context.Background())) })
	return s
}

func TestNobodyBeyondThisMachineIsListenedToOrReached(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.org:443", "4100"} {
		if _, err := wasim.New(wasim.Options{Listen: address}); err == nil {
			t.Errorf("it would listen on %s", address)
		}
		if _, err := wasim.HTTPClient("ws://" + address + "/ws/chat"); err == nil {
			t.Errorf("clients would reach %s", address)
		}
	}
}

func TestControlSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := wasim.NewControl(start(t, wasim.Options{}).ControlURL())
	ctx := t.Context()
	for what, try := range map[string]func() error{
		"not a WhatsApp code": func() error { return c.Scan(ctx, "12025550111", "hello") },
		"nobody shows this code": func() error {
			return c.Scan(ctx, "12025550111", "2@x,"+strings.Repeat("A", 43)+"=,"+strings.Repeat("A", 43)+"=,"+strings.Repeat("A", 43)+"=,1")
		},
		"5 to 15 digits":         func() error { return c.Scan(ctx, "somebody", "hello") },
		"no device is linked":    func() error { _, err := c.Send(ctx, "12025550122", "12025550111", "hi"); return err },
		"no fault \"rain\"":      func() error { return c.Fault(ctx, wasim.Fault{Kind: "rain"}) },
		"by its phone number":    func() error { _, _, err := c.Messages(ctx, "12025550122", "desk", 0, 0); return err },
		"linked to this account": func() error { return c.Unlink(ctx, "12025550111") },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("wanted %q, got %v", what, err)
		}
	}
}

func TestMessagesWaitForTheNextOneAndNoLonger(t *testing.T) {
	t.Parallel()
	c := wasim.NewControl(start(t, wasim.Options{}).ControlURL())
	began := time.Now()
	chat, typing, err := c.Messages(t.Context(), "12025550122", "12025550111", 0, 300*time.Millisecond)
	if took := time.Since(began); err != nil || len(chat) != 0 || typing || took < 300*time.Millisecond {
		t.Fatalf("%v, %v, %v after %v", chat, typing, err, took)
	}
	go func() { _, _ = c.PhoneSend(context.Background(), "12025550111", "12025550122", "hello") }()
	chat, _, err = c.Messages(t.Context(), "12025550122", "12025550111", 0, 20*time.Second)
	if err != nil || len(chat) != 1 || chat[0].Text != "hello" || chat[0].FromCustomer {
		t.Fatalf("%v, %v", chat, err)
	}
}

func TestFaultReadsAsItWasWritten(t *testing.T) {
	t.Parallel()
	f := wasim.Fault{Kind: wasim.AckDelay, Account: "12025550111", After: 2, Count: 3, For: time.Minute, Delay: 5 * time.Second, Code: 463, NewChats: true}
	text, err := json.Marshal(f)
	must(t, err)
	var read wasim.Fault
	must(t, json.Unmarshal(text, &read))
	if read != f {
		t.Errorf("%s became %+v", text, read)
	}
}

func TestRootKeyStaysWithTheStateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state")
	first, err := wasim.New(wasim.Options{StateFile: file})
	must(t, err)
	must(t, first.Start(t.Context()))
	must(t, first.Close(context.Background()))
	second, err := wasim.New(wasim.Options{StateFile: file})
	must(t, err)
	if first.CertKey() != second.CertKey() {
		t.Error("clients that trusted the first server would refuse the second")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
