package web

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"frontdesk/store"
)

// Lines on a page, and of what has been on it before.
const (
	fewLines   = 20
	mostAlerts = 20
)

// accountsPage is what the page of accounts shows.
type accountsPage struct {
	Accounts  []Account
	Limit     int
	Alerts    []Alert // open, newest first
	MaySee    bool
	MayChange bool
	Renews    string
	Typed     string // into the form
	Problem   string // with it
}

func (s *Server) accountsPage(w http.ResponseWriter, r *http.Request) error {
	return s.showAccounts(w, r, http.StatusOK, "", "")
}

func (s *Server) accountsLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.allAccounts(r)
	if err != nil {
		return err
	}
	return s.show(w, r, accountsLive(v))
}

func (s *Server) showAccounts(w http.ResponseWriter, r *http.Request, status int, typed, wrong string) error {
	v, err := s.allAccounts(r)
	if err != nil {
		return err
	}
	v.Typed, v.Problem = typed, wrong
	return s.showWith(w, r, status, accountsView(s.chrome(r, "Accounts"), v))
}

// places is how many accounts all live processes together may hold.
func places(processes []Process, perProcess int) int {
	n := 0
	for _, p := range processes {
		if p.Live && p.Kind == store.KindWhatsApp {
			n += p.Limit
		}
	}
	return max(n, perProcess)
}

func (s *Server) allAccounts(r *http.Request) (accountsPage, error) {
	v := accountsPage{MaySee: s.mayWork(r), MayChange: may(s.role(r), store.RoleAdmin), Renews: s.renews("3s")}
	processes, err := s.listProcesses(r.Context(), nil)
	if err != nil {
		return v, err
	}
	v.Limit = places(processes.Body.Items, s.o.AccountsPerProcess)
	found, err := s.listAccounts(r.Context(), nil)
	if err != nil {
		return v, err
	}
	alerts, err := s.listAlerts(r.Context(), &alertsRequest{Page: Page{Limit: mostAlerts}})
	if err != nil {
		return v, err
	}
	v.Accounts, v.Alerts = found.Body.Items, alerts.Body.Items
	return v, nil
}

func (s *Server) accountAdd(w http.ResponseWriter, r *http.Request) error {
	var in newAccount
	in.Body.Name, in.Body.Kind = r.FormValue("name"), r.FormValue("kind")
	if in.Body.Kind == "" {
		in.Body.Kind = store.KindWhatsApp
	}
	if in.Body.Name == "" {
		return s.showAccounts(w, r, http.StatusUnprocessableEntity, "", "Give the account a name.")
	}
	added, err := s.addAccount(r.Context(), &in)
	if err != nil {
		p := s.problemOf(r.Context(), err)
		return s.showAccounts(w, r, p.Status, in.Body.Name, p.Detail)
	}
	return seeOther(w, r, "/accounts/"+strconv.FormatInt(added.Body.ID, 10))
}

// accountPage is what an account's page shows.
type accountPage struct {
	accountExtra

	Account Account
	Linked  bool
	Pairing bool // the wizard belongs here
	Wizard  wizard
	Sharing sharing
	History []StatusEvent
	Older   string
	Audit   []AuditEntry // for admins
}

// every is how often its status renews itself.
func (v accountPage) every() string {
	if v.Pairing && !v.Wizard.Idle {
		return "1s"
	}
	return "3s"
}

// accountExtra is what an account's page shows besides, after a button.
type accountExtra struct {
	Saved   bool
	Form    accountDraft
	Problem string // with the form
	Typed   typedForm
	Link    string // for pairing, that was just made
}

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return s.showAccount(w, r, http.StatusOK, id, accountExtra{Saved: r.FormValue("saved") != ""})
}

// showAccount renders an account's page. Opening it asks for codes, unless somebody
// has just cancelled.
func (s *Server) showAccount(w http.ResponseWriter, r *http.Request, status int, id int64, x accountExtra) error {
	a, v, err := s.accountStatus(r, id, r.FormValue("cancelled") == "")
	if err != nil {
		return err
	}
	v.accountExtra = x
	if x.Problem == "" {
		v.Form = draftOf(a)
	}
	if err := s.accountBooks(r, &v); err != nil {
		return err
	}
	c := s.chrome(r, v.Account.Name)
	c.Scripts = append(c.Scripts, "copy.js", "passkey.js")
	return s.showWith(w, r, status, accountView(c, v))
}

