package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"frontdesk/store"
)

func TestTurnOfThePastHoldsNothingOfWhatCameLater(t *testing.T) {
	d := newDesk(t)
	var id int64
	for n, text := range []string{"a table?", "for four", "and parking?", "thanks"} {
		in := d.from(number, hidden, fmt.Sprint(n+1))
		in.Body = text
		id = d.take(t, in).ConversationID
		if n == 1 {
			d.answer(t, id, 0, 2, false)
		}
	}
	d.answer(t, id, 2, 4, false)
	must(t, d.Summarize(t.Context(), id, 2, "wants a table"))
	now, err := d.TurnAt(t.Context(), id, 4)
	must(t, err)
	if now.LastSeq != 4 || now.AnsweredSeq != 2 || len(now.Lines) != 6 || now.Summary != "wants a table" || now.State != store.StateBot {
		t.Errorf("the turn of message 4: %+v", now)
	}
	now, err = d.TurnAt(t.Context(), id, 2)
	must(t, err)
	if now.LastSeq != 2 || now.AnsweredSeq != 0 || len(now.Lines) != 2 || now.Lines[1].Body != "for four" || now.Summary != "" || !now.Now.Equal(now.Lines[1].At) {
		t.Errorf("the turn of message 2: %+v", now)
	}
	if _, err := d.TurnAt(t.Context(), id, 5); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the turn of a message that never came: %v", err)
	}
	said, err := d.Answered(t.Context(), d.account, 0, time.Now().Add(-time.Hour), 10)
	must(t, err)
	if len(said) != 2 || said[0].Seq != 4 || said[1].Seq != 2 || said[0].Said != "one\n\ntwo" {
		t.Errorf("answered %+v", said)
	}
	for n := range 3 { // conversations that people have answer nothing
		d.take(t, d.from(fmt.Sprint(12025550160+n), "", fmt.Sprint("quiet ", n)))
	}
	if one, err := d.Answered(t.Context(), d.account, 0, time.Now().Add(-time.Hour), 1); err != nil || len(one) != 1 || one[0].Seq != 4 {
		t.Errorf("the newest answer is %+v, %v", one, err)
	}
	if later, err := d.Answered(t.Context(), d.account, id, time.Now().Add(time.Hour), 10); err != nil || len(later) != 0 {
		t.Errorf("answered in the future: %+v, %v", later, err)
	}
}
