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
	maxFile  = 16 << 20
	maxFiles = 64 << 20
)

// media holds uploaded files, encrypted as they came.
type media struct {
	mu    sync.Mutex
	files map[string][]byte // by token; guarded by mu
	bytes int               // of all files; guarded by mu
}

func (m *media) put(token string, file []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+len(file)-len(m.files[token]) > maxFiles {
		return false
	}
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.bytes += len(file) - len(m.files[token])
	m.files[token] = file
	return true
}

func (m *media) get(token string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	file, known := m.files[token]
	return file, known
}

func (m *media) remove(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes -= len(m.files[token])
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
	file, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFile))
	if err != nil {
		http.Error(w, "the file is too large or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	token := r.PathValue("token")
	if !s.media.put(token, file) {
		http.Error(w, "no room for more files", http.StatusInsufficientStorage)
		return
	}
	s.counts.add("media.in", 1)
	path := "/media/" + token + "?kept=memory"
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"url": "https://" + r.Host + path, "direct_path": path})
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	if s.mediaRefused(w) {
		return
	}
	file, known := s.media.get(r.PathValue("token"))
	if !known {
		http.NotFound(w, r)
		return
	}
	s.counts.add("media.out", 1)
	_, _ = w.Write(file)
}

func (s *Server) serveForget(_ http.ResponseWriter, r *http.Request) {
	s.media.remove(r.PathValue("token"))
}
