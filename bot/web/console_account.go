package web

import (
	"net/http"
	"strconv"
	"time"

	"frontdesk/store"
)

// codeView is the code of an account's page.
type codeView struct {
	Show    bool   // a code belongs here
	Drawing string // as SVG; "" until there is one
	Seconds int    // it is good for
	Every   string // between two looks
	Phone   string // suggested for the sandbox's scan
}

func (s *Server) accountsPage(w http.ResponseWriter, r *http.Request) error {
	return s.showAccounts(w, r, http.StatusOK, "", "")
}

func (s *Server) showAccounts(w http.ResponseWriter, r *http.Request, status int, typed, problem string) error {
	found, err := s.listAccounts(r.Context(), nil)
	if err != nil {
		return err
	}
	return s.showWith(w, r, status, accountsView(s.chrome(r, "Accounts"), found.Body.Items, s.o.AccountsPerProcess, typed, problem))
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

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request) error {
	a, view, err := s.accountWithCode(r)
	if err != nil {
		return err
	}
	return s.show(w, r, accountView(s.chrome(r, a.Name), a, view, r.FormValue("saved") != ""))
}

func (s *Server) accountLive(w http.ResponseWriter, r *http.Request) error {
	a, view, err := s.accountWithCode(r)
	if err != nil {
		return err
	}
	return s.show(w, r, accountStatus(s.chrome(r, ""), a, view))
}

// accountWithCode reads an account and, while it is not linked and an admin
// looks, its code.
func (s *Server) accountWithCode(r *http.Request) (Account, codeView, error) {
	id, err := pathID(r)
	if err != nil {
		return Account{}, codeView{}, err
	}
	found, err := s.store.Account(r.Context(), id)
	if err != nil {
		return Account{}, codeView{}, err
	}
	view := codeView{Every: "3s", Phone: "1202555" + strconv.FormatInt(1000+id%9000, 10)[:4]}
	if found.Paired() || found.Wanted != store.WantRun || !may(s.role(r), store.RoleAdmin) {
		return accountOf(found), view, nil
	}
	view.Show, view.Every = true, "1s"
	p, err := s.store.WantPairing(r.Context(), id, pairingWanted)
	if err != nil || !p.Fresh {
		return accountOf(found), view, err
	}
	view.Drawing, err = draw(p.Code)
	view.Seconds = max(1, int(time.Until(p.ExpiresAt).Seconds()))
	return accountOf(found), view, err
}

func (s *Server) accountChange(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	wait, err := strconv.Atoi(r.FormValue("debounce_ms"))
	if err != nil || wait < 0 || wait > 10000 || r.FormValue("name") == "" {
		return problem(http.StatusUnprocessableEntity, "invalid", "The name must not be empty, and the wait is 0 to 10000 ms. Go back and mend it; what you typed is still there.")
	}
	name, persona, fallback, text, paused := r.FormValue("name"), r.FormValue("persona"), r.FormValue("fallback"), r.FormValue("fallback_text"), r.FormValue("paused") != ""
	_, err = s.store.ChangeAccount(r.Context(), id, store.AccountChange{
		Name: &name, Persona: &persona, DebounceMs: &wait, Fallback: &fallback, FallbackText: &text, Paused: &paused,
	})
	if err != nil {
		return err
	}
	return seeOther(w, r, "/accounts/"+r.PathValue("id")+"?saved=yes")
}

// accountAct does what a button of the account's page says.
func (s *Server) accountAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	back := "/accounts/" + r.PathValue("id")
	switch r.PathValue("action") {
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
	default:
		return s.missingPage(w, r)
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
