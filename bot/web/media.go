package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"frontdesk/bot"
	"frontdesk/store"
)

// Bounds of a file that comes by the API.
const (
	mostFile   = 64 << 20
	mostInline = 1 << 20 // as base64 inside a message
	fileTime   = 5 * time.Minute
)

// File is a file that messages may hold.
type File struct {
	ID     int64  `json:"file_id"`
	Name   string `json:"name,omitempty"`
	Mime   string `json:"mime" doc:"What it is, by its content"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func fileOf(f store.File) File {
	return File{ID: f.ID, Name: f.Label, Mime: f.Mime, Bytes: f.Bytes, SHA256: fmt.Sprintf("%x", f.SHA256)}
}

// uploadFile takes the body of a request, or the first file of a form, without ever
// holding it.
func (s *Server) uploadFile(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTime))
	body, label, err := uploaded(r)
	if err == nil {
		var f store.File
		if f, err = s.keepFile(r.Context(), body, label); err == nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(fileOf(f))
			return
		}
	}
	writeProblem(w, s.problemOf(r.Context(), err))
}

// uploaded is the file in a request and its name.
func uploaded(r *http.Request) (io.Reader, string, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "multipart/form-data" {
		return r.Body, r.URL.Query().Get("name"), nil
	}
	parts, err := r.MultipartReader()
	for err == nil {
		part, next := parts.NextPart()
		if next != nil {
			break
		}
		if part.FileName() != "" {
			return part, part.FileName(), nil
		}
	}
	return nil, "", problem(http.StatusUnprocessableEntity, "no_file", "The form holds no file; send it as the body of the request, or as a file of a form")
}

var errNoFiles = problem(http.StatusConflict, "no_files", "There is no place for files; set FRONTDESK_FILES_URL")

// keepFile streams a file to its place.
func (s *Server) keepFile(ctx context.Context, from io.Reader, label string) (store.File, error) {
	if s.o.Files == nil {
		return store.File{}, errNoFiles
	}
	f, err := s.store.KeepFile(ctx, s.o.Files, store.Upload{From: from, Label: label, Most: mostFile})
	switch {
	case errors.Is(err, store.ErrBrokenOff):
		return f, problem(http.StatusBadRequest, "broken_off", "The file broke off on its way; send it again")
	case errors.Is(err, store.ErrFileTooLarge):
		return f, problem(http.StatusRequestEntityTooLarge, "file_too_large", "A file may have at most 64 MiB")
	case errors.Is(err, store.ErrFileEmpty):
		return f, problem(http.StatusUnprocessableEntity, "no_file", "The file is empty")
	}
	return f, err
}

// serveFile hands a file out: pictures, sound and films to be seen, all else to be
// saved.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	f, err := s.store.File(r.Context(), id)
	if err != nil {
		return err
	}
	if s.o.Files == nil {
		return errNoFiles
	}
	from, err := s.o.Files.Open(r.Context(), f.Name)
	if err != nil {
		return err
	}
	defer from.Close()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fileTime))
	w.Header().Set("Content-Type", f.Mime)
	w.Header().Set("Content-Length", fmt.Sprint(f.Bytes))
	w.Header().Set("Content-Disposition", mime.FormatMediaType(disposition(f.Mime), map[string]string{"filename": named(f)}))
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = io.Copy(w, from)
	return nil
}

func disposition(kind string) string {
	top, _, _ := strings.Cut(kind, "/")
	if (top == "image" && !strings.Contains(kind, "svg")) || top == "audio" || top == "video" {
		return "inline"
	}
	return "attachment"
}

// named is a name for a file that has none.
func named(f store.File) string {
	if f.Label != "" {
		return f.Label
	}
	kind, _, _ := strings.Cut(f.Mime, ";")
	if endings, err := mime.ExtensionsByType(kind); err == nil && len(endings) > 0 {
		return fmt.Sprint("file-", f.ID, endings[0])
	}
	return fmt.Sprint("file-", f.ID)
}

// downloadFile is serveFile for the API.
func (s *Server) downloadFile(w http.ResponseWriter, r *http.Request) {
	if err := s.serveFile(w, r); err != nil {
		writeProblem(w, s.problemOf(r.Context(), err))
	}
}

// Attachment is a file of a message that is to be sent.
type Attachment struct {
	FileID int64  `json:"file_id,omitempty" doc:"Of POST /files"`
	URL    string `json:"url,omitempty" maxLength:"2000" doc:"Public https address to fetch it from"`
	Data   []byte `json:"data,omitempty" doc:"Base64, at most 1 MiB"`
	Kind   string `json:"kind,omitempty" enum:"image,video,voice,audio,document,sticker" doc:"Missing: by its content; documents otherwise"`
	Name   string `json:"name,omitempty" maxLength:"200"`
}

// attach finds or keeps the file of a message and says what kind of message it makes.
func (s *Server) attach(ctx context.Context, a *Attachment) (f store.File, kind string, err error) {
	switch {
	case a.FileID != 0:
		f, err = s.store.File(ctx, a.FileID)
		if errors.Is(err, store.ErrNotFound) {
			err = problem(http.StatusUnprocessableEntity, "no_such_file", "There is no file with this file_id; upload it with POST /files")
		}
	case a.URL != "":
		f, err = s.fetch(ctx, a)
	case len(a.Data) > mostInline:
		err = problem(http.StatusRequestEntityTooLarge, "file_too_large", "\"data\" may have at most 1 MiB; upload larger files with POST /files")
	case len(a.Data) > 0:
		f, err = s.keepFile(ctx, strings.NewReader(string(a.Data)), a.Name)
	default:
		err = problem(http.StatusUnprocessableEntity, "no_file", "\"media\" needs a file_id, a url or data")
	}
	if err != nil {
		return f, "", err
	}
	kind, err = s.kindOf(ctx, f, a.Kind)
	return f, kind, err
}

// fetch gets a file from an address that a client named.
func (s *Server) fetch(ctx context.Context, a *Attachment) (store.File, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	unreachable := problem(http.StatusUnprocessableEntity, "no_such_url", "\"url\" could not be fetched: it must be a public https address that answers 200 without a redirect")
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil || s.o.Fetch == nil {
		return store.File{}, unreachable
	}
	answer, err := s.o.Fetch.Do(q)
	if err != nil {
		return store.File{}, unreachable
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return store.File{}, unreachable
	}
	label := a.Name
	if label == "" {
		label = path.Base(q.URL.Path)
	}
	return s.keepFile(ctx, answer.Body, label)
}

// kindOf is what a file becomes on WhatsApp: what was asked for, if it can be that.
func (s *Server) kindOf(ctx context.Context, f store.File, asked string) (string, error) {
	natural := f.Natural()
	if asked == "" || asked == natural || asked == "document" {
		return cmp.Or(asked, natural), nil
	}
	switch {
	case asked == "voice":
		return asked, s.checkVoice(ctx, f)
	case asked == "sticker" && f.Mime == "image/webp":
		return asked, nil
	}
	return "", problem(http.StatusUnprocessableEntity, "wrong_kind", fmt.Sprintf("This file is %s, which cannot be sent as %s; send it as %s", f.Mime, asked, natural))
}

// checkVoice refuses what WhatsApp would not play as a voice note.
func (s *Server) checkVoice(ctx context.Context, f store.File) error {
	from, err := s.o.Files.Open(ctx, f.Name)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := bot.ReadVoice(from); err != nil {
		return problem(http.StatusUnprocessableEntity, "no_voice", bot.ErrNoVoice.Error())
	}
	return nil
}
