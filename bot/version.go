package bot

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
)

// versionSetting keeps the last known client version, for a start without network.
const versionSetting = "whatsapp_client_version"

// versionFetch bounds one look at WhatsApp's current client version.
const versionFetch = 10 * time.Second

// version is the client version that this process shows to WhatsApp. whatsmeow
// keeps it in plain variables; mu makes changing them safe beside connects.
type version struct {
	store records
	http  *http.Client
	log   *slog.Logger
	mu    sync.RWMutex
}

// payload is the device's greeting, with the version of this moment.
func (v *version) payload(device *store.Device) *waWa6.ClientPayload {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return device.GetClientPayload()
}

// remembered takes the version that was current at the last look.
func (v *version) remembered(ctx context.Context) error {
	text, err := v.store.Setting(ctx, versionSetting)
	if err != nil || text == "" {
		return err
	}
	known, err := store.ParseVersion(text)
	if err != nil {
		return fmt.Errorf("read the remembered client version: %w", err)
	}
	v.set(known)
	return nil
}

// refresh asks WhatsApp for the current client version and says whether it is a
// newer one. Failing is no error: the last one stays.
func (v *version) refresh(ctx context.Context) (newer bool) {
	ctx, cancel := context.WithTimeout(ctx, versionFetch)
	defer cancel()
	latest, err := whatsmeow.GetLatestVersion(ctx, v.http)
	if err != nil {
		v.log.DebugContext(ctx, "WhatsApp client version unknown, the last one stays", slog.Any("error", err))
		return false
	}
	newer = v.set(*latest)
	if err := v.store.SetSetting(ctx, versionSetting, latest.String()); err != nil {
		v.log.WarnContext(ctx, "WhatsApp client version not remembered", slog.Any("error", err))
	}
	return newer
}

// set never goes back: the library may know a newer one than WhatsApp's page.
func (v *version) set(new store.WAVersionContainer) (newer bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if newer = store.GetWAVersion().LessThan(new); newer {
		store.SetWAVersion(new)
	}
	return newer
}

// String is the version of this moment.
func (v *version) String() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return store.GetWAVersion().String()
}
