package bot

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"frontdesk/store"

	"golang.org/x/net/proxy"
)

// dialTime is the longest wait for a proxy.
const dialTime = 15 * time.Second

// way is how an account reaches WhatsApp, sockets and media alike: through its
// proxy if it has one, and never around it. nil is the library's own way.
func (m *Manager) way(a store.Account) (*http.Client, error) {
	address, err := m.store.OpenProxy(a)
	if err != nil || address == "" {
		return m.http, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, store.ErrBadProxy
	}
	dial, err := through(u)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{DialContext: dial, ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTime, IdleConnTimeout: time.Minute}
	if m.http != nil {
		t.DialTLSContext = dial // a loopback WhatsApp speaks plain TCP
	}
	return &http.Client{Transport: t}, nil
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// through dials by way of the proxy at u.
func through(u *url.URL) (dialer, error) {
	if u.Scheme == "http" {
		return connecting(u), nil
	}
	d, err := proxy.FromURL(u, &net.Dialer{Timeout: dialTime})
	if err != nil {
		return nil, store.ErrBadProxy
	}
	socks, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, store.ErrBadProxy
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := socks.DialContext(ctx, network, address)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", u.Host, err)
		}
		return c, nil
	}, nil
}

// connecting asks an HTTP proxy for a tunnel (RFC 9110, CONNECT).
func connecting(u *url.URL) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTime}
		c, err := d.DialContext(ctx, network, u.Host)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", u.Host, err)
		}
		if err := tunnel(c, u, address); err != nil {
			c.Close()
			return nil, fmt.Errorf("proxy %s: %w", u.Host, err)
		}
		return c, nil
	}
}

func tunnel(c net.Conn, u *url.URL, address string) error {
	if err := c.SetDeadline(time.Now().Add(dialTime)); err != nil {
		return err
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u.User != nil {
		password, _ := u.User.Password()
		ask.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	if err := ask.Write(c); err != nil {
		return err
	}
	reader := bufio.NewReader(c)
	answer, err := http.ReadResponse(reader, ask) //nolint:bodyclose // the body of a tunnel is the tunnel
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return errors.New("it answered " + answer.Status)
	case reader.Buffered() > 0:
		return errors.New("it spoke before it was asked")
	}
	return c.SetDeadline(time.Time{})
}
