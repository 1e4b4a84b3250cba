package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// mostDigits is how long a number may be that is kept as it stands. Longer ones are as
// exact as a float64 is: Postgres would write 1e-9999 with all its zeros.
const mostDigits = 100

// decode reads JSON: one value, with nothing behind it. Its numbers are json.Number, so
// that none is altered on its way.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON value")
	}
	return value, boundNumbers(&value)
}

// boundNumbers shortens the numbers of a value where they are longer than all reason. It
// refuses those that are too large for a float64.
func boundNumbers(value *any) (err error) {
	switch v := (*value).(type) {
	case json.Number:
		*value, err = bound(v)
	case []any:
		for i := range v {
			if err := boundNumbers(&v[i]); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, one := range v {
			if err := boundNumbers(&one); err != nil {
				return err
			}
			v[name] = one
		}
	}
	return err
}

func bound(n json.Number) (json.Number, error) {
	if isPlain(n.String()) {
		return n, nil
	}
	f, err := n.Float64()
	if err != nil {
		return n, errors.New("a number is too large")
	}
	text, err := json.Marshal(f)
	return json.Number(text), err
}

// isPlain says that a number is digits with a point at most, and not too many.
func isPlain(number string) bool {
	return len(number) <= mostDigits && !strings.ContainsAny(number, "eExXpP_")
}

// exact is the value of a number of JSON, whose digits are not lost.
func exact(value any) (n *big.Rat, is bool) {
	switch v := value.(type) {
	case float64:
		return ofFloat(v)
	case json.Number:
		return exactly(v.String())
	}
	return nil, false
}

// exactly is the value of a number that is written down.
func exactly(text string) (n *big.Rat, is bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, false
	}
	if !isPlain(text) {
		return ofFloat(f)
	}
	return new(big.Rat).SetString(text)
}

func ofFloat(f float64) (n *big.Rat, is bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	return new(big.Rat).SetFloat64(f), true
}

// same compares values of JSON, and numbers by what they are worth: 1 is 1.0.
func same(a, b any) bool {
	if x, is := exact(a); is {
		y, too := exact(b)
		return too && x.Cmp(y) == 0
	}
	switch a := a.(type) {
	case []any:
		b, is := b.([]any)
		return is && slices.EqualFunc(a, b, same)
	case map[string]any:
		b, is := b.(map[string]any)
		return is && maps.EqualFunc(a, b, same)
	}
	return reflect.DeepEqual(a, b)
}
