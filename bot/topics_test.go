package bot_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"frontdesk/bot"
	"frontdesk/store"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

func TestFiftyFollowATopicAndTheNextIsRefused(t *testing.T) { // L6
	t.Parallel()
	w := newWorld(t)
	var said lines
	m := w.manager("a", func(o *bot.Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	var all []*bot.Subscription
	for range 50 {
		s, err := m.Subscribe(bot.TopicAccount)
		must(t, err)
		all = append(all, s)
	}
	if _, err := m.Subscribe(bot.TopicAccount); !errors.Is(err, bot.ErrSubscribers) || !said.has(`msg="Subscriber limit reached" topic=account limit=50`) {
		t.Errorf("the 51st got %v", err)
	}
	all[0].Close()
	all[0].Close()
	s, err := m.Subscribe(bot.TopicAccount)
	must(t, err)
	a, err := w.store.AddAccount(t.Context(), store.KindWhatsApp, "Front desk", 100)
	must(t, err)
	for id := range s.C {
		if id == a.ID || id == 0 { // 0: look at all, as when listening begins
			break
		}
	}
	must(t, m.Close(context.Background()))
	for _, open := range append(all[1:], s) {
		for range open.C {
		}
	}
	if n := m.Stats().Subscribers; n != 0 {
		t.Errorf("%d follow a manager that has stopped", n)
	}
	if _, err := m.Subscribe(bot.TopicAccount); !errors.Is(err, bot.ErrSubscribers) {
		t.Errorf("a stopped manager lets in: %v", err)
	}
}
