package bot

import (
	"fmt"
	"log/slog"
	"regexp"

	"go.mau.fi/libsignal/logger"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// addresses are the digits of numbers, LIDs and devices in whatsmeow's lines, and
// names are what customers call themselves.
var (
	addresses = regexp.MustCompile(`\d{5,}(?:[:.]\d+)?`)
	names     = regexp.MustCompile(`(notify|name|pushname)="[^"]*"`)
)

// whatsAppLog routes whatsmeow's lines into slog, without addresses and names.
// Its debug lines are dropped: they hold whole stanzas.
type whatsAppLog struct {
	log   *slog.Logger
	alive func() // called with every stanza that WhatsApp sends; nil: nobody asks
}

func (w whatsAppLog) Errorf(format string, args ...any) {
	w.log.Warn("WhatsApp library", said(format, args))
}

func (w whatsAppLog) Warnf(format string, args ...any) {
	w.log.Debug("WhatsApp library", said(format, args))
}

func (w whatsAppLog) Infof(format string, args ...any) {
	w.log.Debug("WhatsApp library", said(format, args))
}
func (whatsAppLog) Debugf(string, ...any) {}

// Sub is the logger of a part of the library. The part "Recv" names every stanza
// it receives, and that is the sign of life that accounts are judged by.
func (w whatsAppLog) Sub(part string) waLog.Logger {
	if part == "Recv" && w.alive != nil {
		return pulse{w}
	}
	return w
}

type pulse struct{ whatsAppLog }

func (p pulse) Debugf(string, ...any) { p.alive() }

func said(format string, args []any) slog.Attr {
	line := names.ReplaceAllString(fmt.Sprintf(format, args...), `$1="…"`)
	return slog.String("says", addresses.ReplaceAllString(line, "…"))
}

// quiet silences libsignal, which would print to standard output.
type quiet struct{}

func (quiet) Debug(string, string)   {}
func (quiet) Info(string, string)    {}
func (quiet) Warning(string, string) {}
func (quiet) Error(string, string)   {}
func (quiet) Configure(string)       {}

func init() {
	var silent logger.Loggable = quiet{}
	logger.Setup(&silent)
}
