package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"frontdesk/bot/flow"
	"frontdesk/store"

	"github.com/a-h/templ"
)

// flowsPage is what the page of flows shows.
type flowsPage struct {
	Lines     []flowLine
	Examples  []flowExample
	Form      flowForm // of a new one
	MayChange bool

	Secrets       []string
	SecretName    string // as typed
	SecretProblem string
}

// flowLine is a flow in the list.
type flowLine struct {
	Flow   store.Flow
	Starts string           // what starts it, in words
	Last   *store.Execution // nil: it has never been executed
}

// flowExample is a ready flow to begin with.
type flowExample struct{ Name, Description string }

// flowForm is a definition as it was typed.
type flowForm struct {
	Text     string
	Version  int // that it was made from
	Problems flow.DefinitionErrors
	Notice   string // that nothing is wrong with it, or that it was saved
}

func (s *Server) flowsPage(w http.ResponseWriter, r *http.Request) error {
	v := flowsPage{}
	if name := r.FormValue("example"); name != "" {
		var err error
		if v.Form.Text, err = s.exampleText(r.Context(), name); err != nil {
			return err
		}
	}
	return s.showFlows(w, r, http.StatusOK, v)
}

// showFlows adds what there is to what was typed.
func (s *Server) showFlows(w http.ResponseWriter, r *http.Request, status int, v flowsPage) error {
	ctx := r.Context()
	v.MayChange = may(s.role(r), store.RoleAdmin)
	var err error
	if v.Lines, err = s.flowLines(ctx); err != nil {
		return err
	}
	for _, e := range flow.Examples() {
		d, err := flow.Check(e.Definition)
		if err != nil {
			return err
		}
		v.Examples = append(v.Examples, flowExample{e.Name, d.Description})
	}
	if v.MayChange {
		if v.Secrets, err = s.store.SecretNames(ctx); err != nil {
			return err
		}
	}
	return s.showWith(w, r, status, flowsView(s.chrome(r, "Flows"), v))
}

func (s *Server) flowLines(ctx context.Context) ([]flowLine, error) {
	all, err := s.store.Flows(ctx)
	if err != nil {
		return nil, err
	}
	last, err := s.store.LastExecutions(ctx)
	if err != nil {
		return nil, err
	}
	lines := make([]flowLine, len(all))
	for i, f := range all {
		lines[i] = flowLine{Flow: f, Starts: startWords(definitionOf(f).Trigger)}
		for _, x := range last {
			if x.FlowID == f.ID {
				lines[i].Last = &x
			}
		}
	}
	return lines, nil
}

// definitionOf reads a definition that was checked when it was put.
func definitionOf(f store.Flow) (d flow.Definition) {
	_ = json.Unmarshal(f.Definition, &d)
	return d
}

