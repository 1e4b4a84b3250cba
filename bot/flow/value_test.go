package flow

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeKeepsNumbersAndTakesOneValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		` {"id": 9007199254740993, "list": [1.0, null, true, "x"]} `: `{"id":9007199254740993,"list":[1.0,null,true,"x"]}`,
		`null`:                          `null`,
		`-0.10`:                         `-0.10`,
		`1.5e3`:                         `1500`,
		`1e-9999`:                       `0`,
		`[{"n": 1e-300}]`:               `[{"n":1e-300}]`,
		"1." + strings.Repeat("3", 100): `1.3333333333333333`,
		"1" + strings.Repeat("0", 200):  `1e+200`,
	} {
		value, err := decode([]byte(text))
		again, _ := json.Marshal(value)
		if err != nil || string(again) != want {
			t.Errorf("%s became %s, %v; want %s", text, again, err, want)
		}
	}
	for _, no := range []string{"", " ", "{", "{} {}", "{}}", "1 x", "[1e400]", `{"a": -1e999}`, strings.Repeat("9", 400), "\u00a0", "nul"} {
		if value, err := decode([]byte(no)); err == nil {
			t.Errorf("%s became %v", no, value)
		}
	}
}
