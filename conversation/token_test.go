package conversation

import (
	"strings"
	"testing"
)

func TestTokensAreCountedInSlicesAndVeryLongTextsEstimated(t *testing.T) {
	t.Parallel()
	english := strings.Repeat("We open at nine on weekdays and close at six in the evening. ", 100)
	if exact, got := count(english)*11/10+lineTokens, tokens(english); got < exact || got > exact*105/100 {
		t.Errorf("%d tokens counted, %d in one piece", got, exact)
	}
	for name, text := range map[string]string{ // each takes minutes if it is counted in one piece
		"space": strings.Repeat(" \n", 500_000), "one word": strings.Repeat("x", 1_000_000), "no word": strings.Repeat("é", 400_000),
	} {
		if n := tokens(text); n < len(text)/8 || n > len(text)*11/10+lineTokens {
			t.Errorf("%s: %d tokens in %d bytes", name, n, len(text))
		}
	}
}
