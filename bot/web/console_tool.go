package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// toolsPage is what the page of tools shows.
type toolsPage struct {
	Tools    []Tool
	Accounts []Account
	Form     toolForm // of a new one, or of the one that could not be saved
	Problem  string
}

// toolForm is what stands in the form of a tool, as typed.
type toolForm struct {
	ID                             int64 // 0: a new one
	Account                        string
	Name, Description, Method, URL string
	Parameters, Headers            string
	HasSecret, Active              bool
}

// emptySchema is what a new tool begins with.
const emptySchema = `{
  "type": "object",
  "properties": {
    "order_number": {"type": "string", "description": "As printed on the receipt"}
  },
  "required": ["order_number"],
  "additionalProperties": false
}`

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func newToolForm() toolForm {
	return toolForm{Method: http.MethodGet, Parameters: emptySchema, Active: true}
}

// form is a tool as people change it.
func (t Tool) form() toolForm {
	schema, _ := json.MarshalIndent(t.Parameters, "", "  ") // it was JSON
	f := toolForm{
		ID: t.ID, Name: t.Name, Description: t.Description, Method: t.Method, URL: t.URL, Parameters: string(schema), HasSecret: t.HasSecret, Active: *t.Active,
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		f.Headers += name + ": " + t.Headers[name] + "\n"
	}
	if t.AccountID != nil {
		f.Account = fmt.Sprint(*t.AccountID)
	}
	return f
}

func (s *Server) toolsPage(w http.ResponseWriter, r *http.Request) error {
	return s.showTools(w, r, http.StatusOK, newToolForm(), "")
}

func (s *Server) showTools(w http.ResponseWriter, r *http.Request, status int, f toolForm, wrong string) error {
	tools, err := s.listTools(r.Context(), &toolsRequest{})
	if err != nil {
		return err
	}
	accounts, err := s.listAccounts(r.Context(), nil)
	if err != nil {
		return err
	}
	v := toolsPage{Tools: tools.Body.Items, Accounts: accounts.Body.Items, Form: f, Problem: wrong}
	return s.showWith(w, r, status, toolsView(s.chrome(r, "Tools"), v))
}

// toolSave adds a tool, or changes the one that the form names.
func (s *Server) toolSave(w http.ResponseWriter, r *http.Request) error {
	f := typedTool(r)
	t, err := f.tool()
	if secret := r.FormValue("secret"); secret != "" || r.FormValue("forget") != "" {
		t.Secret = &secret
	}
	if err == nil && f.ID != 0 {
		_, err = s.changeTool(r.Context(), &changedTool{ByID{f.ID}, t})
	} else if err == nil {
		_, err = s.addTool(r.Context(), &newTool{t})
	}
	if err != nil {
		p := s.problemOf(r.Context(), err)
		return s.showTools(w, r, p.Status, f, p.Detail)
	}
	return seeOther(w, r, "/tools")
}

func typedTool(r *http.Request) toolForm {
	f := toolForm{
		Account: r.FormValue("account"), Name: strings.TrimSpace(r.FormValue("name")), Description: r.FormValue("description"), Method: r.FormValue("method"),
		URL: strings.TrimSpace(r.FormValue("url")), Parameters: r.FormValue("parameters"), Headers: r.FormValue("headers"), Active: r.FormValue("active") != "",
		HasSecret: r.FormValue("has_secret") != "",
	}
	f.ID, _ = strconv.ParseInt(r.FormValue("id"), 10, 64)
	return f
}

// tool is what the form asks for, or what is wrong with it.
func (f toolForm) tool() (Tool, error) {
	t := Tool{Name: f.Name, Description: f.Description, Method: f.Method, URL: f.URL, Active: &f.Active, Headers: map[string]string{}}
	if id, err := strconv.ParseInt(f.Account, 10, 64); err == nil {
		t.AccountID = &id
	}
	if !toolName.MatchString(t.Name) {
		return t, problem(http.StatusUnprocessableEntity, "bad_tool", "The name has 2 to 40 small letters, digits and _, and begins with a letter")
	}
	if err := json.Unmarshal([]byte(f.Parameters), &t.Parameters); err != nil {
		return t, problem(http.StatusUnprocessableEntity, "bad_tool", "The arguments are no JSON: "+err.Error())
	}
	for line := range strings.Lines(f.Headers) {
		name, value, found := strings.Cut(line, ":")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if !found {
			return t, problem(http.StatusUnprocessableEntity, "bad_tool", "A header looks like Authorization: Bearer {{secret}}")
		}
		t.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return t, nil
}

func (s *Server) toolRemove(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := s.removeTool(r.Context(), &ByID{id}); err != nil {
		return err
	}
	return seeOther(w, r, "/tools")
}
