package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"code.dny.dev/ssrf"
	"github.com/sashabaranov/go-openai"
)

// Why we end an attempt ourselves: causes of its context.
var (
	errSilent = errors.New("nothing came in time")
	errLate   = errors.New("the attempt took too long")
)

// What go-openai would take for an answer.
var (
	errEmpty      = errors.New("empty answer")
	errNoAnswer   = errors.New("no answer in a successful response")
	errBadCall    = errors.New("a call of a tool that cannot be read")
	errNotInShape = errors.New("an answer that is not in the wanted form")
	errFiltered   = errors.New("finish_reason content_filter")
)

// failure is all we know about an attempt that brought no answer.
type failure struct {
	err   error  // what the client said
	cause error  // why we ended it; nil: we did not
	ended bool   // the caller's context is over
	begun bool   // part of an answer had come
	seen  *seen  // what came over the wire
	key   string // never to be shown
	class Class
	wrong errorBody
}

// errorBody is the error object of an OpenAI-compatible service. The services
// disagree on every type in it.
type errorBody struct {
	message string
	words   string // everything, in lower case, to look for signals in
	code    int    // a status written into the body
}

// readErrorBody finds the error in a body, if there is one.
func readErrorBody(body []byte) (errorBody, bool) {
	var outer struct {
		Error  json.RawMessage `json:"error"`
		Detail json.RawMessage `json:"detail"`
	}
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "[") { // Gemini wraps its errors in a list
		text = strings.Trim(text, "[]")
	}
	if json.Unmarshal([]byte(text), &outer) != nil {
		return errorBody{words: strings.ToLower(text)}, false
	}
	raw := slices.Concat(outer.Error, outer.Detail)
	if len(raw) == 0 || string(raw) == "null" {
		return errorBody{words: strings.ToLower(text)}, false
	}
	e := errorBody{words: strings.ToLower(text)}
	var message string
	var object struct {
		Message any `json:"message"`
		Code    any `json:"code"`
	}
	switch {
	case json.Unmarshal(raw, &message) == nil:
		e.message = message
	case json.Unmarshal(raw, &object) == nil:
		e.message, _ = object.Message.(string)
		if code, ok := object.Code.(float64); ok {
			e.code = int(code)
		}
	}
	return e, true
}

// classify settles what f was. Quota goes before rate limit before transient,
// and the credential before the model.
func (f *failure) classify() {
	f.wrong, _ = readErrorBody(f.seen.body)
	f.class = f.judge()
}

func (f *failure) judge() Class {
	status := f.seen.status
	switch {
	case f.ended:
		return ClassCanceled
	case status >= 400: // even when the rest of the body never came
		return classOfStatus(status, f.wrong.words)
	case errors.Is(f.err, errFiltered):
		return ClassFilter
	case f.cause != nil && !f.begun:
		return ClassFirstByte
	case f.cause != nil:
		return ClassStall
	case errors.Is(f.err, errRedirected):
		return ClassUnknown
	case status == 0:
		return f.classBeforeAnswer()
	}
	return f.classOfSuccess()
}

// classBeforeAnswer is for attempts that never saw a status line.
func (f *failure) classBeforeAnswer() Class {
	var sent *url.Error // what net/http returns once a request has left our hands
	if errors.As(f.err, &sent) {
		return ClassNetwork
	}
	return ClassClientBug
}

// classOfSuccess is for a 200 that holds no whole answer: an error in the body
// or in the stream, a cut, or nonsense.
func (f *failure) classOfSuccess() Class {
	words, code := f.wrong.words, f.wrong.code
	var event *openai.APIError
	if errors.As(f.err, &event) {
		words = strings.ToLower(fmt.Sprint(event.Message, " ", event.Type, " ", event.Code))
		f.wrong.message = event.Message
		code, _ = event.Code.(int)
	}
	if f.wrong.message != "" {
		if code < 400 || code > 599 {
			code = http.StatusBadRequest
		}
		if c := classOfStatus(code, words); c != ClassCaller && c != ClassUnknown {
			return c
		}
	}
	if f.nonsense() {
		return ClassMalformed
	}
	return ClassStreamCut
}

// nonsense says that what came cannot be read, rather than that it broke off.
func (f *failure) nonsense() bool {
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	return errors.As(f.err, &syntax) || errors.As(f.err, &shape) || errors.Is(f.err, errTooLong) ||
		f.slip() || errors.Is(f.err, errNoAnswer) || !f.begun && !f.seen.events
}

