package web_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/bot/live"
	"frontdesk/bot/web"
	"frontdesk/providers"
	"frontdesk/store"
)

// mute is a model that never answers.
type mute struct{}

func (mute) Chat(context.Context, providers.Request) (providers.Answer, error) {
	return providers.Answer{}, errors.New("nobody is there")
}

// withFlows is a house that runs flows, with one account.
func withFlows(t *testing.T) *house {
	t.Helper()
	h := newHouse(t, func(o *web.Options) {
		s := o.Store.(*gate).Store //nolint:forcetypeassert // newHouse put it there
		p := store.Process{ID: "web", Kind: store.KindWhatsApp, Cap: 100}
		_, err := s.RenewLeases(t.Context(), p, time.Hour)
		must(t, err)
		e := flow.New(flow.Options{Store: s, Process: p, AI: mute{}, Lease: time.Hour})
		must(t, e.Start(t.Context()))
		t.Cleanup(func() { must(t, e.Close(context.Background())) })
		o.Engine, o.PublicURL = e, "https://desk.example"
	})
	h.paired("12025550111")
	return h
}

// post sends a form and wants that status.
func (h *house) post(c *http.Client, path string, status int, fields ...string) string {
	h.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	a := h.visit(c, http.MethodPost, path, form.Encode())
	if a.status != status {
		h.t.Fatalf("%s answered %d, want %d: %s", path, a.status, status, a.body)
	}
	if a.body == "" || status == http.StatusSeeOther {
		return a.header.Get("Location")
	}
	return a.body
}

// put stores a flow by the form for new ones and returns its page.
func (h *house) put(c *http.Client, definition string) string {
	h.t.Helper()
	page, _, _ := strings.Cut(h.post(c, "/flows", http.StatusSeeOther, "definition", definition), "?")
	return page
}

// greeting is a flow without an account: it says hello to whoever calls.
const greeting = `{"name": "greeting", "trigger": {"type": "webhook"}, "steps": [
	{"id": "hello", "type": "text", "text": "Hello {{trigger.body.name}}"},
	{"id": "answer", "type": "respond", "body": {"said": "{{steps.hello.text}}"}}]}`

// eventually asks for a page until it says something.
func (h *house) eventually(c *http.Client, path, words string) string {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		page := h.page(c, path, http.StatusOK)
		if strings.Contains(page, words) {
			return page
		}
		if time.Now().After(end) {
			h.t.Fatalf("%s does not say %q: %s", path, words, page)
		}
	}
}

func TestWrongFlowIsKeptAsTypedWithAPointerForEachProblem(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	for name, wrong := range map[string]struct{ definition, pointer, says string }{
		"no JSON":          {"{\n\"name\": \"greeting\",,}", "line 2", "it is no JSON"},
		"no such field":    {strings.Replace(greeting, `"text": "Hello`, `"words": "Hello`, 1), "/steps/0", "words"},
		"no such step":     {strings.Replace(greeting, "steps.hello", "steps.hallo", 1), "/steps/1/body/said", "no step before this one"},
		"no such account":  {strings.Replace(greeting, `"trigger"`, `"account": 77, "trigger"`, 1), "/account", "there is no account 77"},
		"no such filter":   {strings.Replace(greeting, "body.name", "body.name | shout", 1), "/steps/0/text", "shout"},
		"the second line":  {strings.Replace(greeting, "body.name", "body.name | shout", 1), "line 2", "shout"},
		"nothing was said": {`"greeting"`, "nothing was saved", "object"},
	} {
		page := h.post(c, "/flows", http.StatusUnprocessableEntity, "definition", wrong.definition)
		contains(t, page, wrong.pointer, wrong.says, "not right", strings.ReplaceAll(wrong.definition, `"`, "&#34;"))
		if t.Failed() {
			t.Fatal(name)
		}
	}
	contains(t, h.post(c, "/flows", http.StatusOK, "definition", greeting, "check", "on"), "Nothing is wrong with it", "Hello {{trigger.body.name}}")
	if flows, err := h.store.Flows(t.Context()); err != nil || len(flows) != 0 {
		t.Errorf("%d flows are stored: %v", len(flows), err)
	}
	page := h.put(c, greeting)
	contains(t, h.page(c, page, http.StatusOK), "greeting", "Version 1", "Another system calls its address")
	contains(t, h.post(c, "/flows", http.StatusUnprocessableEntity, "definition", greeting), "/name", "there is a flow of this name")
}

