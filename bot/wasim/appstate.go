package wasim

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"
)

// syncKey seals the settings that a phone shares with its device.
type syncKey struct {
	ID   []byte `json:"id"`
	Data []byte `json:"data"`
}

func newSyncKey() syncKey {
	return syncKey{ID: append([]byte{0, 0}, randomBytes(4)...), Data: randomBytes(32)}
}

// shareKeys gives a newly linked device the key of the phone's settings, and the
// settings: the name that customers see. Later calls do nothing.
func (p *Phone) shareKeys(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil || p.state.Synced {
		return
	}
	if err := p.share(ctx); err != nil {
		p.server.log.Warn("Settings not shared with the device", "error", err)
		return
	}
	p.state.Synced = true
	p.touch()
}

// shareAgain repeats the key for a device that could not open the first message.
func (p *Phone) shareAgain(ctx context.Context) {
	p.mu.Lock()
	p.state.Synced = false
	p.mu.Unlock()
	p.shareKeys(ctx)
}

// share queues the key and makes the first patch; mu is held.
func (p *Phone) share(ctx context.Context) error {
	if len(p.state.Patches) == 0 {
		patch, err := p.state.Sync.namePatch(ctx, p.name())
		if err != nil {
			return fmt.Errorf("encode settings: %w", err)
		}
		p.state.Patches[string(appstate.WAPatchCriticalBlock)] = [][]byte{patch}
	}
	shared := &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: []*waE2E.AppStateSyncKey{{
			KeyID: &waE2E.AppStateSyncKeyId{KeyID: p.state.Sync.ID},
			KeyData: &waE2E.AppStateSyncKeyData{
				KeyData: p.state.Sync.Data, Timestamp: new(time.Now().UnixMilli()),
				Fingerprint: &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(1), CurrentIndex: proto.Uint32(1)},
			},
		}}},
	}}
	p.server.counts.add("peer.out", 1)
	return p.queueForDevice(ctx, messageID(), shared, waBinary.Attrs{"category": "peer", "peer_recipient_lid": p.lid()})
}

// namePatch is the first version of the critical settings: the account's name.
func (k syncKey) namePatch(ctx context.Context, name string) ([]byte, error) {
	device := &store.Device{AppStateKeys: &syncStore{key: k}, AppState: &syncStore{}}
	encoder := appstate.NewProcessor(device, waLog.Noop)
	patch, err := encoder.EncodePatch(ctx, k.ID, appstate.HashState{}, appstate.BuildSettingPushName(name))
	if err != nil {
		return nil, err
	}
	return versioned(patch, 1)
}

// versioned gives a patch the number that only the server knows.
func versioned(patch []byte, version uint64) ([]byte, error) {
	var p waServerSync.SyncdPatch
	if err := proto.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	p.Version = &waServerSync.SyncdVersion{Version: &version}
	return proto.Marshal(&p)
}

// syncStore is all that the encoder of whatsmeow asks of a device.
type syncStore struct {
	store.NoopStore

	key syncKey
}

// GetAppStateSyncKey is the phone's one key.
func (s *syncStore) GetAppStateSyncKey(context.Context, []byte) (*store.AppStateSyncKey, error) {
	return &store.AppStateSyncKey{Data: s.key.Data}, nil
}

// syncState takes and gives patches of the account's settings.
func (c *connection) syncState(n *waBinary.Node) ([]waBinary.Node, error) {
	asked := n.GetChildByTag("sync")
	var collections []waBinary.Node
	for _, collection := range asked.GetChildrenByTag("collection") {
		found, err := c.phone.collection(collection)
		if err != nil {
			return nil, err
		}
		collections = append(collections, found)
	}
	return []waBinary.Node{{Tag: "sync", Content: collections}}, nil
}

// collection adds the device's patch, if it sent one, and returns those it lacks.
func (p *Phone) collection(asked waBinary.Node) (waBinary.Node, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := text(&asked, "name")
	if patch, sent := asked.GetOptionalChildByTag("patch"); sent {
		added, err := versioned(content(patch), uint64(len(p.state.Patches[name])+1))
		if err != nil {
			return waBinary.Node{}, err
		}
		p.state.Patches[name] = append(p.state.Patches[name], added)
		p.touch()
	}
	kept := p.state.Patches[name]
	has, err := strconv.Atoi(text(&asked, "version"))
	if err != nil || has > len(kept) {
		has = 0
	}
	var patches []waBinary.Node
	for _, patch := range kept[has:] {
		patches = append(patches, waBinary.Node{Tag: "patch", Content: patch})
	}
	found := waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": name, "version": len(kept)}}
	if len(patches) > 0 {
		found.Content = []waBinary.Node{{Tag: "patches", Content: patches}}
	}
	return found, nil
}

// receivePeer takes what the device asks of its phone.
func (p *Phone) receivePeer(ctx context.Context, id string, enc waBinary.Node) {
	m, err := p.open(ctx, enc)
	if err != nil {
		p.server.log.Debug("Request to the phone dropped", "id", id, "error", err)
		return
	}
	if m.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_REQUEST {
		p.shareAgain(ctx)
	}
}
