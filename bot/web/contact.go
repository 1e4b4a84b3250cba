package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"frontdesk/store"
)

// Contact is one person, whichever way they are addressed.
type Contact struct {
	ID         int64     `json:"id"`
	Name       string    `json:"name,omitempty" doc:"What they call themselves"`
	Phone      string    `json:"phone,omitempty"`
	LID        string    `json:"lid,omitempty"`
	Username   string    `json:"username,omitempty"`
	MergedInto int64     `json:"merged_into,omitempty" doc:"They turned out to be this contact"`
	CreatedAt  time.Time `json:"created_at"`
}

// KnownContact is a contact with every address that it has or had.
type KnownContact struct {
	Contact

	Addresses []KnownAddress `json:"addresses"`
	Merges    []Merge        `json:"merges"`
}

// KnownAddress is an address that a contact has or had.
type KnownAddress struct {
	Kind   string     `json:"kind" enum:"phone,lid,username"`
	Value  string     `json:"value"`
	Since  time.Time  `json:"since"`
	LeftAt *time.Time `json:"left_at,omitempty" doc:"Missing: it is theirs now"`
}

// Merge is two contacts that turned out to be one person.
type Merge struct {
	ID       int64      `json:"id"`
	Survivor int64      `json:"survivor"`
	Merged   int64      `json:"merged"`
	At       time.Time  `json:"at"`
	By       string     `json:"by" doc:"whatsapp, or who did it"`
	UndoneAt *time.Time `json:"undone_at,omitempty"`
	UndoneBy *string    `json:"undone_by,omitempty"`
}

func contactOf(c store.Contact) Contact {
	out := Contact{ID: c.ID, Name: c.Name, Phone: value(c.Phone), LID: value(c.LID), Username: value(c.Username), CreatedAt: c.CreatedAt}
	if c.MergedInto != nil {
		out.MergedInto = *c.MergedInto
	}
	return out
}

type contactsRequest struct {
	Page

	Q string `query:"q" maxLength:"100" doc:"Part of a name or of an address, present or former"`
}

func (s *Server) listContacts(ctx context.Context, in *contactsRequest) (*list[Contact], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Contacts(ctx, in.Q, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Contact, len(found))
	for i, c := range found {
		items[i] = contactOf(c)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

func (s *Server) readContact(ctx context.Context, in *ByID) (*one[KnownContact], error) {
	c, err := s.store.Contact(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return s.known(ctx, c)
}

// known adds all addresses and merges to a contact.
func (s *Server) known(ctx context.Context, c store.Contact) (*one[KnownContact], error) {
	addresses, err := s.store.Addresses(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	merges, err := s.store.Merges(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	out := KnownContact{Contact: contactOf(c), Addresses: make([]KnownAddress, len(addresses)), Merges: make([]Merge, len(merges))}
	for i, a := range addresses {
		out.Addresses[i] = KnownAddress(a)
	}
	for i, m := range merges {
		out.Merges[i] = Merge(m)
	}
	return &one[KnownContact]{out}, nil
}

type lookupRequest struct {
	Address string `query:"address" required:"true" minLength:"3" maxLength:"100" doc:"In any form: +1 202 555 0123, 12025550123@s.whatsapp.net, …@c.us, …@lid, @name"`
}

// lookUpContact finds who has an address.
func (s *Server) lookUpContact(ctx context.Context, in *lookupRequest) (*one[KnownContact], error) {
	a, err := store.ParseAddress(in.Address)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "bad_address", err.Error())
	}
	c, err := s.store.FindContact(ctx, a)
	if err != nil {
		return nil, err
	}
	return s.known(ctx, c)
}

type mergeRequest struct {
	ByID

	Body struct {
		Other int64 `json:"other" minimum:"1" doc:"The contact that is the same person"`
	}
}

func (s *Server) mergeContacts(ctx context.Context, in *mergeRequest) (*one[KnownContact], error) {
	survivor, err := s.store.MergeContacts(ctx, in.ID, in.Body.Other, asker(ctx))
	if errors.Is(err, store.ErrMerged) {
		return nil, problem(http.StatusConflict, "already_merged", "These are no two contacts: one is unknown, or they are one person already")
	}
	if errors.Is(err, store.ErrTwoPeople) {
		return nil, problem(http.StatusConflict, "two_people", err.Error())
	}
	if err != nil {
		return nil, err
	}
	return s.readContact(ctx, &ByID{survivor})
}

// unmergeContact takes the merge of a contact back; ID is that of the merged one.
func (s *Server) unmergeContact(ctx context.Context, in *ByID) (*one[KnownContact], error) {
	_, err := s.store.UnmergeContact(ctx, in.ID, asker(ctx))
	if errors.Is(err, store.ErrNotMerged) {
		return nil, problem(http.StatusConflict, "not_merged", err.Error())
	}
	if err != nil {
		return nil, err
	}
	return s.readContact(ctx, in)
}

// exportContact gives a person's data as they may ask for it. Files are at /files/{id}.
func (s *Server) exportContact(ctx context.Context, in *ByID) (*one[map[string][]json.RawMessage], error) {
	rows, err := s.store.ExportContact(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[map[string][]json.RawMessage]{rows}, s.store.Audit(ctx, asker(ctx), "contact.export", "contact:"+idText(in.ID), nil)
}

// eraseContact removes a person for good; the audit log says so without who it was.
func (s *Server) eraseContact(ctx context.Context, in *ByID) (*struct{}, error) {
	_, err := s.store.EraseContact(ctx, s.o.Files, in.ID, asker(ctx))
	return nil, err
}
