package web

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"frontdesk/conversation"
	"frontdesk/store"
)

// option is a choice as people read it.
type option struct{ value, words string }

// weekdays, what happens outside the hours and who sends answers.
var (
	answering = []option{
		{"live", "The bot"}, {"approve", "A person, after a look at its draft"}, {"shadow", "Nobody: drafts only, to compare with what people write"},
	}
	weekdays = []option{
		{"mon", "Monday"}, {"tue", "Tuesday"}, {"wed", "Wednesday"}, {"thu", "Thursday"}, {"fri", "Friday"}, {"sat", "Saturday"}, {"sun", "Sunday"},
	}
	outside = []option{
		{conversation.WhenAnswer, "Answer anyway"}, {conversation.WhenText, "Send a text"}, {conversation.WhenSilent, "Stay silent"},
	}
)

func languageWords(code string) string {
	return map[string]string{"en": "English", "es": "Español", "de": "Deutsch", "fr": "Français", "pt": "Português", "it": "Italiano"}[code]
}

// housePage is what the page on hours and people shows.
type housePage struct {
	ID              int64
	Name            string
	Form            houseForm
	Personas        []Persona
	UsualDisclosure string
	UsualHandoff    string
	Saved           bool
	Problem         string
}

// houseForm is what stands in the form, as typed.
type houseForm struct {
	Zone, When, Closed, ClosedText          string
	Week                                    map[string]string
	Language, Disclosure, HandoffText       string
	Disclose, Tell                          bool
	TakeoverHours, HandoffWords             string
	AnswersLimit, SpendDay, SpendContactDay string
	Answering                               store.Answering
}

func (s *Server) housePage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.store.Account(r.Context(), id)
	if err != nil {
		return err
	}
	return s.showHouse(w, r, http.StatusOK, a, houseFormOf(a), "")
}

func (s *Server) showHouse(w http.ResponseWriter, r *http.Request, status int, a store.Account, f houseForm, wrong string) error {
	v := housePage{ID: a.ID, Name: a.Name, Form: f, Problem: wrong, Saved: r.FormValue("saved") != "" && wrong == ""}
	v.UsualDisclosure, v.UsualHandoff = conversation.UsualWords(a.Language)
	personas, err := s.listPersonas(r.Context(), &personasRequest{ByID: ByID{a.ID}, Page: Page{Limit: fewLines}})
	if err != nil {
		return err
	}
	v.Personas = personas.Body.Items
	return s.showWith(w, r, status, houseView(s.chrome(r, "Hours and people"), v))
}

func houseFormOf(a store.Account) houseForm {
	data, _ := json.Marshal(a.Hours)
	hours, _ := conversation.ReadHours(data) // what an admin wrote was checked
	f := houseForm{
		Zone: hours.Zone, When: hours.When, Closed: strings.Join(hours.Closed, ", "), ClosedText: hours.Text, Week: map[string]string{},
		Language: a.Language, Disclose: true, Tell: true, TakeoverHours: strconv.Itoa((a.TakeoverMinutes + 59) / 60),
		HandoffWords: strings.Join(a.HandoffWords, ", "), AnswersLimit: strconv.Itoa(a.AnswersLimit),
		SpendDay: money(a.SpendDay), SpendContactDay: money(a.SpendContactDay), Answering: a.Answering,
	}
	for day, spans := range hours.Week {
		f.Week[day] = strings.Join(spans, ", ")
	}
	if a.Disclosure != nil {
		f.Disclosure, f.Disclose = *a.Disclosure, *a.Disclosure != ""
	}
	if a.HandoffText != nil {
		f.HandoffText, f.Tell = *a.HandoffText, *a.HandoffText != ""
	}
	return f
}

func readHouse(r *http.Request) houseForm {
	text := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	f := houseForm{
		Zone: text("zone"), When: text("when"), Closed: text("closed"), ClosedText: text("closed_text"), Week: map[string]string{},
		Language: text("language"), Disclosure: text("disclosure"), HandoffText: text("handoff_text"), Disclose: text("disclose") != "", Tell: text("tell") != "",
		TakeoverHours: text("takeover_hours"), HandoffWords: text("handoff_words"),
		AnswersLimit: text("answers_limit"), SpendDay: text("spend_day"), SpendContactDay: text("spend_contact_day"),
		Answering: store.Answering(text("answering")),
	}
	for _, d := range weekdays {
		f.Week[d.value] = text(d.value)
	}
	return f
}

// change is what the form asks for, or what is wrong with it.
func (f houseForm) change() (c store.AccountChange, wrong string) {
	hours, err := f.hours()
	if err != nil {
		return c, err.Error()
	}
	takeover, err := strconv.Atoi(f.TakeoverHours)
	if err != nil || takeover < 0 || takeover > 720 {
		return c, "A person keeps a conversation for 0 to 720 hours"
	}
	answers, err := strconv.Atoi(f.AnswersLimit)
	if err != nil || answers < 0 || answers > 1000 {
		return c, "Answers in ten minutes are a number from 0 to 1000"
	}
	day, err := micros(f.SpendDay)
	if err != nil {
		return c, err.Error()
	}
	contact, err := micros(f.SpendContactDay)
	if err != nil {
		return c, err.Error()
	}
	if !slices.ContainsFunc(answering, func(o option) bool { return o.value == string(f.Answering) }) {
		return c, "Choose who sends the bot's answers"
	}
	words := splitWords(f.HandoffWords)
	return store.AccountChange{
		Language: &f.Language, Disclosure: told(f.Disclose, f.Disclosure), HandoffText: told(f.Tell, f.HandoffText), TakeoverMinutes: new(takeover * 60),
		HandoffWords: &words, Hours: hours, AnswersLimit: &answers, SpendDay: &day, SpendContactDay: &contact,
		Answering: &f.Answering,
	}, ""
}

// told is a sentence to customers: none, their own or the usual one.
func told(at bool, own string) *string {
	switch {
	case !at:
		own = ""
	case own == "":
		own = store.UsualWords
	}
	return &own
}

func (f houseForm) hours() (map[string]any, error) {
	h := conversation.Hours{Zone: f.Zone, When: f.When, Text: f.ClosedText, Closed: splitWords(f.Closed), Week: map[string][]string{}}
	for day, spans := range f.Week {
		if all := splitWords(spans); len(all) > 0 {
			h.Week[day] = all
		}
	}
	data, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if _, err := conversation.ReadHours(data); err != nil {
		return nil, err
	}
	var hours map[string]any
	return hours, json.Unmarshal(data, &hours)
}

// micros reads an amount of money; "" is any amount.
func micros(text string) (int64, error) {
	if text == "" {
		return -1, nil
	}
	amount, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	if err != nil || amount < 0 || amount > 1e9 || math.IsNaN(amount) {
		return 0, fmt.Errorf("%q is not an amount of money such as 2.50", text)
	}
	return int64(math.Round(amount * 1e6)), nil
}

func splitWords(text string) []string {
	words := []string{}
	for w := range strings.SplitSeq(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

func (s *Server) houseChange(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.store.Account(r.Context(), id)
	if err != nil {
		return err
	}
	f := readHouse(r)
	c, wrong := f.change()
	if wrong != "" {
		return s.showHouse(w, r, http.StatusUnprocessableEntity, a, f, wrong)
	}
	if _, err := s.store.ChangeAccount(r.Context(), id, c); err != nil {
		return err
	}
	return seeOther(w, r, fmt.Sprintf("/accounts/%d/house?saved=yes", id))
}
