package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/a-h/templ"
)

// subscriptionsPage is what the page of all subscriptions shows.
type subscriptionsPage struct {
	Lines    []subscriptionLine
	Accounts []store.Account
	Form     subscriptionForm // of a new one
	Added    subscriptionLine // just now, with its secret; ID 0: none was
}

// subscriptionLine is a subscription in the list.
type subscriptionLine struct {
	Subscription

	Account string // its name; "": all
}

// action is the address of what a form does; "" is the page itself.
func (v subscriptionLine) action(name string) templ.SafeURL {
	return templ.SafeURL(strings.TrimSuffix(fmt.Sprintf("/deliveries/%d/%s", v.ID, name), "/"))
}

func (v subscriptionLine) on() bool { return *v.Active }

// subscriptionForm is a subscription as it was typed.
type subscriptionForm struct {
	URL, Label, Account string
	Kinds               []string // of eventKinds
	Types               string   // others
	Problem             string
}

func subscriptionFormOf(v Subscription) subscriptionForm {
	f := subscriptionForm{URL: v.URL, Label: v.Label, Account: whole(v.AccountID)}
	var others []string
	for _, e := range v.Events {
		if isEventKind(e) {
			f.Kinds = append(f.Kinds, e)
		} else {
			others = append(others, e)
		}
	}
	f.Types = strings.Join(others, ", ")
	return f
}

func typedSubscription(r *http.Request) subscriptionForm {
	text := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	return subscriptionForm{URL: text("url"), Label: text("label"), Account: text("account"), Types: text("types"), Kinds: r.Form["events"]}
}

