package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// kind is what a body is read as.
type kind int

const (
	kindNone kind = iota
	kindJSON
	kindForm // application/x-www-form-urlencoded
	kindText
	kindMultipart
	kindFile
	kindUnnamed // JSON if it begins so, else a file
)

const (
	mostDepth  = 100      // of JSON
	mostDigits = 100      // of a number that is kept as it stands
	piece      = 32 << 10 // bytes that are read at once

	// What parsed JSON takes in memory at most: a value, what a list or an empty object
	// takes by itself, and what an object with something in it does.
	valueBytes  = 96
	listBytes   = 64
	objectBytes = 384
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// content is a body that was read.
type content struct {
	value  any
	files  []File
	digest []byte // the same for the same body; the boundary of a form does not count

	text    []byte // to be parsed; nil: nothing is
	kind    kind
	charset string
}

// kindOf says how to read the body of a request, by its headers.
func kindOf(r *http.Request) (k kind, parameters map[string]string, err error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return kindNone, nil, nil
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return 0, nil, refuse(http.StatusUnsupportedMediaType, "unsupported_encoding", "The body must not be compressed; send it without Content-Encoding")
	}
	declared := r.Header.Get("Content-Type")
	if declared == "" {
		return kindUnnamed, nil, nil
	}
	name, parameters, err := mime.ParseMediaType(declared)
	if err != nil {
		return 0, nil, refuse(http.StatusUnsupportedMediaType, "unsupported_body", "The Content-Type cannot be read")
	}
	k, err = kindNamed(name, parameters)
	return k, parameters, err
}

func kindNamed(name string, parameters map[string]string) (kind, error) {
	switch {
	case name == "application/json", name == "text/json", strings.HasSuffix(name, "+json"):
		return kindJSON, nil
	case name == "application/x-www-form-urlencoded":
		return kindForm, nil
	case name == "multipart/form-data" && parameters["boundary"] != "":
		return kindMultipart, nil
	case strings.HasPrefix(name, "multipart/"):
		return 0, refuse(http.StatusUnsupportedMediaType, "unsupported_body", "Of the multipart types only multipart/form-data with a boundary is understood")
	case strings.HasPrefix(name, "text/"):
		return kindText, nil
	}
	return kindFile, nil
}

// patient reads a body as long as its sender keeps sending: it gives up after idle
// without a byte, and at end in any case.
type patient struct {
	from io.Reader
	ctl  *http.ResponseController
	idle time.Duration
	end  time.Time
	most int64 // bytes that may still come
}

func (p *patient) Read(b []byte) (int, error) {
	until := time.Now().Add(p.idle)
	if until.After(p.end) {
		until = p.end
	}
	_ = p.ctl.SetReadDeadline(until) // tests without a connection have none
	if int64(len(b)) > p.most+1 {
		b = b[:p.most+1]
	}
	n, err := p.from.Read(b)
	if p.most -= int64(n); p.most < 0 {
		return 0, errTooLong
	}
	return n, err
}

var errTooLong = errors.New("the body is longer than it may be")

// broken says what went wrong with a body that could not be read to its end.
func broken(err error) error {
	var known *problem
	var own *ownError
	var slow interface{ Timeout() bool }
	switch {
	case err == nil || errors.As(err, &known) || errors.As(err, &own):
		return err
	case errors.As(err, &slow) && slow.Timeout():
		return refuse(http.StatusRequestTimeout, "too_slow", "The body came too slowly; send it again")
	}
	return refuse(http.StatusBadRequest, "broken_off", "The body broke off on its way; send it again")
}

// readText reads a body that is held, as much as memory has room for.
func readText(from io.Reader, most int64, memory *share) ([]byte, error) {
	var all bytes.Buffer
	for {
		if !memory.take(piece) {
			return nil, errCrowded
		}
		n, err := io.CopyN(&all, from, piece)
		if int64(all.Len()) > most || errors.Is(err, errTooLong) {
			return nil, textTooLarge(most)
		}
		if errors.Is(err, io.EOF) && n < piece {
			return all.Bytes(), nil
		}
		if err != nil {
			return nil, broken(err)
		}
	}
}

var errCrowded = later(http.StatusServiceUnavailable, time.Second, "crowded", "Too many requests are being read; nothing was accepted, send it again in a moment")

func textTooLarge(most int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("JSON, forms and text may have at most %s; send more as a file", inMB(most)))
}

