package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// logger writes text on a terminal and JSON elsewhere, unless told otherwise.
func (s *Settings) logger() *slog.Logger {
	level, format, _ := s.logging() // checked at the start
	if format == "" {
		format = "json"
		if term.IsTerminal(int(os.Stderr.Fd())) {
			format = "text"
		}
	}
	return slog.New(handler(os.Stderr, level, format))
}

func handler(w io.Writer, level slog.Level, format string) slog.Handler {
	if format == "text" {
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000"})
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
}

// logging reads FRONTDESK_LOG: a level, a format or both.
func (s *Settings) logging() (level slog.Level, format string, err error) {
	for word := range strings.FieldsFuncSeq(s.Log, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch word {
		case "text", "json":
			format = word
		default:
			if err := level.UnmarshalText([]byte(word)); err != nil {
				return level, format, fmt.Errorf("unknown word %q", word)
			}
		}
	}
	return level, format, nil
}

// certKey is the certificate root of a WhatsApp of one's own; nil: the real one.
func (s *Settings) certKey() (*[32]byte, error) {
	if s.WhatsAppKey == "" {
		return nil, nil //nolint:nilnil // no key of one's own is an answer
	}
	raw, err := hex.DecodeString(s.WhatsAppKey)
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("%d bytes, want 32", len(raw))
	}
	return (*[32]byte)(raw), nil
}
