package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"frontdesk/store"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// library holds flows. *store.Store is the real one.
type library interface {
	Flows(ctx context.Context) ([]store.Flow, error)
	FlowsMark(ctx context.Context) (string, error)
	Flow(ctx context.Context, id int64) (store.Flow, error)
	FlowNamed(ctx context.Context, name string) (store.Flow, error)
	FlowVersion(ctx context.Context, id int64, version int) (store.Flow, error)
}

// mostShelved is how many definitions are kept ready; beyond, all are read again.
const mostShelved = 500

// shelf keeps definitions ready: a version never changes. Active flows are read anew
// when one of them has changed.
type shelf struct {
	mu    sync.Mutex
	ready map[version]prepared // guarded by mu

	reading sync.Mutex // held while active flows are read
	active  []active   // guarded by reading
	mark    string     // of the flows when active was read; guarded by reading
}

type version struct {
	flow   int64
	number int
}

// prepared is a definition with the schema of its input, if it has one.
type prepared struct {
	Definition

	input *jsonschema.Schema
}

// active is a flow that may be started.
type active struct {
	store.Flow

	d prepared
}

// definition is one version of a flow.
func (e *Engine) definition(ctx context.Context, flow int64, number int) (prepared, error) {
	e.shelf.mu.Lock()
	d, known := e.shelf.ready[version{flow, number}]
	e.shelf.mu.Unlock()
	if known {
		return d, nil
	}
	f, err := e.store.FlowVersion(ctx, flow, number)
	if err != nil {
		return d, err
	}
	return e.shelf.put(f)
}

// put reads a definition that was checked when it was stored.
func (s *shelf) put(f store.Flow) (prepared, error) {
	var d prepared
	if err := json.Unmarshal(f.Definition, &d.Definition); err != nil {
		return d, fmt.Errorf("read flow %s: %w", f.Name, err)
	}
	if len(d.Trigger.Input) > 0 {
		var err error
		if d.input, err = compile(d.Trigger.Input); err != nil {
			return d, fmt.Errorf("read flow %s: %w", f.Name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil || len(s.ready) >= mostShelved {
		s.ready = map[version]prepared{}
	}
	s.ready[version{f.ID, f.Version}] = d
	return d, nil
}

// activeFlows are the flows of the given triggers that may be started at this moment.
// Whoever asks while they are read waits for that.
func (e *Engine) activeFlows(ctx context.Context, triggers ...string) (some []active, err error) {
	e.shelf.reading.Lock()
	defer e.shelf.reading.Unlock()
	mark, err := e.store.FlowsMark(ctx)
	if err != nil {
		return nil, err
	}
	if e.shelf.mark != mark {
		all, err := e.readActive(ctx)
		if err != nil {
			return nil, err
		}
		e.shelf.active, e.shelf.mark = all, mark // what changed meanwhile has another mark
	}
	for _, a := range e.shelf.active {
		if slices.Contains(triggers, a.d.Trigger.Type) {
			some = append(some, a)
		}
	}
	return some, nil
}

// readActive reads all active flows. One that cannot be read stops no other.
func (e *Engine) readActive(ctx context.Context) (all []active, err error) {
	flows, err := e.store.Flows(ctx)
	for _, f := range flows {
		if !f.IsActive {
			continue
		}
		d, err := e.shelf.put(f)
		if err != nil {
			e.log.ErrorContext(ctx, "Flow cannot be read, nothing starts it; put it again", slog.String("flow", f.Name), slog.Any("error", err))
			continue
		}
		all = append(all, active{f, d})
	}
	return all, err
}

// Version is one version of a flow, or store.ErrNotFound.
func (e *Engine) Version(ctx context.Context, flow int64, number int) (Definition, error) {
	d, err := e.definition(ctx, flow, number)
	return d.Definition, err
}
