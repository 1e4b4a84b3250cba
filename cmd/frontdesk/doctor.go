package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
	"frontdesk/store/pglocal"
)

type doctorCommand struct{}

// Run is frontdesk doctor: one line for each thing that must be well, and what
// to do where it is not.
func (doctorCommand) Run(ctx context.Context, s *Settings) error {
	sick := 0
	say := func(what string, err error) {
		if err != nil {
			sick++
			fmt.Printf("✗ %s: %v\n", what, err)
			return
		}
		fmt.Printf("✓ %s\n", what)
	}
	say("disk", enoughDisk(s.DataDir))
	err := withStore(ctx, s, func(d *database) error {
		say("database", d.Ping(ctx))
		if s.embedded() {
			fmt.Printf("→ reach it by psql -h %s -U postgres %s\n", pglocal.Socket(s.postgresDir()), databaseName)
		}
		say("clock", sameClock(ctx, d))
		checkProviders(ctx, s, d, say)
		return nil
	})
	if err != nil {
		say("database", err)
	}
	say("WhatsApp", reachWhatsApp(ctx, s))
	if sick > 0 {
		return fmt.Errorf("%d things need attention", sick)
	}
	return nil
}

func checkProviders(ctx context.Context, s *Settings, d *database, say func(string, error)) {
	all, err := d.Providers(ctx)
	if err != nil {
		say("providers", err)
		return
	}
	r := providers.New(providers.Options{Store: d.Store, Log: slog.New(slog.DiscardHandler), Allow: s.AllowPrivate})
	asked := false
	for _, p := range all {
		if p.Demo || !p.Active {
			continue
		}
		asked = true
		_, err := r.Test(ctx, p.ID)
		say("provider "+p.Name, err)
	}
	if err := r.Close(ctx); err != nil { // the books are written at the end
		say("providers", err)
	}
	presets, _ := providers.Presets()
	for _, l := range providers.FindLocal(ctx, presets) {
		if advice := addLocal(l, all, s.AllowPrivate); advice != "" {
			fmt.Println("→ " + advice)
		}
	}
	if !asked {
		say("providers", fmt.Errorf("none is set up, only the demo answers; add one: frontdesk providers add NAME ADDRESS MODEL"))
	}
}

// addLocal says how a service of this machine becomes a provider; "": it is one.
func addLocal(l providers.Local, known []store.Provider, allowed []netip.Prefix) string {
	if slices.ContainsFunc(known, func(p store.Provider) bool { return p.BaseURL == l.BaseURL }) {
		return ""
	}
	add := fmt.Sprintf("frontdesk providers add %q %s %q", l.Name, l.BaseURL, l.Has[0])
	advice := fmt.Sprintf("%s runs here with %s; to use it: %s", l.Name, strings.Join(l.Has[:min(len(l.Has), 5)], ", "), add)
	if !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr("127.0.0.1")) }) {
		advice += ", and start frontdesk with FRONTDESK_ALLOW_PRIVATE=127.0.0.0/8"
	}
	return advice
}

// leastDisk is what should be free for the database's next days.
const leastDisk = 1 << 30

func enoughDisk(dir string) error {
	var f syscall.Statfs_t
	if err := syscall.Statfs(dir, &f); err != nil {
		return nil //nolint:nilerr // the folder is made at the first start
	}
	if free := f.Bavail * uint64(f.Bsize); free < leastDisk {
		return fmt.Errorf("%d MiB are free on %s; make room", free>>20, dir)
	}
	return nil
}

// sameClock compares ours with the database's: due times are the database's.
func sameClock(ctx context.Context, d *database) error {
	now, err := d.Now(ctx)
	if err != nil {
		return err
	}
	if off := time.Since(now).Abs(); off > 5*time.Second {
		return fmt.Errorf("this machine and the database differ by %v; switch on time synchronisation", off.Round(time.Second))
	}
	return nil
}

func reachWhatsApp(ctx context.Context, s *Settings) error {
	if s.WhatsAppURL != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", "web.whatsapp.com:443")
	if err != nil {
		return fmt.Errorf("cannot be reached: %w; allow connections to web.whatsapp.com on port 443", err)
	}
	return conn.Close()
}
