package webhook

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"unicode"

	"frontdesk/store"
)

const (
	mostPartHeader = 16 << 10 // bytes before a part's content
	mostLabel      = 150      // characters of a file's name
)

// upload takes files out of a body, piece by piece, and never holds one.
type upload struct {
	o      Limits
	to     *parcel
	memory *share
	buffer []byte

	files  []File
	fields map[string]any
	total  int64 // bytes of files
	held   int64 // bytes of fields
	digest [][]byte
}

// readFile takes a body that is one file.
func (u *upload) readFile(from io.Reader, label string) error {
	return u.addFile("", label, from)
}

// readForm takes the parts of a multipart/form-data body.
func (u *upload) readForm(from io.Reader, boundary string) error {
	header := &bounded{from: from}
	parts := multipart.NewReader(header, boundary)
	for n := 0; ; n++ {
		header.limit(mostPartHeader)
		part, err := parts.NextPart()
		if err == io.EOF { // a wrapped one means that the last boundary is missing
			return u.readRest(from)
		}
		if err != nil {
			return malformed(err)
		}
		if n == u.o.Parts {
			return refuse(http.StatusBadRequest, "too_many_parts", fmt.Sprintf("A form may have at most %d parts", u.o.Parts))
		}
		header.lift()
		if err := u.addPart(part); err != nil {
			return err
		}
	}
}

// readRest reads what stands behind the last part: a signature covers it too.
func (u *upload) readRest(from io.Reader) error {
	_, err := io.CopyBuffer(io.Discard, onlyReader{from}, u.buffer)
	return malformed(err)
}

func (u *upload) addPart(part *multipart.Part) error {
	name := clean(part.FormName())
	if label := part.FileName(); label != "" {
		return u.addFile(name, label, part)
	}
	value, err := io.ReadAll(io.LimitReader(part, u.o.Text-u.held+1))
	if err != nil {
		return malformed(err)
	}
	if u.held += int64(len(value) + len(name)); u.held > u.o.Text {
		return refuse(http.StatusRequestEntityTooLarge, "fields_too_large", fmt.Sprintf("The fields of a form may have at most %s together", inMB(u.o.Text)))
	}
	if !u.memory.take(int64(len(value)) + objectBytes) {
		return errCrowded
	}
	addField(u.fields, name, clean(string(value)))
	u.digest = append(u.digest, []byte("field"), []byte(name), value)
	return nil
}

// addFile streams one file to the spool. What is too large (L20, L21) ends there.
func (u *upload) addFile(field, label string, from io.Reader) error {
	label = cleanLabel(label)
	if len(u.files) == u.o.Files {
		return refuse(http.StatusRequestEntityTooLarge, "too_many_files", fmt.Sprintf("A request may have at most %d files", u.o.Files))
	}
	sum, head := sha256.New(), &beginning{}
	f := File{Field: field, Label: label, from: u.to, at: u.total}
	var err error
	f.Bytes, err = io.CopyBuffer(io.MultiWriter(sum, head, u.to), onlyReader{io.LimitReader(from, min(u.o.File, u.o.Upload-u.total)+1)}, u.buffer)
	u.total += f.Bytes
	switch {
	case err != nil:
		return malformed(err)
	case f.Bytes > u.o.File:
		return fileTooLarge(label, u.o.File)
	case u.total > u.o.Upload:
		return uploadTooLarge(u.o.Upload)
	}
	f.Mime, f.SHA256 = store.MimeOf(head.Bytes(), label), sum.Sum(nil)
	u.files = append(u.files, f)
	u.digest = append(u.digest, []byte("file"), []byte(field), []byte(label), f.SHA256)
	return nil
}

func fileTooLarge(label string, most int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "file_too_large", fmt.Sprintf("File \"%s\" exceeds maximum size of %s", cmp.Or(label, "file"), inMB(most)))
}

func uploadTooLarge(most int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "upload_too_large", fmt.Sprintf("Total upload size exceeds %s limit", inMB(most)))
}

// malformed tells a form that is none from one that did not come to its end.
func malformed(err error) error {
	switch {
	case errors.Is(err, errTooLong):
		return refuse(http.StatusRequestEntityTooLarge, "body_too_large", "The form is larger than its files and fields may be")
	case errors.Is(err, errPartHeader), err != nil && strings.HasPrefix(err.Error(), "multipart: ") && !errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusBadRequest, "malformed_body", "The body is no valid multipart/form-data")
	}
	return broken(err)
}

// labelOf is the name of a file that is a whole body, or "".
func labelOf(h http.Header) string {
	_, parameters, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	return parameters["filename"]
}

// cleanLabel is a file's name without folders and without what could not be shown. It is
// "" where nothing is left.
func cleanLabel(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r == '"' {
			return -1
		}
		return r
	}, path.Base(strings.ReplaceAll(clean(name), `\`, "/")))
	if runes := []rune(name); len(runes) > mostLabel {
		name = string(runes[:mostLabel])
	}
	return strings.Trim(name, ". /")
}

// bounded reads only so many bytes until the limit is lifted.
type bounded struct {
	from  io.Reader
	most  int
	loose bool
}

var errPartHeader = errors.New("the header of a part is too long")

func (b *bounded) limit(most int) { b.most, b.loose = most, false }

func (b *bounded) lift() { b.loose = true }

func (b *bounded) Read(to []byte) (int, error) {
	if b.loose {
		return b.from.Read(to)
	}
	if b.most <= 0 {
		return 0, errPartHeader
	}
	n, err := b.from.Read(to[:min(len(to), b.most)])
	b.most -= n
	return n, err
}

// beginning keeps what MimeOf wants to see of a file.
type beginning struct{ bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := store.SniffLength - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// onlyReader hides every other way to copy, so that the buffer is used.
type onlyReader struct{ io.Reader }
