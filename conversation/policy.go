package conversation

import (
	"strings"
	"time"

	"frontdesk/store"
)

// tooOld is the age at which messages get no automatic answer any more: after an
// outage nobody wants a flood of late replies.
const tooOld = 6 * time.Hour

// unreadable is why a message that never could be decrypted is not answered.
const unreadable = "unreadable"

// skipReason says why the bot must stay silent, or "". The statement that claims
// a bubble for sending asks again whether the bot still has the conversation.
// Groups, broadcasts and channels never get this far: package bot ignores them.
func skipReason(now store.Turn) string {
	switch {
	case now.State == store.StateHuman:
		return "human"
	case now.State != store.StateBot:
		return string(now.State)
	case now.AccountPaused:
		return "paused"
	case now.Readable == 0:
		return unreadable
	case now.NewestAge > tooOld:
		return "too_old"
	}
	return ""
}

// Debounce is how long a message waits for a next one, given the account's usual
// wait: less after what reads as complete. A usual wait of 0 means none.
func Debounce(usual time.Duration, text string) time.Duration {
	if complete(strings.TrimSpace(text)) {
		return min(usual, completeWait)
	}
	return usual
}

const (
	completeWait = 1200 * time.Millisecond
	longSentence = 80 // characters
)

// complete says whether text reads as finished: a question, or a long sentence.
func complete(text string) bool {
	if strings.HasSuffix(text, "?") || strings.HasSuffix(text, "？") || strings.HasSuffix(text, "؟") {
		return true
	}
	ends := strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "。")
	return ends && len([]rune(text)) >= longSentence
}
