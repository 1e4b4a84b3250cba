package store

import (
	"errors"
	"strings"
)

// Address is one of the names that WhatsApp has for a person; the others are empty.
type Address struct {
	Phone    string // digits with country code
	LID      string // digits
	Username string // without the @
}

// ErrBadAddress says that a text is no person's address.
var ErrBadAddress = errors.New("this is neither a phone number with country code, such as +12025550123, nor the address of a person on WhatsApp")

// ParseAddress reads an address in every form that people and programs write:
// +1 (202) 555-0123, 12025550123@s.whatsapp.net, …@c.us, …:2@s.whatsapp.net,
// 8123@lid, @name. Groups and channels are no persons.
func ParseAddress(text string) (Address, error) {
	text = strings.TrimSpace(text)
	if name, isName := strings.CutPrefix(text, "@"); isName {
		if !word(name) {
			return Address{}, ErrBadAddress
		}
		return Address{Username: strings.ToLower(name)}, nil
	}
	user, server, isAddress := strings.Cut(text, "@")
	if isAddress {
		user, _, _ = strings.Cut(user, ":") // of one device
		user, _, _ = strings.Cut(user, ".")
	}
	number := strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "", ".", "", "\u00a0", "").Replace(user)
	if len(number) < 5 || len(number) > 20 || strings.Trim(number, "0123456789") != "" || number[0] == '0' {
		return Address{}, ErrBadAddress
	}
	switch {
	case !isAddress && len(number) <= 15, server == "s.whatsapp.net", server == "c.us":
		return Address{Phone: number}, nil
	case server == "lid":
		return Address{LID: number}, nil
	}
	return Address{}, ErrBadAddress
}

// Chat is the chat with whoever has the address; "" for a name, which must be
// looked up.
func (a Address) Chat() string {
	switch {
	case a.LID != "":
		return a.LID + "@lid"
	case a.Phone != "":
		return a.Phone + "@s.whatsapp.net"
	}
	return ""
}

// word says whether name may be a username: letters, digits, dots and lines.
func word(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' {
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 40
}
