package bot

import (
	"context"
	"testing"

	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// The tables of whatsmeow commit without waiting for the disk. What a message was
// encrypted with must not: a ratchet that went back would be used twice.
func TestSessionsAreOnDiskBeforeAMessageLeaves(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{DSN: pgtest.Database(t), Keyring: store.NewKeyring()})
	check(t, err)
	defer s.Close()
	check(t, s.Migrate(ctx, Upgrade))
	device := newDevices(s.WhatsApp(), waLog.Noop).fresh(newGuard(func() {}))
	device.ID = &types.JID{User: "12025550111", Device: 1, Server: types.DefaultUserServer}
	device.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte{1}, AccountSignatureKey: make([]byte, 32), AccountSignature: make([]byte, 64), DeviceSignature: make([]byte, 64),
	}
	check(t, device.Save(ctx))

	lsn := func(function string) (bytes int64) {
		check(t, s.WhatsApp().QueryRowContext(ctx, "select "+function+"() - '0/0'::pg_lsn").Scan(&bytes))
		return bytes
	}
	for i := range 20 {
		_, err := device.Sessions.GetManySessions(ctx, []string{"a:1", "b:1"})
		check(t, err)
		inserted := lsn("pg_current_wal_insert_lsn")
		check(t, device.Sessions.PutManySessions(ctx, map[string][]byte{"a:1": {byte(i)}, "b:1": {byte(i)}}))
		if flushed := lsn("pg_current_wal_flush_lsn"); flushed <= inserted {
			t.Fatalf("write %d: the log is flushed up to %d only, and was at %d before", i, flushed, inserted)
		}
	}
	found, err := device.Sessions.GetManySessions(ctx, []string{"a:1", "b:1"})
	check(t, err)
	if found["a:1"][0] != 19 || found["b:1"][0] != 19 {
		t.Fatalf("found %v", found)
	}
	check(t, device.Sessions.PutManySessions(ctx, nil))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
