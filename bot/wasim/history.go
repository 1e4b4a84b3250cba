package wasim

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"google.golang.org/protobuf/proto"
)

// Remember puts earlier messages into the chat of the phone and a customer, as if
// they had been said before a device was linked: their Text, FromCustomer and At
// count, and their ID if they have one.
func (p *Phone) Remember(customer string, earlier ...Message) error {
	if !digits(customer) {
		return errNumber
	}
	c := p.server.Customer(customer)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range earlier {
		c.add(p.number, Message{
			ID: cmp.Or(m.ID, messageID()), Text: m.Text, FromCustomer: m.FromCustomer, At: m.At, Status: Read, Copies: 1, Kind: Text,
		})
	}
	return nil
}

// ShareHistory gives the linked device the chats of the phone, up to 200 messages
// each, and returns the id of the message that tells it. A newly linked device gets
// them by itself, if there are any.
func (p *Phone) ShareHistory(ctx context.Context) (string, error) {
	if !p.Linked() {
		return "", errUnlinked
	}
	return p.shareHistory(ctx, waHistorySync.HistorySync_RECENT)
}

// shareFirstHistory is ShareHistory for a newly linked device. Later calls, and
// those without any chat, do nothing.
func (p *Phone) shareFirstHistory(ctx context.Context) {
	p.mu.Lock()
	due := p.state.Device != nil && !p.state.Shared
	p.state.Shared = true
	p.touch()
	p.mu.Unlock()
	if !due {
		return
	}
	if _, err := p.shareHistory(ctx, waHistorySync.HistorySync_INITIAL_BOOTSTRAP); err != nil && !errors.Is(err, errNoChats) {
		p.server.log.Warn("History not shared with the device", "error", err)
	}
}

var errNoChats = errors.New("the phone has no chats yet")

func (p *Phone) shareHistory(ctx context.Context, kind waHistorySync.HistorySync_HistorySyncType) (string, error) {
	h := &waHistorySync.HistorySync{SyncType: &kind, ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100)}
	for _, c := range p.server.everybody() {
		talk := c.conversation(p.number)
		if talk == nil {
			continue
		}
		h.Conversations = append(h.Conversations, talk)
		h.PhoneNumberToLidMappings = append(h.PhoneNumberToLidMappings, &waHistorySync.PhoneNumberToLIDMapping{
			PnJID: new(c.jid().String()), LidJID: new(c.lid().String()),
		})
	}
	if len(h.Conversations) == 0 {
		return "", errNoChats
	}
	notice, err := p.server.historyNotice(h)
	if err != nil {
		return "", fmt.Errorf("share the history: %w", err)
	}
	id := messageID()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return "", errUnlinked
	}
	p.server.counts.add("peer.out", 1)
	return id, p.queueForDevice(ctx, id, notice, waBinary.Attrs{"category": "peer", "peer_recipient_lid": p.lid()})
}

// historyNotice puts h into the store and is the message that tells where.
func (s *Server) historyNotice(h *waHistorySync.HistorySync) (*waE2E.Message, error) {
	plain, err := proto.Marshal(h)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	packer := zlib.NewWriter(&packed)
	_, err = packer.Write(plain)
	if err = errors.Join(err, packer.Close()); err != nil {
		return nil, err
	}
	f, err := s.keep(whatsmeow.MediaHistory, packed.Bytes(), "", "")
	if err != nil {
		return nil, err
	}
	return &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(),
		HistorySyncNotification: &waE2E.HistorySyncNotification{
			DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			SyncType: waE2E.HistorySyncType(h.GetSyncType()).Enum(), ChunkOrder: h.ChunkOrder, Progress: h.Progress,
		},
	}}, nil
}

// everybody are all customers, by number.
func (s *Server) everybody() []*Customer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Customer, 0, len(s.customers))
	for _, c := range s.customers {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Customer) int { return cmp.Compare(a.number, b.number) })
	return all
}

// conversation is the chat with an account as its phone remembers it, or nil if
// nothing was said.
func (c *Customer) conversation(account string) *waHistorySync.Conversation {
	c.mu.Lock()
	defer c.mu.Unlock()
	talk := c.chat(account)
	name := c.called(true, account)
	found := &waHistorySync.Conversation{
		ID: &name, PnJID: new(c.jid().String()), LidJID: new(c.lid().String()), Name: new(c.name()),
	}
	for i, m := range talk.Messages[max(0, len(talk.Messages)-remembered):] {
		if m.Status == Waiting || m.Deleted {
			continue
		}
		said := &waWeb.WebMessageInfo{
			Key:     &waCommon.MessageKey{RemoteJID: found.ID, FromMe: new(!m.FromCustomer), ID: &m.ID},
			Message: talk.sent(m.ID), MessageTimestamp: new(uint64(m.At.Unix())),
		}
		if m.FromCustomer {
			said.PushName = new(c.name())
		}
		found.LastMsgTimestamp = said.MessageTimestamp
		found.Messages = append(found.Messages, &waHistorySync.HistorySyncMsg{Message: said, MsgOrderID: new(uint64(i + 1))})
	}
	if len(found.Messages) == 0 {
		return nil
	}
	found.ConversationTimestamp = new(uint64(time.Now().Unix()))
	// WhatsApp lists the newest message first.
	slices.Reverse(found.Messages)
	return found
}
