package store

import (
	"math"
	"strings"
)

// clean is text as Postgres takes it: valid UTF-8 without NUL. What strangers send is
// neither by itself, and a message that cannot be stored would come again for ever.
func clean(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// Clean is a value as it can be kept, made of what strangers sent. It is for those who
// write JSON before they hand it over.
func Clean(value any) any { return cleanAll(value) }

// cleanAll is a value that JSON and Postgres take, made of what strangers sent.
func cleanAll(value any) any {
	switch v := value.(type) {
	case string:
		return clean(v)
	case []string:
		out := make([]string, len(v))
		for i, text := range v {
			out[i] = clean(text)
		}
		return out
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0.0
		}
	case []any:
		out := make([]any, len(v))
		for i, part := range v {
			out[i] = cleanAll(part)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, part := range v {
			out[clean(key)] = cleanAll(part)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, part := range v {
			out[i] = cleanAll(part)
		}
		return out
	}
	return value
}

// clamped is a number of a stranger as Postgres' integer takes it.
func clamped(n int) int { return max(0, min(n, math.MaxInt32)) }