// parse makes of a body what JSON can hold.
func parse(k kind, charset string, raw []byte, memory *share) (any, error) {
	raw, err := decode(charset, bytes.TrimPrefix(raw, byteOrderMark))
	if err != nil {
		return nil, err
	}
	switch k {
	case kindJSON:
		return parseJSON(raw, memory)
	case kindForm:
		return parseForm(raw, memory)
	}
	return clean(string(raw)), nil
}

// decode brings a text into UTF-8.
func decode(charset string, raw []byte) ([]byte, error) {
	if charset == "" || strings.EqualFold(charset, "utf-8") {
		return raw, nil
	}
	encoding, err := htmlindex.Get(charset)
	if err == nil {
		raw, err = encoding.NewDecoder().Bytes(raw)
	}
	if err != nil {
		return nil, refuse(http.StatusUnsupportedMediaType, "unsupported_charset", "The charset of the body is not known; send UTF-8")
	}
	return raw, nil
}

func parseJSON(raw []byte, memory *share) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil //nolint:nilnil // many clients name a type and send nothing
	}
	depth, cost := measure(raw)
	if depth > mostDepth {
		return nil, refuse(http.StatusBadRequest, "malformed_body", fmt.Sprintf("The JSON is nested deeper than %d levels", mostDepth))
	}
	if !memory.take(cost) {
		return nil, errCrowded
	}
	value, err := decodeJSON(raw)
	if err == nil {
		value, err = cleanAll(value)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "malformed_body", "The body is no valid JSON: "+clean(err.Error()))
	}
	return value, nil
}

// decodeJSON reads one value with nothing behind it. Its numbers are json.Number, so that
// none is altered on its way.
func decodeJSON(raw []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is something behind its value")
	}
	return value, nil
}

// measure says how deep JSON is and what it takes in memory when it is parsed, without
// doing so. Of what is no JSON it says anything.
func measure(raw []byte) (depth int, cost int64) {
	level, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			depth = max(depth, level)
			if c == '[' || i+1 < len(raw) && raw[i+1] == '}' {
				cost += listBytes
			} else {
				cost += objectBytes
			}
		case c == '}' || c == ']':
			level--
		case c == ',':
			cost += valueBytes
		}
	}
	return depth, cost + int64(len(raw))
}

func parseForm(raw []byte, memory *share) (any, error) {
	if !memory.take(int64(len(raw)) + objectBytes*int64(1+bytes.Count(raw, []byte("&")))) {
		return nil, errCrowded
	}
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "malformed_body", "The form cannot be read")
	}
	return fields(values), nil
}

// fields are the values of a form or query: a string each, or a list where a name comes
// more than once.
func fields(values map[string][]string) map[string]any {
	all := make(map[string]any, len(values))
	for name, list := range values {
		for _, value := range list {
			addField(all, clean(name), clean(value))
		}
	}
	return all
}

func addField(all map[string]any, name, value string) {
	switch before := all[name].(type) {
	case nil:
		all[name] = value
	case []any:
		all[name] = append(before, value)
	default:
		all[name] = []any{before, value}
	}
}

// clean is text as Postgres takes it: valid UTF-8 without NUL.
func clean(text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "\x00") {
		return text
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// cleanAll cleans a value of JSON in its place.
func cleanAll(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		return clean(v), nil
	case json.Number:
		return cleanNumber(v)
	case []any:
		for i := range v {
			if v[i], err = cleanAll(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name, one := range v {
			if plain := clean(name); plain != name {
				delete(v, name)
				name = plain
			}
			if v[name], err = cleanAll(one); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// cleanNumber is a number with its own digits where these are not beyond all reason, and
// as exact as a float64 otherwise: Postgres would write 1e-9999 with all its zeros.
func cleanNumber(n json.Number) (json.Number, error) {
	if len(n) <= mostDigits && !strings.ContainsAny(n.String(), "eE") {
		return n, nil
	}
	f, err := n.Float64()
	if err != nil {
		return n, errors.New("a number is too large")
	}
	text, err := json.Marshal(f)
	return json.Number(text), err
}

func digestOf(parts ...[]byte) []byte {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:", len(part))
		sum.Write(part)
	}
	return sum.Sum(nil)
}

func inMB(bytes int64) string { return fmt.Sprintf("%dMB", bytes>>20) }