func (s *Server) accountLive(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	_, v, err := s.accountStatus(r, id, false)
	if err != nil {
		return err
	}
	return s.show(w, r, accountStatus(v))
}

// accountStatus reads an account and, while it is not linked and an admin looks,
// its wizard.
func (s *Server) accountStatus(r *http.Request, id int64, open bool) (store.Account, accountPage, error) {
	a, err := s.store.Account(r.Context(), id)
	at := "/accounts/" + strconv.FormatInt(id, 10)
	v := accountPage{Account: accountOf(a), Linked: a.Paired(), Wizard: wizard{At: at}}
	v.Pairing = !a.Paired() && a.Wanted == store.WantRun && may(s.role(r), store.RoleAdmin)
	if err != nil || !v.Pairing {
		return a, v, err
	}
	v.Wizard, err = s.wizardOf(r.Context(), a, at, open)
	v.Wizard.Cancelled = r.FormValue("cancelled") != ""
	if a.Kind == store.KindSandbox {
		v.Wizard.SandboxPhone = sandboxPhone(id)
	}
	return a, v, err
}

// accountBooks adds what has been: statuses, and for admins links and deeds.
func (s *Server) accountBooks(r *http.Request, v *accountPage) error {
	id := ByID{v.Account.ID}
	history, err := s.statusHistory(r.Context(), &historyRequest{ByID: id, Page: Page{Limit: fewLines}})
	if err != nil {
		return err
	}
	v.History, v.Older = history.Body.Items, history.Body.Next
	if !may(s.role(r), store.RoleAdmin) {
		return nil
	}
	deeds, err := s.listAudit(r.Context(), &auditRequest{Page: Page{Limit: fewLines}, Subject: accountSubject(id.ID)})
	if err != nil {
		return err
	}
	v.Audit = deeds.Body.Items
	if !v.Pairing {
		return nil
	}
	links, err := s.listPairingLinks(r.Context(), &id)
	if err != nil {
		return err
	}
	v.Sharing = sharing{Show: true, URL: v.Link, Open: links.Body.Items}
	return nil
}

func (s *Server) historyPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.readAccount(r.Context(), &ByID{id})
	if err != nil {
		return err
	}
	found, err := s.statusHistory(r.Context(), &historyRequest{ByID: ByID{id}, Page: Page{After: r.FormValue("after"), Limit: onePage}})
	if err != nil {
		return err
	}
	return s.show(w, r, historyView(s.chrome(r, "Status history"), a.Body, found.Body.Items, found.Body.Next))
}

// accountDraft is an account's form as somebody typed it.
type accountDraft struct {
	Name, Persona, Fallback, FallbackText, CallText, Pool  string
	DebounceMs, PaceAccount, PaceRecipient, NewChatsPerDay string
	Presence, Paused                                       bool
	Proxy, ProxyHint                                       string
	Direct                                                 bool
}

func draftOf(a store.Account) accountDraft {
	f := accountDraft{
		Name: a.Name, Persona: a.Persona, Fallback: a.Fallback, FallbackText: a.FallbackText, CallText: a.CallText, Pool: a.ProviderPool,
		DebounceMs: strconv.Itoa(a.DebounceMs), PaceAccount: strconv.Itoa(a.PaceAccount), PaceRecipient: strconv.Itoa(a.PaceRecipient),
		Presence: a.Presence, Paused: a.Paused, ProxyHint: a.ProxyHint,
	}
	if a.NewChatsPerDay != nil {
		f.NewChatsPerDay = strconv.Itoa(*a.NewChatsPerDay)
	}
	return f
}

func readDraft(r *http.Request) accountDraft {
	return accountDraft{
		Name: strings.TrimSpace(r.FormValue("name")), Persona: r.FormValue("persona"),
		Fallback: r.FormValue("fallback"), FallbackText: r.FormValue("fallback_text"), CallText: r.FormValue("call_text"), Pool: strings.TrimSpace(r.FormValue("provider_pool")),
		DebounceMs: r.FormValue("debounce_ms"), PaceAccount: r.FormValue("pace_account"), PaceRecipient: r.FormValue("pace_recipient"),
		NewChatsPerDay: r.FormValue("new_chats_per_day"), Presence: r.FormValue("presence") != "", Paused: r.FormValue("paused") != "",
		Proxy: strings.TrimSpace(r.FormValue("proxy")), Direct: r.FormValue("no_proxy") != "",
	}
}

