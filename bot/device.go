package bot

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// Trust makes key the root of WhatsApp's certificates for the whole process: a
// loopback WhatsApp has its own. Call it before anything connects.
func Trust(key [32]byte) { whatsmeow.WACertPubKey = key }

// Upgrade brings whatsmeow's own tables up to date.
func Upgrade(ctx context.Context, db *sql.DB) error {
	return newDevices(db, waLog.Noop).container.Upgrade(ctx)
}

func init() {
	// What people see under "Linked devices" on their phone.
	store.DeviceProps.Os = new("frontdesk")
	store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_CHROME.Enum()
	store.DeviceProps.RequireFullSync = new(false)
}

// devices are the linked devices of all accounts, in whatsmeow's tables: one
// container over one pool.
type devices struct {
	db        *dbutil.Database
	container *sqlstore.Container
}

func newDevices(db *sql.DB, log waLog.Logger) *devices {
	wrapped, err := dbutil.NewWithDB(db, "postgres")
	if err != nil {
		panic(err) // only an unknown dialect
	}
	wrapped.UpgradeTable = upgrades.Table
	wrapped.VersionTable = "whatsmeow_version"
	return &devices{db: wrapped, container: sqlstore.NewWithWrappedDB(wrapped, log)}
}

// open is the device of jid behind g, or nil when there is none.
func (d *devices) open(ctx context.Context, jid string, g *guard) (*store.Device, error) {
	address, err := types.ParseJID(jid)
	if err != nil {
		return nil, fmt.Errorf("read the address of a linked device: %w", err)
	}
	device, err := d.container.GetDevice(ctx, address)
	if err != nil || device == nil {
		return nil, err
	}
	g.protect(device, d.db)
	return device, nil
}

// fresh is a device that waits to be linked. Its stores come into being when it
// is saved, behind g from their first moment.
func (d *devices) fresh(g *guard) *store.Device {
	device := d.container.NewDevice()
	device.Container = &guarded{DeviceContainer: d.container, guard: g, db: d.db}
	return device
}

// forget deletes the device of jid, if there is one.
func (d *devices) forget(ctx context.Context, jid string) error {
	device, err := d.open(ctx, jid, newGuard(func() {}))
	if err != nil || device == nil {
		return err
	}
	return device.Delete(ctx)
}

// guarded puts the guard around the stores that saving a new device creates.
type guarded struct {
	store.DeviceContainer
	guard *guard
	db    *dbutil.Database
}

func (c *guarded) PutDevice(ctx context.Context, device *store.Device) error {
	created := !device.Initialized
	if err := c.DeviceContainer.PutDevice(ctx, device); err != nil {
		return err
	}
	if created {
		c.guard.protect(device, c.db)
	}
	return nil
}

// newClient is a client over device as this package needs it; see doc.go. way is
// how it reaches WhatsApp, nil for the library's own.
func (i *Instance) newClient(ctx context.Context, device *store.Device, way *http.Client) *whatsmeow.Client {
	c := whatsmeow.NewClient(device, whatsAppLog{i.m.log, i.alive})
	c.BackgroundEventCtx = ctx
	c.SynchronousAck = true
	c.EnableDecryptedEventBuffer = true
	c.EnableAutoReconnect = false // mend does it; whatsmeow counts its tries without a lock
	c.ManualHistorySyncDownload = true
	c.GetClientPayload = func() *waWa6.ClientPayload { return i.m.version.payload(device) }
	if way != nil {
		for _, use := range []func(*http.Client){c.SetPreLoginHTTPClient, c.SetWebsocketHTTPClient, c.SetMediaHTTPClient} {
			use(way)
		}
	}
	return c
}
