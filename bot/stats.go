package bot

import (
	"sync/atomic"

	"frontdesk/store"
)

// counts are what happened since the start of the process.
type counts struct {
	received, sent, failed, undecryptable, mediaBytes atomic.Int64
}

// Stats are the gauges and counters of this process's accounts.
type Stats struct {
	Accounts      map[store.Status]int
	Leases        int
	Subscribers   int   // of all topics (L6)
	LedgerEntries int   // of the send ledger (L3)
	LedgerPeople  int   // that it remembers (L2)
	MediaBytes    int64 // of files under way, either way (L29)
	Received      int64 // customers' messages stored
	Sent          int64 // bubbles that WhatsApp acknowledged
	Failed        int64 // bubbles given up
	Undecryptable int64 // messages whose sender was asked for another copy
}

// Stats are the numbers of this moment.
func (m *Manager) Stats() Stats {
	s := Stats{
		Accounts: map[store.Status]int{}, Received: m.counts.received.Load(), Sent: m.counts.sent.Load(),
		Failed: m.counts.failed.Load(), Undecryptable: m.counts.undecryptable.Load(),
	}
	s.Subscribers, s.MediaBytes = m.topics.count(), m.counts.mediaBytes.Load()
	s.LedgerEntries, s.LedgerPeople = m.ledger.stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Leases = len(m.instances)
	for _, i := range m.instances {
		s.Accounts[i.status()]++
	}
	return s
}

// ClientVersion is the version of WhatsApp's web client that this process claims
// to be.
func (m *Manager) ClientVersion() string { return m.version.String() }
