package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Settings are the flags and environment variables of interfaces.md.
type Settings struct {
	DatabaseURL    string         `name:"database-url" env:"DATABASE_URL" help:"Postgres to use, at least version 14. Empty: a Postgres of our own in the data folder."`
	Listen         string         `env:"FRONTDESK_LISTEN" default:"127.0.0.1:4000" help:"Address of console and API."`
	PublicURL      string         `name:"public-url" env:"FRONTDESK_PUBLIC_URL" help:"How others reach this address, for links and cookies."`
	DataDir        string         `env:"FRONTDESK_DATA_DIR" help:"Folder of the embedded database and the secret key."`
	SecretKeyFile  string         `env:"FRONTDESK_SECRET_KEY_FILE" help:"File of the key that seals stored secrets."`
	SandboxMode    string         `name:"sandbox" env:"FRONTDESK_SANDBOX" enum:",on,off" default:"" help:"on or off. Empty: on with the embedded database."`
	WhatsAppURL    string         `name:"whatsapp-url" env:"FRONTDESK_WHATSAPP_URL" help:"A WhatsApp server of your own, for tests."`
	WhatsAppKey    string         `name:"whatsapp-cert-key" env:"FRONTDESK_WHATSAPP_CERT_KEY" help:"The root key of that server's certificates, in hex."`
	FilesURL       string         `name:"files-url" env:"FRONTDESK_FILES_URL" help:"Where pictures, voice notes and documents are kept: a folder, or s3://key:secret@host/bucket. Empty: a folder in the data folder."`
	MetricsListen  string         `env:"FRONTDESK_METRICS_LISTEN" help:"A separate address for /metrics, without a token."`
	TrustedProxies []netip.Prefix `name:"trusted-proxies" env:"FRONTDESK_TRUSTED_PROXIES" placeholder:"CIDR" help:"Proxies whose X-Forwarded-For is believed."`
	AllowPrivate   []netip.Prefix `env:"FRONTDESK_ALLOW_PRIVATE" help:"Private networks that AI providers may be in."`
	Log            string         `env:"FRONTDESK_LOG" help:"Level and format, such as debug,json."`
	Limits         Limits         `embed:"" prefix:"limit-" envprefix:"FRONTDESK_LIMIT_"`
}

// Limits are the contract's limits that have something behind them.
type Limits struct {
	Accounts         int           `env:"ACCOUNTS" default:"100" help:"WhatsApp accounts per process."`
	Turns            int           `env:"TURNS" default:"1000" help:"Turns at once per process."`
	TurnTimeout      time.Duration `env:"TURN_TIMEOUT" default:"2m" help:"Longest turn."`
	QueueWatch       time.Duration `env:"QUEUE_WATCH" default:"5m" help:"Between two looks at the queue."`
	Drain            time.Duration `env:"DRAIN" default:"5s" help:"Longest wait for turns at the stop."`
	Providers        int           `env:"PROVIDERS" default:"50" help:"AI providers loaded."`
	UsageTick        time.Duration `env:"USAGE_TICK" default:"1h" help:"Between two looks at the providers' day."`
	MemoryInterval   time.Duration `env:"MEMORY_INTERVAL" default:"30s" help:"Between two looks at memory."`
	MemoryAlarmMiB   int           `name:"memory-alarm-mib" env:"MEMORY_ALARM_MIB" default:"1024" help:"Memory alarm."`
	Shutdown         time.Duration `env:"SHUTDOWN" default:"10s" help:"Longest stop."`
	Subscribers      int           `env:"SUBSCRIBERS" default:"50" help:"Followers of one topic inside a process."`
	MediaMiB         int           `name:"media-mib" env:"MEDIA_MIB" default:"256" help:"Files of messages under way at once, in MiB."`
	LedgerRecipients int           `name:"ledger-recipients" env:"LEDGER_RECIPIENTS" default:"10000" help:"Recipients that the send ledger remembers."`
	LedgerEntries    int           `name:"ledger-entries" env:"LEDGER_ENTRIES" default:"100" help:"Messages that it remembers of each."`
	LedgerCleanup    time.Duration `name:"ledger-cleanup" env:"LEDGER_CLEANUP" default:"5m" help:"Between two cleanups of the send ledger."`
	RateWindow       time.Duration `name:"rate-window" env:"RATE_WINDOW" default:"60s" help:"Time that the accounts' paces count in."`
	Executions       int           `env:"EXECUTIONS" default:"50" help:"Executions of flows at once per process."`
	TestRunning      int           `name:"test-running" env:"TEST_RUNNING" default:"10" help:"Of them tests."`
	TestWaiting      int           `name:"test-waiting" env:"TEST_WAITING" default:"100" help:"Tests of a webhook that may wait for a place."`
	Linger           time.Duration `env:"LINGER" default:"5s" help:"How long an execution that ended can be followed."`
	EventBuffers     int           `name:"event-buffers" env:"EVENT_BUFFERS" default:"100" help:"Executions whose newest events are kept at hand."`
	EventsPerBuffer  int           `name:"events-per-buffer" env:"EVENTS_PER_BUFFER" default:"20" help:"Events kept at hand of each."`
	FileBytes        int64         `name:"file-bytes" env:"FILE_BYTES" default:"10485760" help:"Size of a file that a webhook takes."`
	UploadBytes      int64         `name:"upload-bytes" env:"UPLOAD_BYTES" default:"52428800" help:"Size of all files of a request to a webhook."`
	WebhookRate      int           `name:"webhook-rate" env:"WEBHOOK_RATE" default:"100" help:"Requests to webhooks from one address in 60 s."`
	Lease            time.Duration `env:"LEASE" default:"12s" help:"How long a silent process keeps its accounts."`
}