// subscription is what the form asks for.
func (f subscriptionForm) subscription() Subscription {
	v := Subscription{URL: f.URL, Label: f.Label}
	others := strings.FieldsFunc(f.Types, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' })
	for _, e := range slices.Concat(f.Kinds, others) {
		if !slices.Contains(v.Events, e) {
			v.Events = append(v.Events, e)
		}
	}
	if f.Account != "" {
		id, _ := strconv.ParseInt(f.Account, 10, 64) // there is no account 0, and that is said
		v.AccountID = &id
	}
	return v
}

func (s *Server) subscriptionsPage(w http.ResponseWriter, r *http.Request) error {
	return s.showSubscriptions(w, r, http.StatusOK, subscriptionsPage{})
}

// showSubscriptions adds what there is to what was typed.
func (s *Server) showSubscriptions(w http.ResponseWriter, r *http.Request, status int, v subscriptionsPage) error {
	var err error
	if v.Accounts, err = s.store.Accounts(r.Context()); err != nil {
		return err
	}
	if v.Lines, err = s.subscriptionLines(r.Context(), v.Accounts); err != nil {
		return err
	}
	c := s.chrome(r, "Deliveries")
	c.Scripts = append(c.Scripts, "copy.js")
	return s.showWith(w, r, status, subscriptionsView(c, v))
}

func (s *Server) subscriptionLines(ctx context.Context, accounts []store.Account) ([]subscriptionLine, error) {
	all, err := s.listSubscriptions(ctx, nil)
	if err != nil {
		return nil, err
	}
	lines := make([]subscriptionLine, len(all.Body.Items))
	for i, v := range all.Body.Items {
		lines[i] = lineOfSubscription(v, accounts)
	}
	return lines, nil
}

func lineOfSubscription(v Subscription, accounts []store.Account) subscriptionLine {
	l := subscriptionLine{Subscription: v}
	for _, a := range accounts {
		if v.AccountID != nil && *v.AccountID == a.ID {
			l.Account = a.Name
		}
	}
	return l
}

func (s *Server) subscriptionsLive(w http.ResponseWriter, r *http.Request) error {
	accounts, err := s.store.Accounts(r.Context())
	if err != nil {
		return err
	}
	lines, err := s.subscriptionLines(r.Context(), accounts)
	if err != nil {
		return err
	}
	return s.show(w, r, subscriptionsLive(lines))
}

// subscriptionAdd answers with the secret: it stands in no address.
func (s *Server) subscriptionAdd(w http.ResponseWriter, r *http.Request) error {
	v := subscriptionsPage{Form: typedSubscription(r)}
	added, err := s.addSubscription(r.Context(), &newSubscription{v.Form.subscription()})
	if err != nil {
		p := s.problemOf(r.Context(), err)
		v.Form.Problem = p.Detail
		return s.showSubscriptions(w, r, p.Status, v)
	}
	v.Form, v.Added = subscriptionForm{}, subscriptionLine{Subscription: added.Body}
	return s.showSubscriptions(w, r, http.StatusOK, v)
}

// subscriptionPage is what the page of a subscription shows.
type subscriptionPage struct {
	List     deliveryList
	Accounts []store.Account
	Form     subscriptionForm
	Secret   string // made just now, to be shown once
	Since    string // as typed, that could not be read
	Problem  string // of Since
	Notice   string // what was done
}

// deliveryList is how a subscription fares, with its deliveries. It renews itself.
type deliveryList struct {
	subscriptionLine

	Items  []EventDelivery
	Status string // "": any
	After  string
	Next   string // the cursor of the next page; "": there is none
	Renews string
}

// room is where the list hears that something happened.
func (l deliveryList) room() string {
	if l.AccountID != nil {
		return fmt.Sprint("account:", *l.AccountID)
	}
	return "all"
}

// with is an address with what the list shows.
func (l deliveryList) with(address templ.SafeURL) templ.SafeURL {
	q := url.Values{}
	if l.Status != "" {
		q.Set("status", l.Status)
	}
	if l.After != "" {
		q.Set("after", l.After)
	}
	if len(q) == 0 {
		return address
	}
	return address + templ.SafeURL("?"+q.Encode())
}

// only is the address of those with a status.
func (l deliveryList) only(status string) templ.SafeURL {
	l.Status, l.After = status, ""
	return l.with(l.action(""))
}

// older is the address of the next page.
func (l deliveryList) older() templ.SafeURL {
	l.After = l.Next
	return l.with(l.action(""))
}

func (s *Server) subscriptionPage(w http.ResponseWriter, r *http.Request) error {
	l, accounts, err := s.deliveryList(r)
	if err != nil {
		return err
	}
	v := subscriptionPage{List: l, Accounts: accounts, Form: subscriptionFormOf(l.Subscription)}
	if r.FormValue("saved") != "" {
		v.Notice = "Saved."
	} else if n, err := strconv.Atoi(r.FormValue("again")); err == nil {
		v.Notice = againNotice(n)
	}
	return s.showSubscription(w, r, http.StatusOK, v)
}

func (s *Server) showSubscription(w http.ResponseWriter, r *http.Request, status int, v subscriptionPage) error {
	c := s.chrome(r, subscriptionName(v.List.Subscription))
	c.Scripts = append(c.Scripts, "copy.js")
	return s.showWith(w, r, status, subscriptionView(c, v))
}

func (s *Server) subscriptionLive(w http.ResponseWriter, r *http.Request) error {
	l, _, err := s.deliveryList(r)
	if err != nil {
		return err
	}
	return s.show(w, r, deliveriesLive(l))
}

// deliveryList reads the subscription that the address names, with its deliveries and
// all accounts.
func (s *Server) deliveryList(r *http.Request) (l deliveryList, accounts []store.Account, err error) {
	id, err := pathID(r)
	if err != nil {
		return l, nil, err
	}
	ctx := r.Context()
	if accounts, err = s.store.Accounts(ctx); err != nil {
		return l, nil, err
	}
	v, err := s.readSubscription(ctx, &ByID{id})
	if err != nil {
		return l, nil, err
	}
	l = deliveryList{subscriptionLine: lineOfSubscription(v.Body, accounts), After: r.FormValue("after"), Renews: s.renews("2s")}
	if status := r.FormValue("status"); isFate(status) {
		l.Status = status
	}
	found, err := s.listDeliveries(ctx, &deliveriesRequest{ByID{id}, Page{After: l.After, Limit: onePage}, l.Status})
	if err != nil {
		return l, nil, err
	}
	l.Items, l.Next = found.Body.Items, found.Body.Next
	return l, accounts, nil
}

func (s *Server) subscriptionChange(w http.ResponseWriter, r *http.Request) error {
	l, accounts, err := s.deliveryList(r)
	if err != nil {
		return err
	}
	v := subscriptionPage{List: l, Accounts: accounts, Form: typedSubscription(r)}
	if _, err := s.changeSubscription(r.Context(), &changedSubscription{ByID{l.ID}, v.Form.subscription()}); err != nil {
		p := s.problemOf(r.Context(), err)
		v.Form.Problem = p.Detail
		return s.showSubscription(w, r, p.Status, v)
	}
	return seeOther(w, r, string(l.action(""))+"?saved=yes")
}

// subscriptionAct does what a button of the page asks for.
func (s *Server) subscriptionAct(w http.ResponseWriter, r *http.Request) error {
	l, accounts, err := s.deliveryList(r)
	if err != nil {
		return err
	}
	v := subscriptionPage{List: l, Accounts: accounts, Form: subscriptionFormOf(l.Subscription)}
	in := &ByID{l.ID}
	switch action := r.PathValue("action"); action {
	case "on", "off":
		wanted := l.Subscription
		active := action == "on"
		wanted.Active = &active
		_, err = s.changeSubscription(r.Context(), &changedSubscription{*in, wanted})
	case "rotate":
		return s.subscriptionRotate(w, r, v)
	case "forget":
		_, err = s.forgetSubscriptionSecret(r.Context(), in)
	case "again":
		return s.deliveriesAgain(w, r, v)
	case "remove":
		if _, err := s.removeSubscription(r.Context(), in); err != nil {
			return err
		}
		return seeOther(w, r, "/deliveries")
	default:
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, string(l.action("")))
}

// subscriptionRotate answers with the secret: it stands in no address.
func (s *Server) subscriptionRotate(w http.ResponseWriter, r *http.Request, v subscriptionPage) error {
	made, err := s.rotateSubscription(r.Context(), &rotatedSecret{ByID: ByID{v.List.ID}})
	if err != nil {
		return err
	}
	v.Secret, v.List.HasOld = made.Body.Secret, true
	return s.showSubscription(w, r, http.StatusOK, v)
}

// deliveriesAgain has all delivered once more that happened since a time.
func (s *Server) deliveriesAgain(w http.ResponseWriter, r *http.Request, v subscriptionPage) error {
	v.Since = strings.TrimSpace(r.FormValue("since"))
	in := &replayedSince{ByID: ByID{v.List.ID}}
	var err error
	if in.Body.Since, err = typedMoment(v.Since); err != nil {
		v.Problem = "Choose a day and a time."
		return s.showSubscription(w, r, http.StatusUnprocessableEntity, v)
	}
	done, err := s.replayDeliveries(r.Context(), in)
	if errors.Is(err, store.ErrSubscriptionOff) {
		v.Problem = s.problemOf(r.Context(), err).Detail
		return s.showSubscription(w, r, http.StatusConflict, v)
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, fmt.Sprintf("%s?again=%d", v.List.action(""), done.Body.Deliveries))
}

// typedMoment reads a time that was typed as the pages write times, by this server's
// clock.
func typedMoment(text string) (time.Time, error) {
	at, err := time.ParseInLocation("2006-01-02T15:04", text, time.Local)
	if err != nil {
		at, err = time.ParseInLocation(time.DateTime, strings.Replace(text, "T", " ", 1), time.Local)
	}
	return at, err
}

// deliveryAgain has one delivery go out once more, and shows the same list again.
func (s *Server) deliveryAgain(w http.ResponseWriter, r *http.Request) error {
	l, _, err := s.deliveryList(r)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(r.PathValue("delivery"), 10, 64)
	if err != nil {
		return store.ErrNotFound
	}
	d, err := s.store.Delivery(r.Context(), id)
	if err == nil && d.SubscriptionID != l.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	if _, err := s.replayDelivery(r.Context(), &ByID{id}); err != nil {
		return err
	}
	return seeOther(w, r, string(l.with(l.action("")))+"#deliveries")
}
