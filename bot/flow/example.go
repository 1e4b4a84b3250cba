package flow

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed examples/*.json
var examples embed.FS

// Example is a flow to begin with. Its account is 1; For gives it another.
type Example struct {
	Name       string
	Webhook    string // where the sandbox has it
	Definition json.RawMessage
}

// Examples are ready flows, which the sandbox runs.
func Examples() []Example {
	return []Example{
		example("demo", "test"), example("order-update", "order-update"), example("file-to-document", "file-to-document"), example("crm-event", "crm-event"),
	}
}

func example(name, webhook string) Example {
	text, err := examples.ReadFile("examples/" + name + ".json")
	if err != nil {
		panic(err) // it is part of the binary
	}
	return Example{name, webhook, text}
}

// For is the example's definition for an account.
func (e Example) For(account int64) json.RawMessage {
	return bytes.Replace(e.Definition, []byte(`"account": 1,`), fmt.Appendf(nil, `"account": %d,`, account), 1)
}
