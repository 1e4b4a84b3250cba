package wasim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/util/keys"
)

// saveAfter is how long changes are gathered before the file is written.
const saveAfter = 250 * time.Millisecond

// stateFile is what a server remembers across restarts, in one file.
type stateFile struct {
	writing sync.Mutex    // held while the file is written
	changed chan struct{} // holds one token while a change waits to be written
}

// entry is a phone's or customer's part of the file, kept so that only what
// changed is encoded again. Its owner's lock guards it.
type entry struct {
	text  json.RawMessage
	stale bool
}

// encode brings the entry up to date with state and returns it.
func (e *entry) encode(state any) (json.RawMessage, error) {
	if e.text != nil && !e.stale {
		return e.text, nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	e.text, e.stale = text, false
	return text, nil
}

// fileContent is the whole file.
type fileContent struct {
	Root      key                        `json:"root"`   // private
	Closed    bool                       `json:"closed"` // nothing happened after this was written
	Phones    map[string]json.RawMessage `json:"phones"`
	Customers map[string]json.RawMessage `json:"customers"`
}

// touch notes that the phone's entry is stale; mu is held.
func (p *Phone) touch() {
	p.saved.stale = true
	p.server.state.touch()
}

// touch notes that the customer's entry is stale; mu is held.
func (c *Customer) touch() {
	c.saved.stale = true
	c.server.state.touch()
}

func (f *stateFile) touch() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// keepSaving writes changes to the file until ctx ends.
func (s *Server) keepSaving(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.state.changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(saveAfter):
		}
		if err := s.save(); err != nil {
			s.log.Error("State not saved, trying again at the next change", "error", err)
		}
	}
}

// save writes all that is known to the file, whole or not at all. What was true
// when it was called is on disk when it returns.
func (s *Server) save() error {
	if s.options.StateFile == "" {
		return nil
	}
	s.state.writing.Lock()
	defer s.state.writing.Unlock()
	content, err := s.content()
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := replace(s.options.StateFile, content); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

func (s *Server) content() ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := fileContent{
		Root: *s.root.Priv, Closed: s.closed,
		Phones: map[string]json.RawMessage{}, Customers: map[string]json.RawMessage{},
	}
	var err error
	for number, p := range s.phones {
		if all.Phones[number], err = p.entry(); err != nil {
			return nil, err
		}
	}
	for number, c := range s.customers {
		if all.Customers[number], err = c.entry(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all)
}

func (p *Phone) entry() (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saved.encode(p.state)
}

func (c *Customer) entry() (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saved.encode(c.state)
}

// replace writes a file so that a crash leaves the old one or the new one.
func replace(path string, content []byte) error {
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(content)
	err = errors.Join(err, draft.Sync(), draft.Close())
	if err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}

// load reads the file, if there is one. After a crash the sessions in it may lie
// behind what was sent, and a ratchet that went back would be refused by the
// other side; so all parties forget theirs and begin anew.
func (s *Server) load() error {
	s.state.changed = make(chan struct{}, 1)
	if s.options.StateFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.options.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	var all fileContent
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&all); err != nil {
		return fmt.Errorf("the state file %s is damaged; delete it and pair its accounts again: %w", s.options.StateFile, err)
	}
	s.root = keys.NewKeyPairFromPrivateKey(all.Root)
	if err := s.restore(all); err != nil {
		return fmt.Errorf("the state file %s is damaged; delete it and pair its accounts again: %w", s.options.StateFile, err)
	}
	return nil
}

// restore makes the phones and customers of the file and queues what waited.
func (s *Server) restore(all fileContent) error {
	var waiting []*stanza
	for number, text := range all.Phones {
		p := s.Phone(number)
		if err := json.Unmarshal(text, &p.state); err != nil {
			return err
		}
		p.state.Keys.restored(all.Closed)
		waiting = append(waiting, claimed(p.state.Outbox, p)...)
	}
	for number, text := range all.Customers {
		c := s.Customer(number)
		if err := json.Unmarshal(text, &c.state); err != nil {
			return err
		}
		c.state.Keys.restored(all.Closed)
		waiting = append(waiting, claimed(c.state.Outbox, c)...)
	}
	slices.SortFunc(waiting, func(a, b *stanza) int { return int(a.Seq - b.Seq) })
	for _, st := range waiting {
		s.sequence.Store(st.Seq)
		s.Phone(st.Account).line.add(st)
	}
	return nil
}

// claimed gives restored stanzas their owner back.
func claimed(outbox []*stanza, by owner) []*stanza {
	for _, st := range outbox {
		st.owner = by
	}
	return outbox
}
