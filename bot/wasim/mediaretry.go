package wasim

import (
	"encoding/base64"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"google.golang.org/protobuf/proto"
)

// look finds a file for a download; faults may make it go at this moment.
func (s *Server) look(token string) (file, bool) {
	f, known := s.media.get(token)
	if !known || f.customer == "" || f.gone != 0 {
		return f, known
	}
	for _, kind := range []FaultKind{MediaGone, MediaLost} {
		if fault, struck := s.faults.strikes(kind, f.account, f.customer); struck {
			f.gone, f.lost = fault.code(404), kind == MediaLost
			s.media.put(token, f)
			break
		}
	}
	return f, known
}

// uploadAgain has the phone put the file of a message into the store once more,
// because the device cannot download it, and tell the device where it lies now or
// why it cannot be had.
func (p *Phone) uploadAgain(receipt *waBinary.Node) {
	id, about := text(receipt, "id"), receipt.GetChildByTag("rmr")
	sealed := receipt.GetChildByTag("encrypt")
	said, refusal := p.retryAnswer(id, numberOf(address(&about, "jid")), sealed)
	n := announcement("mediaretry", about, said)
	if refusal != 0 {
		n.Content = []waBinary.Node{about, {Tag: "error", Attrs: waBinary.Attrs{"code": int(refusal)}}}
	}
	n.Attrs["id"], n.Attrs["from"] = id, p.jid()
	p.server.counts.add("media.retry", 1)
	p.line.add(p.server.newStanza("notification", id, p.number, nil, n))
}

// retryAnswer is the sealed answer to a device that asks for a file again, or the
// reason why there is none.
func (p *Phone) retryAnswer(id, customer string, sealed waBinary.Node) (waBinary.Node, waMmsRetry.MediaRetryNotification_ResultType) {
	a := attachment(p.shown(customer, id))
	if a == nil {
		return waBinary.Node{}, waMmsRetry.MediaRetryNotification_NOT_FOUND
	}
	key := hkdfutil.SHA256(a.GetMediaKey(), nil, []byte("WhatsApp Media Retry Notification"), 32)
	asked, err := gcmutil.Decrypt(key, content(sealed.GetChildByTag("enc_iv")), content(sealed.GetChildByTag("enc_p")), []byte(id))
	request := &waMmsRetry.ServerErrorReceipt{}
	if err != nil || proto.Unmarshal(asked, request) != nil || request.GetStanzaID() != id {
		return waBinary.Node{}, waMmsRetry.MediaRetryNotification_DECRYPTION_ERROR
	}
	f, known := p.server.media.get(tokenOf(a.GetDirectPath()))
	token := base64.URLEncoding.EncodeToString(randomBytes(32))
	if !known || f.lost || !p.server.media.put(token, file{data: f.data}) {
		return waBinary.Node{}, waMmsRetry.MediaRetryNotification_NOT_FOUND
	}
	told, err := proto.Marshal(&waMmsRetry.MediaRetryNotification{
		StanzaID: &id, DirectPath: new(directPath(token)), Result: waMmsRetry.MediaRetryNotification_SUCCESS.Enum(),
	})
	if err != nil {
		return waBinary.Node{}, waMmsRetry.MediaRetryNotification_GENERAL_ERROR
	}
	return sealedAnswer(key, id, told), 0
}

func sealedAnswer(key []byte, id string, told []byte) waBinary.Node {
	iv := randomBytes(12)
	sealed, err := gcmutil.Encrypt(key, iv, told, []byte(id))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	return waBinary.Node{Tag: "encrypt", Content: []waBinary.Node{{Tag: "enc_p", Content: sealed}, {Tag: "enc_iv", Content: iv}}}
}

// shown is a message of the chat with a customer, as it was sent; nil if the phone
// does not have it.
func (p *Phone) shown(customer, id string) *waE2E.Message {
	if customer == "" {
		return nil
	}
	c := p.server.Customer(customer)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chat(p.number).sent(id)
}
