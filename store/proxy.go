package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// ErrBadProxy says that an address is no proxy's.
var ErrBadProxy = errors.New("a proxy's address looks like http://user:password@host:port or socks5://host:port")

// SetProxy seals the address of the proxy through which an account reaches
// WhatsApp; "" is the direct way.
func (s *Store) SetProxy(ctx context.Context, account int64, address string) error {
	hint, err := proxyHint(address)
	if err != nil {
		return err
	}
	var sealed []byte
	if address != "" {
		if s.keyring == nil {
			return ErrNoKey
		}
		if sealed, err = s.keyring.Seal(proxyPlace(account), []byte(address)); err != nil {
			return err
		}
	}
	done, err := s.pool.Exec(ctx, `update account set proxy = @sealed, proxy_hint = @hint where id = @id`,
		pgx.NamedArgs{"id": account, "sealed": sealed, "hint": hint})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// OpenProxy is the address of the account's proxy, "" when it has none. For a
// connection, never for a page or a log.
func (s *Store) OpenProxy(a Account) (string, error) {
	if a.Proxy == nil {
		return "", nil
	}
	if s.keyring == nil {
		return "", ErrNoKey
	}
	address, err := s.keyring.Open(proxyPlace(a.ID), a.Proxy)
	return string(address), err
}

func proxyPlace(account int64) string { return fmt.Sprintf("account:%d:proxy", account) }

// proxyHint is the address without its password.
func proxyHint(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") {
		return "", ErrBadProxy
	}
	switch u.Scheme {
	case "http", "socks5", "socks5h":
	default:
		return "", ErrBadProxy
	}
	return u.Scheme + "://" + u.Host, nil
}
