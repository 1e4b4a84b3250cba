package pglocal

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// childUser is whom Postgres runs as: itself refuses root, so root lends it the
// user postgres, else nobody. Anyone else keeps their own (nil).
func childUser() (owner *syscall.Credential, name string, err error) {
	if os.Geteuid() != 0 {
		return nil, "", nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			owner, err = credential(u)
			return owner, name, err
		}
	}
	return nil, "", errors.New("Postgres cannot run as root and there is neither a user postgres nor nobody") //nolint:staticcheck // a product's name
}

func credential(u *user.User) (*syscall.Credential, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
