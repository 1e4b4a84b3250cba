package webhook

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"time"
)

// hold is what a request takes up here until it is accepted or refused.
type hold struct {
	i      *Intake
	memory share
	parcel *parcel
	placed bool
}

// place has the request be one of the uploads under way, with a part of the spool.
func (h *hold) place() (err error) {
	if !h.i.uploads.take(1) {
		return later(http.StatusServiceUnavailable, 2*time.Second, "uploads_busy", "Too many uploads are under way; nothing was accepted, send it again in a moment")
	}
	h.placed = true
	h.parcel, err = h.i.spool.open()
	return err
}

func (h *hold) release() {
	if h.parcel != nil {
		h.parcel.remove()
	}
	if h.placed {
		h.i.uploads.give(1)
	}
	h.memory.giveBack()
}

// receive reads the body to its end. Every byte of it goes to the proof as well.
func (v *visit) receive(k kind, parameters map[string]string, p *proof, h *hold) (c content, err error) {
	if k == kindNone {
		return content{digest: digestOf()}, nil
	}
	l := v.i.limits
	slow := &patient{from: v.r.Body, ctl: v.ctl, idle: l.IdleRead, end: time.Now().Add(l.TotalRead), most: l.form()}
	body := io.TeeReader(slow, p)
	switch k {
	case kindMultipart, kindFile, kindUnnamed:
		if err := h.place(); err != nil {
			return c, err
		}
		c, err = v.receiveUpload(k, parameters["boundary"], body, h)
	default:
		c, err = v.receiveText(k, parameters["charset"], body, h)
	}
	return c, err
}

// receiveText holds a text; it is parsed once its signature is known to be right.
func (v *visit) receiveText(k kind, charset string, body io.Reader, h *hold) (content, error) {
	raw, err := readText(body, v.i.limits.Text, &h.memory)
	if err != nil {
		return content{}, err
	}
	return content{kind: k, charset: charset, text: raw, digest: digestOf(raw)}, nil
}

func (v *visit) receiveUpload(k kind, boundary string, body io.Reader, h *hold) (c content, err error) {
	u := &upload{o: v.i.limits, to: h.parcel, memory: &h.memory, buffer: make([]byte, piece), fields: map[string]any{}}
	if k == kindMultipart {
		err = u.readForm(body, boundary)
		return content{value: u.fields, files: u.files, digest: digestOf(u.digest...)}, err
	}
	if k == kindUnnamed {
		peeked := bufio.NewReader(body)
		if begin, _ := peeked.Peek(64); looksLikeJSON(begin) {
			return v.receiveText(kindJSON, "", peeked, h)
		}
		body = peeked
	}
	err = u.readFile(body, labelOf(v.r.Header))
	if u.total == 0 {
		u.files = nil
	}
	return content{files: u.files, digest: digestOf(u.digest...)}, err
}

func looksLikeJSON(begin []byte) bool {
	begin = bytes.TrimLeft(bytes.TrimPrefix(begin, byteOrderMark), " \t\r\n")
	return len(begin) > 0 && (begin[0] == '{' || begin[0] == '[')
}
