package wasim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/util/cbcutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
)

// What a message's Kind may be, besides the field's name in WhatsApp's own format
// for what is rarer. Only the files can be sent as [Media], a voice note as Audio.
const (
	Text     = "text"
	Image    = "image"
	Video    = "video"
	Audio    = "audio"
	Voice    = "voice"
	Document = "document"
	Sticker  = "sticker"
	Place    = "location"
	Card     = "contact"
)

// macLength is how much of its HMAC ends an encrypted file.
const macLength = 10

// Media is a file to send.
type Media struct {
	Kind    string `json:"kind"`           // Image, Video, Audio, Document or Sticker
	Mime    string `json:"mime,omitempty"` // found by content if empty
	Name    string `json:"name,omitempty"` // of a document
	Caption string `json:"caption,omitempty"`
	Data    []byte `json:"data"`
	Voice   bool   `json:"voice,omitempty"` // audio is a voice note
	Seconds int    `json:"seconds,omitempty"`
}

// Location is a place on the map.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
}

// message is what shows l.
func (l Location) message() *waE2E.Message {
	return &waE2E.Message{LocationMessage: &waE2E.LocationMessage{
		DegreesLatitude: &l.Latitude, DegreesLongitude: &l.Longitude, Name: &l.Name, Address: &l.Address,
	}}
}

// Contact is a card with somebody's name and number.
type Contact struct {
	Name   string `json:"name"`
	Number string `json:"number"` // digits only
}

// message is what shows c.
func (c Contact) message() *waE2E.Message {
	card := fmt.Sprintf("BEGIN:VCARD\nVERSION:3.0\nN:;%[1]s;;;\nFN:%[1]s\nTEL;type=CELL;waid=%[2]s:+%[2]s\nEND:VCARD", c.Name, c.Number)
	return &waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: &c.Name, Vcard: &card}}
}

// sealedFile is where an encrypted file lies and what opens it.
type sealedFile struct {
	url, path             string
	key, hash, sealedHash []byte
	length                uint64
}

// attach puts the file of m into the store, in the name of whoever sends it to an
// account, and returns the message that shows it.
func (s *Server) attach(m Media, account, customer string) (*waE2E.Message, error) {
	class, known := map[string]whatsmeow.MediaType{
		Image: whatsmeow.MediaImage, Video: whatsmeow.MediaVideo, Audio: whatsmeow.MediaAudio,
		Document: whatsmeow.MediaDocument, Sticker: whatsmeow.MediaImage,
	}[m.Kind]
	if !known {
		return nil, fmt.Errorf("a file cannot be sent as %q", m.Kind)
	}
	if m.Mime == "" {
		m.Mime = http.DetectContentType(m.Data)
	}
	f, err := s.keep(class, m.Data, account, customer)
	if err != nil {
		return nil, err
	}
	return m.message(f), nil
}

// message is what shows m, whose file is f.
func (m Media) message(f sealedFile) *waE2E.Message {
	seconds := uint32(m.Seconds)
	switch m.Kind {
	case Image:
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
			URL: &f.url, DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			Mimetype: &m.Mime, Caption: maybe(m.Caption),
		}}
	case Video:
		return &waE2E.Message{VideoMessage: &waE2E.VideoMessage{
			URL: &f.url, DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			Mimetype: &m.Mime, Caption: maybe(m.Caption), Seconds: &seconds,
		}}
	case Audio:
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{
			URL: &f.url, DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			Mimetype: &m.Mime, PTT: &m.Voice, Seconds: &seconds,
		}}
	case Sticker:
		return &waE2E.Message{StickerMessage: &waE2E.StickerMessage{
			URL: &f.url, DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			Mimetype: &m.Mime,
		}}
	default:
		return &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{
			URL: &f.url, DirectPath: &f.path, MediaKey: f.key, FileSHA256: f.hash, FileEncSHA256: f.sealedHash, FileLength: &f.length,
			Mimetype: &m.Mime, Caption: maybe(m.Caption), FileName: &m.Name, Title: &m.Name,
		}}
	}
}