// check completes the settings and says all that is wrong with them at once.
func (s *Settings) check() error {
	if s.DataDir == "" {
		s.DataDir = usualDataDir()
	}
	var err error
	if s.DataDir, err = filepath.Abs(s.DataDir); err != nil {
		return err
	}
	wrong := s.problems()
	if len(wrong) == 0 {
		return nil
	}
	return &settingsError{"settings: " + strings.Join(wrong, "; ")}
}

func (s *Settings) problems() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for name, address := range map[string]string{"FRONTDESK_LISTEN": s.Listen, "FRONTDESK_METRICS_LISTEN": s.MetricsListen} {
		if _, _, err := net.SplitHostPort(address); err != nil && address != "" {
			say("%s is %q, not host:port such as 127.0.0.1:4000", name, address)
		}
	}
	if info, err := os.Stat(s.DataDir); err == nil && !info.IsDir() {
		say("FRONTDESK_DATA_DIR is %s, which is not a folder", s.DataDir)
	}
	if u, err := url.Parse(s.PublicURL); s.PublicURL != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
		say("FRONTDESK_PUBLIC_URL is not an address such as https://desk.example.org")
	}
	if (s.WhatsAppURL == "") != (s.WhatsAppKey == "") {
		say("FRONTDESK_WHATSAPP_URL and FRONTDESK_WHATSAPP_CERT_KEY belong together; set both or none")
	}
	if _, err := s.certKey(); err != nil {
		say("FRONTDESK_WHATSAPP_CERT_KEY is not 64 hexadecimal digits")
	}
	if _, _, err := s.logging(); err != nil {
		say("FRONTDESK_LOG is %q, not a level (debug, info, warn, error) and a format (text, json) such as debug,json", s.Log)
	}
	if s.SandboxMode == "on" && s.WhatsAppURL != "" {
		say("FRONTDESK_SANDBOX cannot be on together with FRONTDESK_WHATSAPP_URL")
	}
	return append(wrong, s.Limits.problems()...)
}

func (l *Limits) problems() (wrong []string) {
	for _, count := range []struct {
		name  string
		value int
	}{
		{"ACCOUNTS", l.Accounts},
		{"TURNS", l.Turns},
		{"PROVIDERS", l.Providers},
		{"SUBSCRIBERS", l.Subscribers},
		{"LEDGER_RECIPIENTS", l.LedgerRecipients},
		{"LEDGER_ENTRIES", l.LedgerEntries},
		{"MEMORY_ALARM_MIB", l.MemoryAlarmMiB},
		{"MEDIA_MIB", l.MediaMiB},
		{"EXECUTIONS", l.Executions},
		{"TEST_RUNNING", l.TestRunning},
		{"TEST_WAITING", l.TestWaiting},
		{"EVENT_BUFFERS", l.EventBuffers},
		{"EVENTS_PER_BUFFER", l.EventsPerBuffer},
		{"FILE_BYTES", int(l.FileBytes)},
		{"UPLOAD_BYTES", int(l.UploadBytes)},
		{"WEBHOOK_RATE", l.WebhookRate},
	} {
		if count.value < 1 {
			wrong = append(wrong, fmt.Sprintf("FRONTDESK_LIMIT_%s is %d, not at least 1", count.name, count.value))
		}
	}
	for _, time := range []struct {
		name  string
		value time.Duration
	}{
		{"TURN_TIMEOUT", l.TurnTimeout},
		{"QUEUE_WATCH", l.QueueWatch},
		{"DRAIN", l.Drain},
		{"USAGE_TICK", l.UsageTick},
		{"MEMORY_INTERVAL", l.MemoryInterval},
		{"SHUTDOWN", l.Shutdown},
		{"LEDGER_CLEANUP", l.LedgerCleanup},
		{"RATE_WINDOW", l.RateWindow},
		{"LEASE", l.Lease},
	} {
		if time.value <= 0 {
			wrong = append(wrong, fmt.Sprintf("FRONTDESK_LIMIT_%s is %v, not a time such as 30s", time.name, time.value))
		}
	}
	return wrong
}

// embedded says whether the database is our own.
func (s *Settings) embedded() bool { return s.DatabaseURL == "" }

// sandbox says whether the loopback WhatsApp runs beside the real one.
func (s *Settings) sandbox() bool {
	return s.SandboxMode == "on" || (s.SandboxMode == "" && s.embedded() && s.WhatsAppURL == "")
}

// consoleURL is the console's address for people.
func (s *Settings) consoleURL(bound string) string {
	if s.PublicURL != "" {
		return strings.TrimSuffix(s.PublicURL, "/")
	}
	host, port, err := net.SplitHostPort(bound)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		bound = net.JoinHostPort("localhost", port)
	}
	return "http://" + bound
}

// usualDataDir is the system's folder for root and XDG's for everybody else.
func usualDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/frontdesk"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "frontdesk")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local", "share", "frontdesk")
}
