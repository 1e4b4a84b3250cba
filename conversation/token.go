package conversation

import (
	"strings"
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

// What of a text is counted. The codec takes time with the square of a text's length
// if somebody wants it to, so it gets slices, and very long texts are estimated: four
// bytes a token.
const (
	countedSlice = 1 << 10
	countedMost  = 32 << 10
)

// tokens is how many tokens a text has for a model, and a tenth more.
func tokens(text string) int {
	n := 0
	if len(text) > countedMost {
		n, text = (len(text)-countedMost)/4, text[:countedMost]
	}
	for len(text) > 0 {
		slice := text[:min(countedSlice, len(text))]
		if at := strings.LastIndexByte(slice, ' '); at > countedSlice/2 && len(slice) < len(text) {
			slice = slice[:at]
		}
		n, text = n+count(slice), text[len(slice):]
	}
	return n*11/10 + lineTokens
}

func count(text string) int {
	n, err := codec().Count(text)
	if err != nil {
		return len(text) // more than there can be
	}
	return n
}