// maybe is nil for what is not said.
func maybe(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// keep encrypts a file as clients do and puts it into the store.
func (s *Server) keep(class whatsmeow.MediaType, data []byte, account, customer string) (sealedFile, error) {
	if len(data) > maxFile {
		return sealedFile{}, fmt.Errorf("a file has %d MiB at most", maxFile>>20)
	}
	key := randomBytes(32)
	sealed, err := seal(key, class, data)
	if err != nil {
		return sealedFile{}, err
	}
	hash, sealedHash := sha256.Sum256(data), sha256.Sum256(sealed)
	token := base64.URLEncoding.EncodeToString(sealedHash[:])
	if !s.media.put(token, file{data: sealed, account: account, customer: customer}) {
		return sealedFile{}, errors.New("there is no room for more files")
	}
	return sealedFile{
		url: "https://" + s.listener.Addr().String() + directPath(token), path: directPath(token),
		key: key, hash: hash[:], sealedHash: sealedHash[:], length: uint64(len(data)),
	}, nil
}

// directPath is how messages say where a file lies.
func directPath(token string) string { return "/media/" + token + "?kept=memory" }

// tokenOf reads what directPath writes.
func tokenOf(direct string) string {
	where, err := url.Parse(direct)
	if err != nil {
		return ""
	}
	return path.Base(where.Path)
}

// seal encrypts a file and signs it.
func seal(key []byte, class whatsmeow.MediaType, data []byte) ([]byte, error) {
	expanded := hkdfutil.SHA256(key, nil, []byte(class), 112)
	sealed, err := cbcutil.Encrypt(expanded[16:48], expanded[:16], slices.Clip(data))
	if err != nil {
		return nil, fmt.Errorf("encrypt file: %w", err)
	}
	return append(sealed, signature(expanded, sealed)...), nil
}

// signature is what ends an encrypted file.
func signature(expanded, sealed []byte) []byte {
	mac := hmac.New(sha256.New, expanded[48:80])
	mac.Write(expanded[:16])
	mac.Write(sealed)
	return mac.Sum(nil)[:macLength]
}

// attachment is the file a message shows, or nil.
func attachment(m *waE2E.Message) whatsmeow.DownloadableMessage {
	switch {
	case m.GetImageMessage() != nil:
		return m.GetImageMessage()
	case m.GetVideoMessage() != nil:
		return m.GetVideoMessage()
	case m.GetAudioMessage() != nil:
		return m.GetAudioMessage()
	case m.GetDocumentMessage() != nil:
		return m.GetDocumentMessage()
	case m.GetStickerMessage() != nil:
		return m.GetStickerMessage()
	}
	return nil
}

// fetch downloads, opens and verifies the file of a message as a phone does.
func (s *Server) fetch(a whatsmeow.DownloadableMessage) ([]byte, error) {
	kept, known := s.media.get(tokenOf(a.GetDirectPath()))
	if !known {
		return nil, errors.New("the file is not on the server")
	}
	sealedHash := sha256.Sum256(kept.data)
	if len(kept.data) < macLength || !bytes.Equal(sealedHash[:], a.GetFileEncSHA256()) {
		return nil, errors.New("the encrypted file is not the one that was sent")
	}
	sealed, mac := kept.data[:len(kept.data)-macLength], kept.data[len(kept.data)-macLength:]
	expanded := hkdfutil.SHA256(a.GetMediaKey(), nil, []byte(whatsmeow.GetMediaType(a)), 112)
	if !hmac.Equal(signature(expanded, sealed), mac) {
		return nil, errors.New("the file's signature is wrong")
	}
	data, err := cbcutil.Decrypt(expanded[16:48], expanded[:16], bytes.Clone(sealed))
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	if hash := sha256.Sum256(data); !bytes.Equal(hash[:], a.GetFileSHA256()) {
		return nil, errors.New("the file is not the one that was sent")
	}
	return data, nil
}
