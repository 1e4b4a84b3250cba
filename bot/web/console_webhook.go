package web

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"frontdesk/bot/flow"
	"frontdesk/store"
)

// authKinds are how callers of an address prove who they are.
var authKinds = []option{
	{"none", "By knowing the address, which nobody guesses"},
	{"bearer", "By a token in the header Authorization"},
	{"basic", "By a name and a password"},
	{"standard", "By a signature of Standard Webhooks"},
	{"github", "By GitHub's signature"},
	{"stripe", "By Stripe's signature"},
	{"hmac", "By a signature in a header of its own"},
}

func authWords(kind string) string {
	for _, k := range authKinds {
		if k.value == kind {
			return k.words
		}
	}
	return kind
}

// addressForm is the form of an address as it was typed.
type addressForm struct {
	ID, Label, Auth, Header, Quota string
	HasSecret                      bool
	Problem                        string
}

func addressFormOf(w Webhook) addressForm {
	return addressForm{ID: w.ID, Label: w.Label, Auth: w.Auth, Header: w.Header, Quota: whole(w.SignedQuota), HasSecret: w.HasSecret}
}

// madeSecret is a secret that we made, to be shown once.
type madeSecret struct{ Address, Secret string }

func typedAddress(r *http.Request) addressForm {
	text := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	return addressForm{Label: text("label"), Auth: cmp.Or(text("auth"), "none"), Header: text("header"), Quota: text("quota")}
}

// webhook is what the form asks for, or what is wrong with it.
func (a addressForm) webhook(id int64) (Webhook, error) {
	w := Webhook{FlowID: id, Label: a.Label, Auth: a.Auth, Header: a.Header}
	if authWords(a.Auth) == a.Auth {
		return w, problem(http.StatusUnprocessableEntity, "bad_webhook", "Choose how callers prove who they are")
	}
	if len([]rune(a.Label)) > 100 || len(a.Header) > 100 {
		return w, problem(http.StatusUnprocessableEntity, "bad_webhook", "A name and a header have at most 100 characters")
	}
	if a.Quota == "" {
		return w, nil
	}
	quota, err := strconv.Atoi(a.Quota)
	if err != nil || quota < 1 || quota > 100_000 {
		return w, problem(http.StatusUnprocessableEntity, "bad_webhook", "Signed requests in a minute are a number from 1 to 100000")
	}
	w.SignedQuota = &quota
	return w, nil
}

// secretFor is the secret of an address: the one typed, or one of our making where the
// kind has none yet. Stripe and people with passwords bring theirs.
func secretFor(old Webhook, kind, typed string) (secret *string, made bool) {
	switch {
	case typed != "":
		return &typed, false
	case kind == "none", old.HasSecret && old.Auth == kind, kind == "stripe", kind == "basic":
		return nil, false
	case kind == "standard":
		key := make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		typed = "whsec_" + base64.StdEncoding.EncodeToString(key)
	default:
		typed = rand.Text() + rand.Text()
	}
	return &typed, true
}

// checkSecret says what is wrong with a secret that was typed.
func checkSecret(old Webhook, kind string, secret *string) error {
	wrong := ""
	switch {
	case secret == nil && kind != "none" && (!old.HasSecret || old.Auth != kind):
		wrong = "Type the secret: Stripe shows it where you enter the address; a password is NAME:PASSWORD"
	case secret == nil:
	case len(*secret) > 4000:
		wrong = "A secret has at most 4000 characters"
	case kind == "basic" && !strings.Contains(*secret, ":"):
		wrong = "Name and password are typed as NAME:PASSWORD"
	case kind == "standard" && !isStandardSecret(*secret):
		wrong = "A secret of Standard Webhooks is whsec_ and base64; leave the field empty to have one made"
	}
	if wrong == "" {
		return nil
	}
	return problem(http.StatusUnprocessableEntity, "bad_webhook", wrong)
}

