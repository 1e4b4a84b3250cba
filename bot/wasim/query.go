package wasim

import (
	"fmt"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// refusal is why a query is not answered, as WhatsApp says it.
type refusal struct {
	code int
	text string
}

func (r refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// query answers a request with nodes, or with a refusal.
type query func(c *connection, n *waBinary.Node) ([]waBinary.Node, error)

// queries are the requests of a linked device that have an answer of their own,
// by namespace, type and first child. All others succeed without content.
var queries = map[string]query{
	"encrypt.get.count":              (*connection).countKeys,
	"encrypt.get.key":                (*connection).giveBundles,
	"encrypt.set.registration":       (*connection).takeKeys,
	"usync.get.usync":                (*connection).lookUp,
	"w:sync:app:state.set.sync":      (*connection).syncState,
	"privacy.get.privacy":            (*connection).privacy,
	"w:m.set.media_conn":             (*connection).mediaHosts,
	"w:profile:picture.get.picture":  (*connection).noPicture,
	"blocklist.get":                  (*connection).emptyBlocklist,
	"w:g2.get.participating":         (*connection).noGroups,
	"md.set.remove-companion-device": (*connection).removeDevice,
	"w:mex.get.query":                (*connection).noMex,
}

// iq answers a request, or hands an answer to whoever asked.
func (c *connection) iq(n *waBinary.Node) {
	kind := text(n, "type")
	if kind == "result" || kind == "error" {
		c.answered(n)
		return
	}
	name := queryName(n)
	c.server.counts.add("iq."+name, 1)
	if c.phone == nil {
		c.send(c.replyTo(pairingQueries[name], n))
		return
	}
	if name == "w:p.get" {
		if _, muted := c.server.faults.strikes(MutePings, c.phone.number, ""); muted {
			return
		}
	}
	c.send(c.replyTo(queries[name], n))
	if name == "passive.set.active" {
		c.activate()
	}
}

// replyTo is what reply says to n; nothing in particular if it is nil.
func (c *connection) replyTo(reply query, n *waBinary.Node) waBinary.Node {
	if reply == nil {
		return answer(n)
	}
	children, err := reply(c, n)
	if err == nil {
		return answer(n, children...)
	}
	why, isRefusal := err.(refusal) //nolint:errorlint // queries return it bare
	if !isRefusal {
		c.server.log.Warn("Query refused", "query", queryName(n), "error", err)
		why = refusal{400, "bad-request"}
	}
	failed := answer(n, waBinary.Node{Tag: "error", Attrs: waBinary.Attrs{"code": why.code, "text": why.text}})
	failed.Attrs["type"] = "error"
	return failed
}

// pairingQueries are those of a client that waits to be linked.
var pairingQueries = map[string]query{
	"md.set.link_code_companion_reg":   (*connection).pairByCode,
	"md.get.ref":                       (*connection).passkeyRef,
	"md.get.passkey_request_options":   (*connection).passkeyOptions,
	"md.set.passkey_prologue":          (*connection).passkeyTurn,
	"md.set.companion_nonce":           (*connection).passkeyTurn,
	"md.set.encrypted_pairing_request": (*connection).passkeyTurn,
}

// queryName is namespace, type and first child of a request.
func queryName(n *waBinary.Node) string {
	parts := []string{text(n, "xmlns"), text(n, "type")}
	if children := n.GetChildren(); len(children) > 0 {
		parts = append(parts, children[0].Tag)
	}
	return strings.Join(parts, ".")
}

func answer(n *waBinary.Node, children ...waBinary.Node) waBinary.Node {
	result := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"id": text(n, "id"), "from": types.ServerJID, "type": "result"}}
	if len(children) > 0 {
		result.Content = children
	}
	return result
}

func (c *connection) countKeys(*waBinary.Node) ([]waBinary.Node, error) {
	return []waBinary.Node{{Tag: "count", Attrs: waBinary.Attrs{"value": c.phone.keysLeft()}}}, nil
}

// takeKeys adds the device's new one-time keys; they are on disk before it is told so.
func (c *connection) takeKeys(n *waBinary.Node) ([]waBinary.Node, error) {
	list := n.GetChildByTag("list")
	var fresh []publicKey
	for _, child := range list.GetChildrenByTag("key") {
		published, err := publishedKey(child)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, published)
	}
	signed, err := publishedKey(n.GetChildByTag("skey"))
	if err != nil {
		return nil, err
	}
	c.server.counts.add("prekeys.uploaded", len(fresh))
	return nil, c.phone.takeKeys(c.device, signed, fresh)
}

// giveBundles hands out keys for a first message to each user asked for.
func (c *connection) giveBundles(n *waBinary.Node) ([]waBinary.Node, error) {
	asked := n.GetChildByTag("key")
	var users []waBinary.Node
	for _, user := range asked.GetChildrenByTag("user") {
		jid := address(&user, "jid")
		found := waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": jid}}
		found.Content = c.bundleFor(jid)
		users = append(users, found)
	}
	return []waBinary.Node{{Tag: "list", Content: users}}, nil
}

func (c *connection) bundleFor(jid types.JID) []waBinary.Node {
	number := numberOf(jid)
	c.server.counts.add("bundle.given", 1)
	switch {
	case c.phone.owns(jid) && jid.Device == 0:
		return c.phone.offer()
	case number != "" && jid.Device == 0 && c.server.phone(number) == nil:
		if _, away := c.server.faults.strikes(KeysAway, c.phone.number, number); away {
			return noKeys
		}
		return c.server.Customer(number).offer()
	}
	return noKeys
}

