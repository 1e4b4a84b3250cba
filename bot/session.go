package bot

import (
	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/whatsmeow/store"
)

// mostArchived is how many former sessions with a person are kept (libsignal).
const mostArchived = 40

// mended is a session record after a decryption, with its archive put right.
// libsignal tries a message on one session after another and changes each of them
// on the way, even those it does not belong to; it also archives a session anew
// each time another takes its place. When both sides began to write at once, both
// sessions are in use, and soon neither can be read. So only the session that
// opened the message is taken from after; all others stay as they were before.
func mended(before, after []byte) []byte {
	sessions := store.SignalProtobufSerializer.Session
	old, err := sessions.Deserialize(before)
	if err != nil {
		return after
	}
	changed, err := sessions.Deserialize(after)
	if err != nil || len(changed.PreviousStates) == 0 {
		return after
	}
	changed.PreviousStates = archive(old, string(changed.SessionState.SenderBaseKey))
	return sessions.Serialize(changed)
}

// archive lists the sessions of a record except the current one, each once, the
// newest first.
func archive(old *record.SessionStructure, current string) []*record.StateStructure {
	var kept []*record.StateStructure
	seen := map[string]bool{current: true}
	for _, s := range append([]*record.StateStructure{old.SessionState}, old.PreviousStates...) {
		if s == nil || s.SenderChain == nil || seen[string(s.SenderBaseKey)] || len(kept) == mostArchived {
			continue
		}
		seen[string(s.SenderBaseKey)] = true
		kept = append(kept, s)
	}
	return kept
}