func TestExamplesFillTheFormForAnAccountThatIsThereUnderAFreeName(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	for _, e := range flow.Examples() {
		page := h.page(c, "/flows?example="+e.Name, http.StatusOK)
		text := typedDefinition(t, page)
		contains(t, h.post(c, "/flows", http.StatusOK, "definition", text, "check", "on"), "Nothing is wrong with it")
		h.put(c, text)
		contains(t, typedDefinition(t, h.page(c, "/flows?example="+e.Name, http.StatusOK)), fmt.Sprintf(`"name": %q`, e.Name+"-2"))
	}
	contains(t, h.page(c, "/flows", http.StatusOK), "order-update", "by POST and waits for the result", "if its condition holds", "never executed")
	h.page(c, "/flows?example=unheard-of", http.StatusNotFound)
}

var textarea = regexp.MustCompile(`(?s)<textarea[^>]*name="definition"[^>]*>(.*?)</textarea>`)

// typedDefinition is what stands in the form of a page.
func typedDefinition(t *testing.T, page string) string {
	t.Helper()
	found := textarea.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page has no definition: %s", page)
	}
	return strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(found[1])
}

func TestSavingMakesANewVersionAndAnOldOneCanBePutAgain(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	first := h.page(c, page, http.StatusOK)
	text := typedDefinition(t, first)
	again := h.post(c, page, http.StatusSeeOther, "definition", text, "version", "1")
	contains(t, h.page(c, again, http.StatusOK), "Saved as version 1.", "Version 1, by console") // the same definition is no new version
	polite := strings.Replace(text, "Hello", "Good day,", 1)
	contains(t, h.post(c, page, http.StatusOK, "definition", polite, "version", "1", "check", "on"), "Saving makes it version 2", "Good day,")
	h.post(c, page, http.StatusSeeOther, "definition", polite, "version", "1")
	contains(t, h.page(c, page, http.StatusOK), "Version 2, by console", "Good day,")

	contains(t, h.page(c, page+"/versions/1", http.StatusOK), "Hello {{trigger.body.name}}", "Put this version again")
	lacks(t, h.page(c, page+"/versions/2", http.StatusOK), "Put this version again")
	h.page(c, page+"/versions/9", http.StatusNotFound)
	h.post(c, page+"/versions/1", http.StatusSeeOther)
	contains(t, h.page(c, page, http.StatusOK), "Version 3, by console", "Hello {{trigger.body.name}}")
}

func TestDefinitionIsNotSavedOverANewerOneUnseenNorUnderAnotherName(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	theirs, mine := strings.Replace(greeting, "Hello", "Welcome", 1), strings.Replace(greeting, "Hello", "Hi", 1)
	h.post(c, page, http.StatusSeeOther, "definition", theirs, "version", "1")
	contains(t, h.post(c, page, http.StatusUnprocessableEntity, "definition", mine, "version", "1"), "Version 2 was saved since", "Hi {{trigger.body.name}}", `name="version" value="2"`)
	h.post(c, page, http.StatusSeeOther, "definition", mine, "version", "2")
	contains(t, h.page(c, page, http.StatusOK), "Version 3", "Hi {{trigger.body.name}}")
	renamed := strings.Replace(mine, `"greeting"`, `"farewell"`, 1)
	contains(t, h.post(c, page, http.StatusUnprocessableEntity, "definition", renamed, "version", "3"), "/name", "a flow keeps its name")
	if flows, err := h.store.Flows(t.Context()); err != nil || len(flows) != 1 {
		t.Errorf("%d flows are stored: %v", len(flows), err)
	}
}