var noKeys = []waBinary.Node{{Tag: "error", Attrs: waBinary.Attrs{"code": 404, "text": "item-not-found"}}}

// lookUp tells which users exist, by which names and on which devices.
func (c *connection) lookUp(n *waBinary.Node) ([]waBinary.Node, error) {
	asked := n.GetChildByTag("usync")
	wanted, list := asked.GetChildByTag("query"), asked.GetChildByTag("list")
	var users []waBinary.Node
	for _, user := range list.GetChildrenByTag("user") {
		if found, known := c.user(user, wanted.GetChildren()); known {
			users = append(users, found)
		}
	}
	return []waBinary.Node{{Tag: "usync", Attrs: asked.Attrs, Content: []waBinary.Node{
		{Tag: "result"}, {Tag: "list", Content: users},
	}}}, nil
}

// user answers what is wanted about one user; everybody with a number exists.
func (c *connection) user(asked waBinary.Node, wanted []waBinary.Node) (waBinary.Node, bool) {
	jid := address(&asked, "jid")
	if jid.IsEmpty() {
		contact := asked.GetChildByTag("contact")
		jid = types.NewJID(strings.TrimLeft(string(content(contact)), "+"), types.DefaultUserServer)
		jid.User, _, _ = strings.Cut(jid.User, "@")
	}
	number := numberOf(jid)
	if number == "" {
		return waBinary.Node{}, false
	}
	var children []waBinary.Node
	for _, want := range wanted {
		switch want.Tag {
		case "devices":
			children = append(children, c.devices(jid, number))
		case "lid":
			if c.server.hidden(number) {
				continue
			}
			children = append(children, waBinary.Node{Tag: "lid", Attrs: waBinary.Attrs{"val": c.server.lidOf(number)}})
		case "contact":
			children = append(children, waBinary.Node{Tag: "contact", Attrs: waBinary.Attrs{"type": "in"}, Content: content(asked.GetChildByTag("contact"))})
		}
	}
	return waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": jid}, Content: children}, true
}

func (c *connection) devices(jid types.JID, number string) waBinary.Node {
	ids := []waBinary.Node{{Tag: "device", Attrs: waBinary.Attrs{"id": 0}}}
	if linked := c.server.phone(number).deviceNumber(); linked != 0 {
		ids = append(ids, waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"id": linked, "key-index": linked}})
	}
	return waBinary.Node{Tag: "devices", Content: []waBinary.Node{
		{Tag: "device-list", Attrs: waBinary.Attrs{"hash": "2:wasim"}, Content: ids},
	}}
}

// lidOf is the hidden name of whoever has that number.
func (s *Server) lidOf(number string) types.JID {
	if p := s.phone(number); p != nil {
		return p.lid()
	}
	return types.NewJID(customerLID+number, types.HiddenUserServer)
}

func (c *connection) privacy(*waBinary.Node) ([]waBinary.Node, error) {
	var settings []waBinary.Node
	for _, name := range []string{"groupadd", "last", "status", "profile", "readreceipts", "online", "calladd"} {
		settings = append(settings, waBinary.Node{Tag: "category", Attrs: waBinary.Attrs{"name": name, "value": "all"}})
	}
	return []waBinary.Node{{Tag: "privacy", Content: settings}}, nil
}

func (c *connection) emptyBlocklist(*waBinary.Node) ([]waBinary.Node, error) {
	return []waBinary.Node{{Tag: "list", Attrs: waBinary.Attrs{"dhash": "wasim"}}}, nil
}

func (c *connection) noGroups(*waBinary.Node) ([]waBinary.Node, error) {
	return []waBinary.Node{{Tag: "groups"}}, nil
}

func (c *connection) noPicture(*waBinary.Node) ([]waBinary.Node, error) {
	return nil, refusal{404, "item-not-found"}
}

func (c *connection) noMex(*waBinary.Node) ([]waBinary.Node, error) {
	return nil, refusal{501, "feature-not-implemented"}
}

// removeDevice unlinks the device at its own wish.
func (c *connection) removeDevice(*waBinary.Node) ([]waBinary.Node, error) {
	_, err := c.phone.drop()
	return nil, err
}

// deviceNumber is the number of the linked device, or 0; p may be nil.
func (p *Phone) deviceNumber() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return 0
	}
	return p.state.Device.Number
}

// keysLeft is how many one-time keys of the device are not yet handed out.
func (p *Phone) keysLeft() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return 0
	}
	return len(p.state.Device.OneTime)
}

func (p *Phone) takeKeys(number int, signed publicKey, fresh []publicKey) error {
	p.mu.Lock()
	d := p.state.Device
	if d == nil || d.Number != number {
		p.mu.Unlock()
		return refusal{403, "forbidden"}
	}
	d.Signed = signed
	d.OneTime = append(d.OneTime, fresh...)
	p.touch()
	p.mu.Unlock()
	return p.server.save()
}

// offer is the phone's own bundle, for the copies its device sends it.
func (p *Phone) offer() []waBinary.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.touch()
	return append(p.state.Keys.offer(), p.state.Keys.registration())
}
