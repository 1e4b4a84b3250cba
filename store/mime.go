package store

import (
	"bytes"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
)

// SniffLength is how much of a file's beginning MimeOf wants to see.
const SniffLength = 512

// MimeOf is what a file is, by its beginning; its name only tells apart what begins
// alike, such as the many formats that are archives.
func MimeOf(head []byte, label string) string {
	kind := http.DetectContentType(head)
	switch {
	case kind == "application/ogg" && bytes.Contains(head, []byte("OpusHead")):
		return "audio/ogg; codecs=opus"
	case kind == "application/ogg":
		return "audio/ogg"
	case kind == "application/zip", kind == "application/octet-stream", strings.HasPrefix(kind, "text/plain"):
		if named := mime.TypeByExtension(filepath.Ext(label)); named != "" && !active(named) {
			return named
		}
	}
	return kind
}

// active says whether a browser would run what it is given; such a name is not
// believed.
func active(kind string) bool {
	return strings.Contains(kind, "html") || strings.Contains(kind, "javascript") || strings.Contains(kind, "svg") || strings.Contains(kind, "xml;")
}