// change is what the form says, or a sentence about what is wrong with it.
func (f accountDraft) change() (c store.AccountChange, wrong string) {
	if f.Name == "" {
		return c, "Give the account a name."
	}
	var wait, all, each, begin int
	for _, n := range []struct {
		typed, name string
		least, most int
		to          *int
	}{
		{f.DebounceMs, "The wait for a next message", 0, 10000, &wait},
		{f.PaceAccount, "The number of messages a minute", 0, 600, &all},
		{f.PaceRecipient, "The number of messages to one person", 0, 100, &each},
		{cmp.Or(f.NewChatsPerDay, "-1"), "The number of new chats a day", -1, 10000, &begin},
	} {
		var err error
		if *n.to, err = strconv.Atoi(n.typed); err != nil || *n.to < n.least || *n.to > n.most {
			return c, n.name + " is a number from 0 to " + strconv.Itoa(n.most) + "."
		}
	}
	return store.AccountChange{
		Name: &f.Name, Persona: &f.Persona, DebounceMs: &wait, Fallback: &f.Fallback, FallbackText: &f.FallbackText, CallText: &f.CallText, ProviderPool: &f.Pool,
		Presence: &f.Presence, Paused: &f.Paused, PaceAccount: &all, PaceRecipient: &each, NewChatsPerDay: &begin,
	}, ""
}

func (s *Server) accountChange(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.store.Account(r.Context(), id)
	if err != nil {
		return err
	}
	f := readDraft(r)
	f.ProxyHint = a.ProxyHint
	c, wrong := f.change()
	if wrong != "" {
		return s.showAccount(w, r, http.StatusUnprocessableEntity, id, accountExtra{Form: f, Problem: wrong})
	}
	if err := s.changeProxy(r, id, f); err != nil {
		p := s.problemOf(r.Context(), err)
		return s.showAccount(w, r, p.Status, id, accountExtra{Form: f, Problem: p.Detail})
	}
	if _, err := s.store.ChangeAccount(r.Context(), id, c); err != nil {
		return err
	}
	return seeOther(w, r, "/accounts/"+r.PathValue("id")+"?saved=yes")
}

// changeProxy changes the way to WhatsApp if the form says so; a new one wins over
// removing the present one.
func (s *Server) changeProxy(r *http.Request, id int64, f accountDraft) error {
	if f.Proxy == "" && !f.Direct {
		return nil
	}
	in := &newProxy{ByID: ByID{id}}
	in.Body.URL = f.Proxy
	_, err := s.setProxy(r.Context(), in)
	return err
}

// accountAct does what a button of the account's page says.
func (s *Server) accountAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	page, action := "/accounts/"+r.PathValue("id"), r.PathValue("action")
	back := afterPairing(page, action)
	switch action {
	case "connect":
		_, err = s.want(r.Context(), id, store.WantRun)
	case "disconnect":
		_, err = s.want(r.Context(), id, store.WantStop)
	case "logout":
		_, err = s.want(r.Context(), id, store.WantLogout)
	case "remove":
		_, err = s.removeAccount(r.Context(), &ByID{id})
		back = "/accounts"
	case "scan":
		err = s.scan(r, id)
	case "withdraw":
		err = s.withdraw(r.Context(), id)
	default:
		var known bool
		if known, err = s.pairAct(r, id, action); !known {
			return s.missingPage(w, r)
		}
	}
	if errors.Is(err, errBadPhone) {
		return s.showAccount(w, r, http.StatusUnprocessableEntity, id, accountExtra{Typed: typedForm{r.FormValue("phone"), errBadPhone.Detail}})
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, back)
}

// scan has a phone of the sandbox scan the account's code.
func (s *Server) scan(r *http.Request, id int64) error {
	if s.sandbox == nil {
		return problem(http.StatusConflict, "no_sandbox", "There is no sandbox here.")
	}
	p, err := s.code(r.Context(), id)
	if err != nil {
		return err
	}
	if err := s.sandbox.Scan(r.Context(), r.FormValue("phone"), p.Code); err != nil {
		return problem(http.StatusConflict, "not_scanned", "The sandbox's phone says: "+err.Error())
	}
	return nil
}

func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, store.ErrNotFound
	}
	return id, nil
}

func seeOther(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
