package wasim

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// Files are kept in memory: enough for tests and for trying things out.
const (
	maxFile   = 64 << 20
	maxSealed = maxFile + 16 + macLength // encrypted
	maxFiles  = 256 << 20
)

// media holds files, encrypted as they came.
type media struct {
	mu    sync.Mutex
	files map[string]file // by token; guarded by mu
	bytes int             // of all files; guarded by mu
}

// file is an encrypted file. Nobody changes its data.
type file struct {
	data              []byte
	account, customer string // whose message shows it, as far as faults may strike it; or ""
	gone              int    // the status that downloads get instead; 0 while it is there
	lost              bool   // the phone does not have it either
}

func (m *media) put(token string, f file) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	grown := len(f.data) - len(m.files[token].data)
	if m.bytes+grown > maxFiles {
		return false
	}
	if m.files == nil {
		m.files = map[string]file{}
	}
	m.bytes += grown
	m.files[token] = f
	return true
}

func (m *media) get(token string) (file, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, known := m.files[token]
	return f, known
}

func (m *media) remove(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes -= len(m.files[token].data)
	delete(m.files, token)
}

// mediaHosts names this server as the only place for files.
func (c *connection) mediaHosts(*waBinary.Node) ([]waBinary.Node, error) {
	return []waBinary.Node{{
		Tag:   "media_conn",
		Attrs: waBinary.Attrs{"auth": "wasim", "ttl": 3600, "auth_ttl": 3600, "max_buckets": 1},
		Content: []waBinary.Node{
			{Tag: "host", Attrs: waBinary.Attrs{"hostname": c.server.listener.Addr().String()}},
		},
	}}, nil
}

func (s *Server) mediaRefused(w http.ResponseWriter) bool {
	f, refused := s.faults.strikes(RefuseMedia, "", "")
	if refused {
		http.Error(w, "a fault refuses files", f.code(http.StatusForbidden))
	}
	return refused
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	if s.mediaRefused(w) {
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSealed))
	if err != nil {
		http.Error(w, "the file is too large or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	token := r.PathValue("token")
	if !s.media.put(token, file{data: data}) {
		http.Error(w, "no room for more files", http.StatusInsufficientStorage)
		return
	}
	s.counts.add("media.in", 1)
	path := directPath(token)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"url": "https://" + r.Host + path, "direct_path": path})
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	if s.mediaRefused(w) {
		return
	}
	f, known := s.look(r.PathValue("token"))
	if !known {
		http.NotFound(w, r)
		return
	}
	if f.gone != 0 {
		s.counts.add("media.gone", 1)
		http.Error(w, "the file is gone", f.gone)
		return
	}
	s.counts.add("media.out", 1)
	_, _ = w.Write(f.data)
}

func (s *Server) serveForget(_ http.ResponseWriter, r *http.Request) {
	s.media.remove(r.PathValue("token"))
}
