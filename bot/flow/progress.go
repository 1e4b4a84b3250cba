package flow

import (
	"io"
	"time"
)

// progressEvery is how often an execution says how far its step has come, at most.
const progressEvery = 250 * time.Millisecond

// Progress is how far a step has come that is under way: how much of a text a model has
// written, or of an answer or a file has been read. It holds nothing of either.
type Progress struct {
	ExecutionID    int64
	FlowID         int64
	Flow           string
	AccountID      *int64
	ConversationID *int64
	Test           bool
	Step           ProgressStep
	Done           int
	Unit           string // characters or bytes
}

// ProgressStep names the step, as its other events do.
type ProgressStep struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Position int    `json:"position"`
}

// progress returns what a step tells how far it has come.
func (r *run) progress(s Step, unit string) func(done int) {
	p := Progress{
		ExecutionID: r.x.ID, FlowID: r.x.FlowID, Flow: r.x.Flow, AccountID: r.x.AccountID, ConversationID: r.x.ConversationID, Test: r.x.Test != "",
		Step: ProgressStep{s.ID, s.Type, r.x.Step}, Unit: unit,
	}
	return func(done int) {
		if time.Since(r.told) < progressEvery {
			return
		}
		r.told = time.Now()
		p.Done = done
		r.e.o.Progress(p)
	}
}

// counted tells how much of a body has been read.
type counted struct {
	io.Reader
	read int
	tell func(int)
}

func (r *run) counted(s Step, body io.Reader) io.Reader {
	return &counted{Reader: body, tell: r.progress(s, "bytes")}
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	c.tell(c.read)
	return n, err
}