// exampleText is a ready flow for the first account, under a name that is free.
func (s *Server) exampleText(ctx context.Context, name string) (string, error) {
	accounts, err := s.store.Accounts(ctx)
	if err != nil {
		return "", err
	}
	all, err := s.store.Flows(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range flow.Examples() {
		if e.Name != name {
			continue
		}
		text := e.Definition
		if len(accounts) > 0 {
			text = e.For(accounts[0].ID)
		}
		return string(bytes.Replace(text, []byte(strconv.Quote(name)), []byte(strconv.Quote(freeName(all, name))), 1)), nil
	}
	return "", store.ErrNotFound
}

// freeName is a name that no flow has yet.
func freeName(all []store.Flow, name string) string {
	free := name
	for n := 2; flowNamed(all, free) != nil; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

func flowNamed(all []store.Flow, name string) *store.Flow {
	for _, f := range all {
		if f.Name == name {
			return &f
		}
	}
	return nil
}

// flowAdd checks or puts a new flow.
func (s *Server) flowAdd(w http.ResponseWriter, r *http.Request) error {
	v := flowsPage{Form: flowForm{Text: r.FormValue("definition")}}
	d, err := s.checkedFlow(r.Context(), []byte(v.Form.Text))
	if err == nil {
		err = s.checkNew(r.Context(), d.Name)
	}
	switch {
	case errors.As(err, &v.Form.Problems):
		return s.showFlows(w, r, http.StatusUnprocessableEntity, v)
	case err != nil:
		return err
	case r.FormValue("check") != "":
		v.Form.Notice = "Nothing is wrong with it. It is not saved yet."
		return s.showFlows(w, r, http.StatusOK, v)
	}
	put, err := s.putFlow(r.Context(), &newFlow{Body: json.RawMessage(v.Form.Text)})
	if err != nil {
		return err
	}
	return seeOther(w, r, fmt.Sprintf("/flows/%d?saved=yes", put.Body.ID))
}

// checkNew says when a flow of that name is there: a form for new ones changes none.
func (s *Server) checkNew(ctx context.Context, name string) error {
	all, err := s.store.Flows(ctx)
	if err == nil && flowNamed(all, name) != nil {
		err = flow.DefinitionErrors{{Pointer: "/name", Says: "there is a flow of this name; change it on its own page, or choose another name"}}
	}
	return err
}

// flowPage is what the page of a flow shows.
type flowPage struct {
	Flow       store.Flow
	Definition flow.Definition
	Form       flowForm
	Input      string // to try it with
	Runs       executionList
	Addresses  []Webhook
	Address    addressForm // as typed, that could not be saved
	Made       madeSecret
	Versions   []Flow
	MayWork    bool
	MayChange  bool
}

// action is the address of what a form does; "" is the page itself.
func (v flowPage) action(name string) templ.SafeURL {
	return templ.SafeURL(strings.TrimSuffix(fmt.Sprintf("/flows/%d/%s", v.Flow.ID, name), "/"))
}

func (s *Server) flowPage(w http.ResponseWriter, r *http.Request) error {
	f, err := s.pathFlow(r)
	if err != nil {
		return err
	}
	v := flowPage{Flow: f, Form: formOfFlow(f)}
	if r.FormValue("saved") != "" {
		v.Form.Notice = fmt.Sprintf("Saved as version %d.", f.Version)
	}
	return s.showFlow(w, r, http.StatusOK, v)
}

// pathFlow is the flow that the address names.
func (s *Server) pathFlow(r *http.Request) (store.Flow, error) {
	id, err := pathID(r)
	if err != nil {
		return store.Flow{}, err
	}
	return s.store.Flow(r.Context(), id)
}

func formOfFlow(f store.Flow) flowForm {
	return flowForm{Text: pretty(f.Definition), Version: f.Version}
}

// showFlow adds what there is around a flow to what was typed.
func (s *Server) showFlow(w http.ResponseWriter, r *http.Request, status int, v flowPage) error {
	v.Definition, v.MayWork, v.MayChange = definitionOf(v.Flow), s.mayWork(r), may(s.role(r), store.RoleAdmin)
	v.Input = sampleInput(v.Definition, v.Flow.Definition)
	var err error
	if v.Runs, err = s.runsOf(r, v.Flow.ID); err != nil {
		return err
	}
	versions, err := s.listFlowVersions(r.Context(), &ByID{v.Flow.ID})
	if err != nil {
		return err
	}
	v.Versions = versions.Body.Items
	if v.MayChange { // an address is a key
		hooks, err := s.listWebhooks(r.Context(), &webhooksRequest{v.Flow.ID})
		if err != nil {
			return err
		}
		v.Addresses = hooks.Body.Items
	}
	c := s.chrome(r, v.Flow.Name)
	c.Scripts = append(c.Scripts, "copy.js")
	return s.showWith(w, r, status, flowView(c, v))
}

// runsOf are a flow's last executions.
func (s *Server) runsOf(r *http.Request, id int64) (executionList, error) {
	l := executionList{Address: fmt.Sprintf("/flows/%d/live", id), Room: fmt.Sprint("flow:", id), Renews: s.renews("2s"), OfFlow: true}
	var err error
	l.Items, err = s.store.Executions(r.Context(), store.ExecutionFilter{FlowID: id, Tests: true}, store.Page{Limit: 10})
	return l, err
}

func (s *Server) flowLive(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	l, err := s.runsOf(r, id)
	if err != nil {
		return err
	}
	return s.show(w, r, executionsLive(l))
}

// flowSave checks a definition or makes it the flow's newest version.
func (s *Server) flowSave(w http.ResponseWriter, r *http.Request) error {
	f, err := s.pathFlow(r)
	if err != nil {
		return err
	}
	v := flowPage{Flow: f, Form: flowForm{Text: r.FormValue("definition"), Version: f.Version}}
	d, err := s.checkedFlow(r.Context(), []byte(v.Form.Text))
	if err == nil {
		err = checkSame(f, d, r.FormValue("version"))
	}
	switch {
	case errors.As(err, &v.Form.Problems):
		return s.showFlow(w, r, http.StatusUnprocessableEntity, v)
	case err != nil:
		return err
	case r.FormValue("check") != "":
		v.Form.Notice = fmt.Sprintf("Nothing is wrong with it. Saving makes it version %d.", f.Version+1)
		return s.showFlow(w, r, http.StatusOK, v)
	}
	if _, err := s.putFlow(r.Context(), &newFlow{Body: json.RawMessage(v.Form.Text)}); err != nil {
		return err
	}
	return seeOther(w, r, string(v.action(""))+"?saved=yes")
}

// checkSame says when a definition is another flow's, or was made from a version that is
// not the newest any more.
func checkSame(f store.Flow, d flow.Definition, from string) error {
	if d.Name != f.Name {
		return flow.DefinitionErrors{{Pointer: "/name", Says: fmt.Sprintf("a flow keeps its name, %q; another name is a new flow", f.Name)}}
	}
	if from != strconv.Itoa(f.Version) {
		return flow.DefinitionErrors{{Says: fmt.Sprintf("Version %d was saved since this page was opened. Look at it below; saving now puts yours above it.", f.Version)}}
	}
	return nil
}

// flowAct does what a button of the page asks for.
func (s *Server) flowAct(w http.ResponseWriter, r *http.Request) error {
	f, err := s.pathFlow(r)
	if err != nil {
		return err
	}
	v := flowPage{Flow: f}
	switch r.PathValue("action") {
	case "on", "off":
		in := &changedFlow{ByID: ByID{f.ID}}
		in.Body.Active = r.PathValue("action") == "on"
		_, err = s.changeFlow(r.Context(), in)
	case "remove":
		if _, err := s.removeFlow(r.Context(), &ByID{f.ID}); err != nil {
			return err
		}
		return seeOther(w, r, "/flows")
	default:
		return store.ErrNotFound
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, string(v.action("")))
}

// versionPage is what the page of one version shows.
type versionPage struct {
	Flow      store.Flow // as the version says
	Newest    bool
	MayChange bool
}

func (s *Server) versionPage(w http.ResponseWriter, r *http.Request) error {
	f, newest, err := s.pathVersion(r)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s, version %d", f.Name, f.Version)
	return s.show(w, r, versionView(s.chrome(r, title), versionPage{f, newest, may(s.role(r), store.RoleAdmin)}))
}

func (s *Server) pathVersion(r *http.Request) (f store.Flow, newest bool, err error) {
	now, err := s.pathFlow(r)
	if err != nil {
		return f, false, err
	}
	n, err := strconv.Atoi(r.PathValue("version"))
	if err != nil {
		return f, false, store.ErrNotFound
	}
	f, err = s.store.FlowVersion(r.Context(), now.ID, n)
	return f, n == now.Version, err
}

// versionAgain makes an old version the newest. It is checked once more: what it names
// may be gone.
func (s *Server) versionAgain(w http.ResponseWriter, r *http.Request) error {
	old, _, err := s.pathVersion(r)
	if err != nil {
		return err
	}
	_, err = s.putFlow(r.Context(), &newFlow{Body: old.Definition})
	if err == nil {
		return seeOther(w, r, fmt.Sprintf("/flows/%d?saved=yes", old.ID))
	}
	now, found := s.pathFlow(r)
	if found != nil {
		return found
	}
	v := flowPage{Flow: now, Form: flowForm{Text: pretty(old.Definition), Version: now.Version}}
	if _, err := s.checkedFlow(r.Context(), old.Definition); errors.As(err, &v.Form.Problems) {
		return s.showFlow(w, r, http.StatusUnprocessableEntity, v)
	}
	return err
}

// flowTry runs a flow as a test: nothing is sent or changed.
func (s *Server) flowTry(w http.ResponseWriter, r *http.Request) error {
	f, err := s.pathFlow(r)
	if err != nil {
		return err
	}
	x, err := s.try(r, f)
	inside := inPlace(r)
	if err != nil {
		p := s.problemOf(r.Context(), err)
		if !inside || p.Status >= http.StatusInternalServerError {
			return p
		}
		return s.showWith(w, r, p.Status, tryProblem(p))
	}
	if !inside {
		return seeOther(w, r, fmt.Sprint("/executions/", x.ID))
	}
	v, err := s.execution(r, x.ID)
	if err != nil {
		return err
	}
	v.Inside = true
	return s.show(w, r, executionLive(v))
}

func (s *Server) try(r *http.Request, f store.Flow) (store.Execution, error) {
	var input any
	if text := strings.TrimSpace(r.FormValue("input")); text != "" {
		if err := json.Unmarshal([]byte(text), &input); err != nil {
			return store.Execution{}, problem(http.StatusUnprocessableEntity, "bad_input", "The input is no JSON: "+err.Error())
		}
	}
	test := "simulated"
	if r.FormValue("with") == "ai" {
		test = "live"
	}
	x, _, err := s.engine.Accept(r.Context(), flow.Start{Flow: f.ID, Trigger: tryTrigger(definitionOf(f), input), Test: test})
	return x, refusedFlow(err)
}

// tryTrigger is what would start the flow, with the input in its place.
func tryTrigger(d flow.Definition, input any) map[string]any {
	if inBody(d) {
		return map[string]any{
			"type": d.Trigger.Type, "method": http.MethodPost, "path": "", "body": input, "query": map[string]any{}, "headers": map[string]any{}, "files": []any{},
		}
	}
	trigger, is := input.(map[string]any)
	if !is {
		trigger = map[string]any{}
	}
	trigger["type"] = d.Trigger.Type
	if d.Trigger.Event != "" {
		trigger["event"] = d.Trigger.Event
	}
	return trigger
}

// secretSave keeps a secret, or forgets one.
func (s *Server) secretSave(w http.ResponseWriter, r *http.Request) error {
	in := &namedSecret{Name: strings.TrimSpace(r.FormValue("name"))}
	in.Body.Value = r.FormValue("value")
	v := flowsPage{SecretName: in.Name}
	switch {
	case !toolName.MatchString(in.Name):
		v.SecretProblem = "The name has 2 to 40 small letters, digits and _, and begins with a letter."
	case in.Body.Value == "" || len(in.Body.Value) > 4000:
		v.SecretProblem = "A secret has 1 to 4000 characters."
	default:
		if _, err := s.setSecret(r.Context(), in); err != nil {
			return err
		}
		return seeOther(w, r, "/flows")
	}
	return s.showFlows(w, r, http.StatusUnprocessableEntity, v)
}

func (s *Server) secretForget(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.removeSecret(r.Context(), &struct {
		Name string `path:"name"`
	}{r.FormValue("name")}); err != nil {
		return err
	}
	return seeOther(w, r, "/flows")
}
