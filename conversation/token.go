package conversation

import (
	"sync"

	"github.com/tiktoken-go/tokenizer"
)

// lineTokens is what the frame of a message costs beside its words.
const lineTokens = 4

// codec counts as the newer models of OpenAI do. Others cut words differently; the
// tenth that tokens adds is for them (conversation.md).
var codec = sync.OnceValue(func() tokenizer.Codec {
	c, err := tokenizer.Get(tokenizer.O200kBase)
	if err != nil {
		panic(err) // it is part of the library
	}
	return c
})

// tokens is how many tokens a text has for a model, and a tenth more.
func tokens(text string) int {
	n, err := codec().Count(text)
	if err != nil {
		n = len(text) // more than there can be
	}
	return n*11/10 + lineTokens
}
