package conversation_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"frontdesk/conversation"
	"frontdesk/providers"
)

// prepared are flows that were started.
type prepared struct {
	started []conversation.FlowStart
	fails   error
}

func (p *prepared) Startable(context.Context, int64) ([]conversation.Flow, error) {
	return []conversation.Flow{{Name: "refund", Description: "Pays an order back.", Input: json.RawMessage(`{"type": "object", "required": ["order"]}`)}}, nil
}

func (p *prepared) Start(_ context.Context, s conversation.FlowStart) error {
	if s.Input == nil || s.Input.(map[string]any)["order"] == nil {
		return &conversation.FlowInputError{Says: "/body: missing property 'order'"}
	}
	p.started = append(p.started, s)
	return p.fails
}

func TestAModelStartsAFlowForTheCustomerWhoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prepared{}
		s := &script{lines: []providers.Answer{
			calls("start_flow", `{"flow": "refund"}`),
			calls("start_flow", `{"flow": "refund", "input": {"order": 17, "contact": 99}}`),
			calls("start_flow", `{"flow": "unknown", "input": {}}`),
			says("It is on its way"),
		}}
		_, results := performed(t, s, func(_ *desk, o *conversation.Options) {
			if o != nil {
				o.Flows = p
			}
		})
		if len(p.started) != 1 || p.started[0].Contact != 7 || p.started[0].Conversation != 1 || p.started[0].Key == "" || p.started[0].Flow != "refund" {
			t.Errorf("started %+v", p.started)
		}
		if len(results) != 3 || !strings.Contains(results[0], "missing property 'order'") || results[1] != "Started." || !strings.Contains(results[2], "not as they should be") {
			t.Errorf("the model read %q", results)
		}
		offered := false
		for _, tool := range s.asked[0].Tools {
			offered = offered || tool.Name == "start_flow" && strings.Contains(tool.Description, "refund: Pays an order back. Its input: ")
		}
		if !offered {
			t.Errorf("the model was offered %+v", s.asked[0].Tools)
		}
	})
}

func TestAFlowThatDoesNotStartIsAFailureOfTheTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prepared{fails: errors.New("no place")}
		s := &script{lines: []providers.Answer{calls("start_flow", `{"flow": "refund", "input": {"order": 17}}`), says("I am sorry")}}
		_, results := performed(t, s, func(_ *desk, o *conversation.Options) {
			if o != nil {
				o.Flows = p
			}
		})
		if len(results) != 1 || !strings.Contains(results[0], "no place") {
			t.Errorf("the model read %q", results)
		}
	})
}