func isStandardSecret(text string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	return err == nil && len(key) > 0
}

// addressAdd makes an address that starts the flow.
func (s *Server) addressAdd(w http.ResponseWriter, r *http.Request) error {
	return s.addressPut(w, r, Webhook{})
}

// addressPut makes an address, or changes the one with the old one's id.
func (s *Server) addressPut(w http.ResponseWriter, r *http.Request, old Webhook) error {
	f, err := s.pathFlow(r)
	if err != nil {
		return err
	}
	v := flowPage{Flow: f, Form: formOfFlow(f), Address: typedAddress(r)}
	v.Address.ID, v.Address.HasSecret = old.ID, old.HasSecret
	put, made, err := s.putAddress(r, f, old, v.Address)
	if err != nil {
		p := s.problemOf(r.Context(), err)
		v.Address.Problem = p.Detail
		return s.showFlow(w, r, p.Status, v)
	}
	if made == "" {
		return seeOther(w, r, fmt.Sprintf("/flows/%d#addresses", f.ID))
	}
	v.Address, v.Made = addressForm{}, madeSecret{put.ID, made}
	return s.showFlow(w, r, http.StatusOK, v)
}

func (s *Server) putAddress(r *http.Request, f store.Flow, old Webhook, a addressForm) (put Webhook, made string, err error) {
	in, err := a.webhook(f.ID)
	if err != nil {
		return put, "", err
	}
	secret, ours := secretFor(old, a.Auth, r.FormValue("secret"))
	if err := checkSecret(old, a.Auth, secret); err != nil {
		return put, "", err
	}
	if in.Secret = secret; ours {
		made = *secret
	}
	var out *one[Webhook]
	if old.ID == "" {
		out, err = s.addWebhook(r.Context(), &newWebhook{in})
	} else {
		out, err = s.changeWebhook(r.Context(), &changedWebhook{byWebhook{old.ID}, in})
	}
	if err != nil {
		return put, "", err
	}
	return out.Body, made, nil
}

// addressAct does what a button or form of an address asks for.
func (s *Server) addressAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	in := &byWebhook{r.PathValue("webhook")}
	hook, err := s.readWebhook(r.Context(), in)
	if err == nil && hook.Body.FlowID != id {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	switch r.PathValue("action") {
	case "change":
		return s.addressPut(w, r, hook.Body)
	case "forget":
		_, err = s.forgetOldSecret(r.Context(), in)
	case "remove":
		_, err = s.removeWebhook(r.Context(), in)
	default:
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, fmt.Sprintf("/flows/%d#addresses", id))
}

// callLine is a command that calls an address, or "" where only the sender can sign.
func callLine(w Webhook, d flow.Definition, input string) string {
	quoted := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	method := http.MethodPost
	if len(d.Trigger.Methods) > 0 {
		method = d.Trigger.Methods[0]
	}
	var value any
	if json.Unmarshal([]byte(input), &value) == nil {
		input = oneLine(value)
	}
	before, proof, body := "", "", " -H 'Content-Type: application/json' -d "+quoted(input)
	if method == http.MethodGet {
		input, body = "", ""
	}
	switch w.Auth {
	case "none":
	case "bearer":
		proof = " -H 'Authorization: Bearer SECRET'"
	case "basic":
		proof = " -u 'NAME:PASSWORD'"
	case "github", "hmac":
		before = "body=" + quoted(input) + "; "
		header := "X-Hub-Signature-256"
		if w.Auth == "hmac" {
			header = w.Header
		}
		proof = fmt.Sprintf(` -H "%s: sha256=$(printf %%s "$body" | openssl dgst -sha256 -hmac 'SECRET' -r | cut -d ' ' -f 1)"`, header)
		if body != "" {
			body = ` -H 'Content-Type: application/json' -d "$body"`
		}
	default:
		return ""
	}
	return before + "curl -X " + method + " " + quoted(w.URL) + proof + body
}