func TestFlowIsSwitchedOffAndOnAndRemoved(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	h.post(c, page+"/off", http.StatusSeeOther)
	contains(t, h.page(c, page, http.StatusOK), "Nothing starts it while it is off", "Switch on", "Switch it on to try it")
	contains(t, h.post(c, page+"/try", http.StatusConflict, "input", `{"name": "Ana"}`), "switched off")
	h.post(c, page+"/on", http.StatusSeeOther)
	lacks(t, h.page(c, page, http.StatusOK), "Nothing starts it")
	h.post(c, page+"/sideways", http.StatusNotFound)
	if to := h.post(c, page+"/remove", http.StatusSeeOther); to != "/flows" {
		t.Errorf("removing leads to %q", to)
	}
	h.page(c, page, http.StatusNotFound)
	contains(t, h.page(c, "/flows", http.StatusOK), "No flow yet")
}

func TestTriedFlowShowsItsStepsUntilItHasEndedAndSendsNothing(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, typedDefinition(t, h.page(c, "/flows?example=order-update", http.StatusOK)))
	suggested := h.page(c, page, http.StatusOK)
	contains(t, suggested, "+12025550123", "&#34;status&#34;: &#34;sent&#34;") // what its condition and its schema want
	input := `{"phone": "+12025550123", "name": "Ana", "order": "A 7", "status": "ready"}`
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+page+"/try", strings.NewReader(url.Values{"input": {input}}.Encode()))
	must(t, err)
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.Header.Set("Hx-Request", "true")
	a := h.do(c, q)
	if a.status != http.StatusOK || strings.Contains(a.body, "<html") {
		t.Fatalf("trying answered %d: %s", a.status, a.body)
	}
	contains(t, a.body, "told", "known", "answer", "Execution 1")
	part := h.eventually(c, "/executions/1/live?inside=on", "It is done.")
	contains(t, part, "Hello Ana! Your order A 7 is ready.", "What the caller got")
	lacks(t, part, "hx-trigger", "data-room") // nothing more happens, so nobody asks any more
	if n := len(h.queued()); n != 0 {
		t.Errorf("a test queued %d messages", n)
	}

	lone := h.post(c, page+"/try", http.StatusSeeOther, "input", input) // without htmx it leads to the execution
	h.eventually(c, lone, "It is done.")
	for name, wrong := range map[string]struct{ input, says string }{
		"no JSON": {"{", "The input is no JSON"}, "not as the schema says": {`{"phone": "1"}`, "not as the flow wants it"}, "nobody": {`{"phone": "x", "order": 1, "status": "sent"}`, "whom"},
	} {
		if body := h.post(c, page+"/try", http.StatusUnprocessableEntity, "input", wrong.input); !strings.Contains(body, wrong.says) {
			t.Errorf("%s: the page says %s", name, body)
		}
	}
	unmet := h.post(c, page+"/try", http.StatusSeeOther, "input", strings.Replace(input, "ready", "paid", 1))
	lacks(t, h.eventually(c, unmet, "The condition of its trigger did not hold"), "Run again")
}

// queued are all messages that were ever queued.
func (h *house) queued() (all []store.ChatMessage) {
	h.t.Helper()
	found, err := h.store.Conversations(h.t.Context(), 0, 0, store.Page{Limit: 100})
	must(h.t, err)
	for _, c := range found {
		messages, err := h.store.Messages(h.t.Context(), c.ID, store.MessagePage{Limit: 100})
		must(h.t, err)
		all = append(all, messages...)
	}
	return all
}

func TestFlowOfAMessageIsTriedWithWhatTheMessageSays(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, `{"name": "echo", "trigger": {"type": "message"}, "steps": [{"id": "said", "type": "text", "text": "{{trigger.text}}, {{trigger.type}}"}]}`)
	contains(t, h.page(c, page, http.StatusOK), "What the trigger says", "&#34;text&#34;: ")
	at := h.post(c, page+"/try", http.StatusSeeOther, "input", `{"text": "Any news?", "type": "webhook"}`)
	contains(t, h.eventually(c, at, "It is done."), "Any news?, message")
}