// Signals in the words of services, all in lower case.
var (
	quotaWords = []string{
		"insufficient_quota", "exceeded your current quota", "billing", "credit balance", "insufficient balance",
		"insufficient credit", "out of credit", "payment required",
	}
	soonWords       = []string{"retrydelay", "perminute", "per minute"} // a quota that fills again by itself
	credentialWords = []string{"invalid_api_key", "incorrect api key", "api key not valid", "invalid api key", "invalid_authentication"}
	regionWords     = []string{"unsupported_country_region_territory", "user location is not supported"}
	contextWords    = []string{
		"context_length_exceeded", "maximum context length", "context window", "context length", "prompt is too long",
		"input is too long", "too many tokens", "reduce the length",
	}
	filterWords = []string{"content_filter", "content_policy", "content policy", "policy violation", "policyviolation", "content management policy"}
	modelWords  = []string{"model_not_found", "decommissioned", "model not found", "unknown model", "no such model", "not a valid model", "model_not_available"}
	refuseWords = []string{"unsupported", "not support", "unrecognized", "unknown", "not permitted", "not allowed", "unexpected", "invalid"}
)

// parameters that a service may refuse and that we can leave out. The longer
// names come first: max_completion_tokens would match max_tokens never, but
// stream_options matches stream.
var parameters = []string{"stream_options", "response_format", "image_url", "tools", "temperature", "max_completion_tokens", "max_tokens"}

func has(words string, any []string) bool {
	return slices.ContainsFunc(any, func(w string) bool { return strings.Contains(words, w) })
}

func classOfStatus(status int, words string) Class {
	switch status {
	case http.StatusPaymentRequired:
		return ClassQuota
	case http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests:
		if has(words, quotaWords) && !has(words, soonWords) {
			return ClassQuota
		}
	}
	switch status {
	case http.StatusTooManyRequests:
		return ClassRateLimit
	case 500, 502, 503, 504, 520, 521, 522, 523, 524, 529, http.StatusRequestTimeout, http.StatusTooEarly:
		return ClassTransient
	case http.StatusRequestEntityTooLarge:
		return ClassContext
	case http.StatusGone:
		return ClassModel
	}
	if c := classOfWords(words); c != "" {
		return c
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ClassCredential
	case http.StatusNotFound:
		if strings.Contains(words, "model") {
			return ClassModel
		}
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return ClassCaller
	}
	return ClassUnknown
}

func classOfWords(words string) Class {
	switch {
	case has(words, regionWords):
		return ClassRegion
	case has(words, credentialWords):
		return ClassCredential
	case has(words, contextWords):
		return ClassContext
	case has(words, filterWords):
		return ClassFilter
	case has(words, modelWords):
		return ClassModel
	case refusedParameter(words) != "":
		return ClassUnsupported
	}
	return ""
}

// refusedParameter is the parameter that the words of a service name as unknown
// to it, or "".
func refusedParameter(words string) string {
	if !has(words, refuseWords) {
		return ""
	}
	for _, name := range parameters {
		if strings.Contains(words, name) {
			return name
		}
	}
	return ""
}

// unsent says that the provider never saw the request, so that it counts
// nowhere.
func (f *failure) unsent() bool {
	var dial *net.OpError
	var dns *net.DNSError
	return f.class == ClassClientBug || errors.As(f.err, &dns) || errors.As(f.err, &dial) && dial.Op == "dial"
}

// sentence explains f to people of the house.
func (f *failure) sentence(provider string) string {
	s := provider + " " + rules[f.class].says
	if f.seen.status >= 300 {
		s += fmt.Sprintf(" (HTTP %d)", f.seen.status)
	}
	if detail := f.detail(); detail != "" {
		s += ": " + redact(detail, f.key)
	}
	return s
}

func (f *failure) detail() string {
	var dns *net.DNSError
	var call *net.OpError
	switch {
	case f.wrong.message != "":
		return f.wrong.message
	case errors.Is(f.err, ssrf.ErrProhibitedIP), errors.Is(f.err, errForbidden):
		return "its address is not public; FRONTDESK_ALLOW_PRIVATE allows networks"
	case errors.As(f.err, &dns):
		return "no such host " + dns.Name
	case errors.As(f.err, &call) && call.Err != nil:
		return call.Err.Error()
	case f.class == ClassMalformed || f.class == ClassClientBug || errors.Is(f.err, errRedirected):
		return f.err.Error()
	}
	return ""
}

// secrets are keys as services like to quote them back, whole or in stars.
var secrets = regexp.MustCompile(`(?i)\b(?:(?:sk|pk|rk|key|gsk|xai)[-_]|aiza|bearer )[\w*.-]{6,}`)

// redact makes one short line of what a stranger wrote, without keys.
func redact(text, key string) string {
	if key != "" {
		text = strings.ReplaceAll(text, key, "[key]")
	}
	text = secrets.ReplaceAllString(text, "[key]")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}