func TestAddressShowsItsMadeSecretOnceAndKeepsTheOldOneGoodUntilItIsForgotten(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	open := h.post(c, page+"/addresses", http.StatusSeeOther, "label", "Anybody", "auth", "none")
	if open != page+"#addresses" {
		t.Errorf("making one leads to %q", open)
	}
	contains(t, h.page(c, page, http.StatusOK), "Anybody", "https://desk.example/webhook/", "By knowing the address", "curl -X POST &#39;https://desk.example/webhook/", "Hello", "name&#34;: &#34;Ana")

	made := h.post(c, page+"/addresses", http.StatusOK, "label", "Shop", "auth", "standard", "quota", "500")
	contains(t, made, "shown this once", "up to 500 signed requests in a minute")
	secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`).FindString(strings.ReplaceAll(made, "&#43;", "+"))
	if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil || len(key) != 32 {
		t.Fatalf("made the secret %q: %v", secret, err)
	}
	lacks(t, h.page(c, page, http.StatusOK), secret)
	hooks, err := h.store.Webhooks(t.Context(), 1)
	must(t, err)
	shop := hooks[1]
	if open, err := h.store.WebhookSecrets(shop); err != nil || len(open) != 1 || open[0] != secret || *shop.Quota != 500 || shop.Label != "Shop" {
		t.Fatalf("stored %+v with %q: %v", shop, open, err)
	}

	at := page + "/addresses/" + shop.ID
	h.post(c, at+"/change", http.StatusSeeOther, "label", "Our shop", "auth", "standard")
	shop, err = h.store.Webhook(t.Context(), shop.ID)
	must(t, err)
	if shop.Label != "Our shop" || shop.Quota != nil || shop.OldSecret != nil {
		t.Errorf("after a change without a secret: %+v", shop)
	}
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret of this test"))
	h.post(c, at+"/change", http.StatusSeeOther, "auth", "standard", "secret", other)
	contains(t, h.page(c, page, http.StatusOK), "Forget the old secret")
	h.post(c, at+"/forget", http.StatusSeeOther)
	shop, err = h.store.Webhook(t.Context(), shop.ID)
	must(t, err)
	if open, err := h.store.WebhookSecrets(shop); err != nil || len(open) != 1 || open[0] != other {
		t.Errorf("the secrets are %q: %v", open, err)
	}
	h.post(c, at+"/remove", http.StatusSeeOther)
	lacks(t, h.page(c, page, http.StatusOK), shop.ID)
	h.post(c, at+"/remove", http.StatusNotFound)
	h.post(c, "/flows/99/addresses/"+hooks[0].ID+"/remove", http.StatusNotFound) // of another flow
}

func TestWrongAddressIsRefusedWithAReasonAndKeptAsTyped(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	for says, fields := range map[string][]string{
		"Choose how":                    {"auth", "handshake"},
		"NAME:PASSWORD":                 {"auth", "basic"},
		"typed as NAME":                 {"auth", "basic", "secret", "sesame"},
		"Stripe shows it":               {"auth", "stripe"},
		"where the signature stands":    {"auth", "hmac"},
		"whsec_ and base64":             {"auth", "standard", "secret", "???"},
		"a number from 1 to 100000":     {"auth", "none", "quota", "many"},
		"at most 100 characters":        {"auth", "none", "header", strings.Repeat("x", 101)},
		"has at most 4000 characters":   {"auth", "bearer", "secret", strings.Repeat("x", 4001)},
		"Signed requests in a minute a": {"auth", "none", "quota", "0"},
	} {
		contains(t, h.post(c, page+"/addresses", http.StatusUnprocessableEntity, append(fields, "label", "Typed with care")...), says, "Typed with care")
	}
	if hooks, err := h.store.Webhooks(t.Context(), 0); err != nil || len(hooks) != 0 {
		t.Errorf("%d addresses were made: %v", len(hooks), err)
	}
}

func TestCommandToCallAnAddressFitsTheWayItsCallersProveThemselves(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	for auth, want := range map[string]string{
		"bearer": "-H &#39;Authorization: Bearer SECRET&#39;", "basic": "-u &#39;NAME:PASSWORD&#39;",
		"github": "X-Hub-Signature-256: sha256=$(printf %s", "hmac": "X-Shop: sha256=$(printf %s",
	} {
		h.post(c, page+"/addresses", map[bool]int{true: http.StatusSeeOther, false: http.StatusOK}[auth == "basic"], "auth", auth, "header", "X-Shop",
			"secret", map[string]string{"basic": "me:sesame"}[auth])
		contains(t, h.page(c, page, http.StatusOK), want)
	}
	before := strings.Count(h.page(c, page, http.StatusOK), "Call it from a terminal")
	h.post(c, page+"/addresses", http.StatusSeeOther, "auth", "stripe", "secret", "whsec_stripe")
	if after := strings.Count(h.page(c, page, http.StatusOK), "Call it from a terminal"); before != 4 || after != before {
		t.Errorf("%d commands, then %d", before, after)
	}
}

func TestSecretsAreKeptAndForgottenButNeverShown(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	contains(t, h.post(c, "/secrets", http.StatusUnprocessableEntity, "name", "Shop Key", "value", "sesame"), "small letters", `value="Shop Key"`)
	contains(t, h.post(c, "/secrets", http.StatusUnprocessableEntity, "name", "shop_key"), "1 to 4000 characters")
	h.post(c, "/secrets", http.StatusSeeOther, "name", "shop_key", "value", "sesame")
	page := h.page(c, "/flows", http.StatusOK)
	contains(t, page, "<code>shop_key</code>")
	lacks(t, page, "sesame")
	if value, err := h.store.Secret(t.Context(), "shop_key"); err != nil || value != "sesame" {
		t.Errorf("kept %q: %v", value, err)
	}
	h.post(c, "/secrets/forget", http.StatusSeeOther, "name", "shop_key")
	lacks(t, h.page(c, "/flows", http.StatusOK), "<code>shop_key</code>")
}

func TestExecutionSaysWhatItWaitsForIsCancelledAndRunAgain(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, `{"name": "later", "account": 1, "trigger": {"type": "webhook"}, "contact": "{{trigger.body.phone}}", "steps": [
		{"id": "first", "type": "text", "text": "one <b>two</b>"}, {"id": "nap", "type": "wait", "for": "10m"}, {"id": "last", "type": "text", "text": "three"}]}`)
	id := h.started(1, `{"input": {"phone": "+12025550123"}}`)
	at := fmt.Sprint("/executions/", id)
	shown := h.eventually(c, at, "It goes on at")
	contains(t, shown, "Front desk", "+12025550123", "first", "nap", "last", "&lt;b&gt;two", "hx-get=\""+at+"/live\"", "data-room=\"execution:"+strconv.FormatInt(id, 10)+"\"", "Cancel")
	lacks(t, shown, "Run again")
	contains(t, h.page(c, at+"/events", http.StatusOK), "1. execution.queued", "step.completed", "execution.waiting")

	h.post(c, at+"/cancel", http.StatusSeeOther)
	over := h.page(c, at, http.StatusOK)
	contains(t, over, "Somebody cancelled it.", "Run again", "From here", "what it sends is sent again")
	lacks(t, over, "hx-trigger=\"every 1s\"", at+"/cancel")
	again := h.post(c, at+"/again", http.StatusSeeOther, "from", "1")
	if again == at {
		t.Fatalf("running it again leads to %q", again)
	}
	contains(t, h.eventually(c, again, "It goes on at"), "Again, after", "one &lt;b&gt;two")
	contains(t, h.page(c, "/flows", http.StatusOK), "last executed", "waiting")
	contains(t, h.page(c, page+"/live", http.StatusOK), "cancelled", "waiting")
	h.post(c, at+"/sideways", http.StatusNotFound)
	h.page(c, "/executions/99", http.StatusNotFound)
}

// started starts a flow by the API.
func (h *house) started(id int64, body string) int64 {
	h.t.Helper()
	a := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/flows/%d/start", id), body)
	return decoded[struct{ ID int64 }](h.t, a, http.StatusOK).ID
}

func TestExecutionThatFailedNamesTheStepAndTheReason(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	h.put(c, greeting)
	shown := h.eventually(c, fmt.Sprint("/executions/", h.started(1, `{"input": {}}`)), "failed")
	contains(t, shown, "there is no trigger.body.name", `class="badge bad"`)
	contains(t, h.page(c, "/flows", http.StatusOK), "failed")
}

func TestExecutionsAreFilteredByFlowStatusAndTests(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	contains(t, h.page(c, "/executions", http.StatusOK), "No flow has been executed yet.")
	page := h.put(c, greeting)
	h.put(c, strings.Replace(greeting, `"greeting"`, `"other"`, 1))
	done, failing := h.started(1, `{"input": {"name": "Ana"}}`), h.started(2, `{"input": {}}`)
	test := h.post(c, page+"/try", http.StatusSeeOther, "input", `{"name": "Ben"}`)
	h.eventually(c, fmt.Sprint("/executions/", done), "It is done.")
	h.eventually(c, fmt.Sprint("/executions/", failing), "failed")
	h.eventually(c, test, "It is done.")
	for query, want := range map[string][3]bool{ // done, failing, test
		"": {true, true, false}, "?tests=on": {true, true, true}, "?flow=1": {true, false, false}, "?flow=1&tests=on": {true, false, true},
		"?status=failed": {false, true, false}, "?status=completed&tests=on": {true, false, true}, "?status=nonsense": {true, true, false}, "?status=queued": {},
	} {
		shown := h.page(c, "/executions"+query, http.StatusOK)
		for i, path := range []string{fmt.Sprint("/executions/", done), fmt.Sprint("/executions/", failing), test} {
			if is := strings.Contains(shown, `href="`+path+`"`); is != want[i] {
				t.Errorf("%q shows %s: %t, want %t", query, path, is, want[i])
			}
		}
	}
	contains(t, h.page(c, "/executions?status=queued", http.StatusOK), "Nothing fits.")
	h.page(c, "/executions?after=nonsense", http.StatusUnprocessableEntity)
}

func TestEveryoneSeesOfFlowsWhatTheirRoleAllows(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	owner := h.signedIn()
	page := h.put(owner, greeting)
	h.post(owner, page+"/addresses", http.StatusSeeOther, "auth", "none")
	h.post(owner, "/secrets", http.StatusSeeOther, "name", "shop_key", "value", "sesame")
	hooks, err := h.store.Webhooks(t.Context(), 1)
	must(t, err)
	at := h.post(owner, page+"/try", http.StatusSeeOther, "input", `{"name": "Ana"}`)
	h.eventually(owner, at, "It is done.")

	viewer, agent := h.as(store.RoleViewer), h.as(store.RoleAgent)
	for _, c := range []*http.Client{viewer, agent} {
		contains(t, h.page(c, "/flows", http.StatusOK), "greeting", `href="/flows"`)
		lacks(t, h.page(c, "/flows", http.StatusOK), "New flow", "shop_key")
		contains(t, h.page(c, page, http.StatusOK), "Hello {{trigger.body.name}}", "Versions")
		lacks(t, h.page(c, page, http.StatusOK), hooks[0].ID, "Switch off", "Remove", "name=\"definition\"")
		lacks(t, h.page(c, page+"/versions/1", http.StatusOK), "Put this version again")
		for _, path := range []string{"/flows", page, page + "/off", page + "/remove", page + "/addresses", page + "/addresses/" + hooks[0].ID + "/remove", page + "/versions/1", "/secrets", "/secrets/forget"} {
			h.post(c, path, http.StatusForbidden, "definition", greeting, "name", "shop_key")
		}
	}
	lacks(t, h.page(viewer, page, http.StatusOK), "Try it")
	lacks(t, h.page(viewer, at, http.StatusOK), "Run again")
	contains(t, h.page(viewer, at, http.StatusOK), "It is done.", "Hello Ana")
	for _, path := range []string{page + "/try", at + "/cancel", at + "/again"} {
		h.post(viewer, path, http.StatusForbidden)
	}
	contains(t, h.page(agent, page, http.StatusOK), "Try it")
	h.post(agent, page+"/try", http.StatusSeeOther, "input", `{"name": "Ana"}`)
	h.post(agent, at+"/again", http.StatusSeeOther)
	h.post(agent, at+"/cancel", http.StatusSeeOther) // it has ended: nothing changes
}

func TestAuditLogKnowsWhoChangedWhatOfFlowsButNoAddress(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	c := h.signedIn()
	page := h.put(c, greeting)
	h.post(c, page+"/addresses", http.StatusSeeOther, "auth", "none", "label", "Shop")
	hooks, err := h.store.Webhooks(t.Context(), 1)
	must(t, err)
	h.post(c, page+"/addresses/"+hooks[0].ID+"/remove", http.StatusSeeOther)
	h.post(c, page+"/off", http.StatusSeeOther)
	h.post(c, page+"/on", http.StatusSeeOther)
	h.post(c, "/secrets", http.StatusSeeOther, "name", "shop_key", "value", "sesame")
	h.post(c, "/secrets/forget", http.StatusSeeOther, "name", "shop_key")
	at := h.post(c, page+"/try", http.StatusSeeOther, "input", `{"name": "Ana"}`)
	h.eventually(c, at, "It is done.")
	h.post(c, at+"/again", http.StatusSeeOther)
	h.post(c, at+"/cancel", http.StatusSeeOther)
	h.post(c, page+"/remove", http.StatusSeeOther)
	for subject, want := range map[string]string{
		"flow:1": "[remove flow.on flow.off webhook.remove webhook.put]", "secret:shop_key": "[secret.remove secret.put]", "execution:1": "[execution.cancel execution.replay]",
	} {
		log, err := h.store.AuditLog(t.Context(), subject, store.Page{Limit: 20})
		must(t, err)
		var did []string
		for _, e := range log {
			did = append(did, e.Action)
			if all := fmt.Sprint(e.Subject, e.Detail); strings.Contains(all, hooks[0].ID) || strings.Contains(all, "sesame") || e.By != "console" {
				t.Errorf("the log tells %s of %s", all, e.By)
			}
		}
		if fmt.Sprint(did) != want {
			t.Errorf("of %s it knows %s, want %s", subject, did, want)
		}
	}
}

func TestHelpNamesEveryStepTypeAndEveryFilter(t *testing.T) {
	t.Parallel()
	h := withFlows(t)
	page := h.page(h.signedIn(), "/flows", http.StatusOK)
	contains(t, page, flow.Filters()...)
	for _, kind := range []string{"text", "ai", "send", "http", "wait", "handoff", "contact", "respond", "stop"} {
		contains(t, page, "<code>"+kind+"</code>")
	}
}

func TestPagesFollowTheirRoomsWhereThereIsAStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *web.Options) {
		o.Live = live.New(live.Options{Store: o.Store.(*gate).Store}) //nolint:forcetypeassert // newHouse put it there
		must(t, o.Live.Start(t.Context()))
		t.Cleanup(func() { must(t, o.Live.Close(context.Background())) })
	})
	c := h.signedIn()
	contains(t, h.page(c, "/accounts", http.StatusOK), "live.js", `data-room="all"`, `hx-trigger="changed, every 5s"`)
	contains(t, h.page(c, "/conversations", http.StatusOK), `data-room="all"`, `hx-trigger="changed, every 5s"`)
	contains(t, h.page(c, "/assets/live.js", http.StatusOK), "EventSource")
	if a := h.visit(browser(t), http.MethodGet, "/live/events?room=all", ""); a.status != http.StatusUnauthorized {
		t.Errorf("a stranger got %d", a.status)
	}
	f, err := h.store.PutFlow(t.Context(), "greeting", []byte(greeting), "Ana")
	must(t, err)
	ctx, leave := context.WithTimeout(t.Context(), time.Minute)
	defer leave()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/live/events?room=flow:%d", h.server.URL, f.ID), http.NoBody)
	must(t, err)
	r, err := c.Do(q)
	must(t, err)
	defer r.Body.Close()
	said := bufio.NewScanner(r.Body)
	subscribed := false
	for said.Scan() && !strings.Contains(said.Text(), `"execution.queued"`) {
		if !subscribed && strings.Contains(said.Text(), "subscribed") {
			subscribed = true
			_, _, err := h.store.AddExecution(t.Context(), store.NewExecution{FlowID: f.ID, Version: 1, Trigger: []byte(`{}`)})
			must(t, err)
		}
	}
	if !strings.Contains(said.Text(), `"execution.queued"`) {
		t.Errorf("the stream ended: %v", said.Err())
	}
}

func TestPagesAskAgainAndAgainWhereThereIsNoStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.signedIn()
	page := h.page(c, "/accounts", http.StatusOK)
	contains(t, page, `hx-trigger="every 3s"`)
	lacks(t, page, "live.js")
	h.page(c, "/live/events?room=all", http.StatusServiceUnavailable)
}
