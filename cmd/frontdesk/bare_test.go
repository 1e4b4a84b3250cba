package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/wasim"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// barePhone is the account of the bare loop.
const barePhone = "12025550112"

// bareLoop is whatsmeow as its documentation shows it: every text is echoed from
// the event handler, sessions in a store of its own on the same Postgres.
func bareLoop(b *testing.B, wa *wasim.Server, dsn string) {
	b.Helper()
	ctx := context.Background()
	db, err := sql.Open("pgx", dsn)
	must(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(20)
	container := sqlstore.NewWithDB(db, "postgres", nil)
	must(b, container.Upgrade(ctx))
	whatsmeow.WACertPubKey = wa.CertKey()
	client := whatsmeow.NewClient(container.NewDevice(), nil)
	way, err := wasim.HTTPClient(wa.URL())
	must(b, err)
	client.SetPreLoginHTTPClient(way)
	client.SetWebsocketHTTPClient(way)
	client.SetMediaHTTPClient(way)
	codes := make(chan string, 1)
	client.AddEventHandler(func(event any) {
		switch e := event.(type) {
		case *waEvents.QR:
			codes <- e.Codes[0]
		case *waEvents.Message:
			if text := e.Message.GetConversation(); text != "" && !e.Info.IsFromMe {
				echo := &waE2E.Message{Conversation: new("re " + text)}
				if _, err := client.SendMessage(ctx, e.Info.Chat, echo); err != nil {
					b.Error(err)
				}
			}
		}
	})
	must(b, client.ConnectContext(ctx))
	b.Cleanup(client.Disconnect)
	must(b, wa.Phone(barePhone).Scan(deadline(b, time.Minute), <-codes))
}

// closedLoop has customers write one message after another, each once the last is
// answered, and says how long it took.
func closedLoop(b *testing.B, wa *wasim.Server, account string, customers, rounds int) time.Duration {
	b.Helper()
	began := time.Now()
	var talking sync.WaitGroup
	for i := range customers {
		talking.Go(func() {
			c := wa.Customer(fmt.Sprint(12025552000 + i))
			for range rounds {
				seen := len(c.Messages(account))
				if _, err := c.Send(deadline(b, time.Minute), account, "1"); err != nil {
					b.Error(err)
					return
				}
				if !awaitMore(c, account, seen+1) {
					b.Error("a customer got no answer within a minute")
					return
				}
			}
		})
	}
	talking.Wait()
	return time.Since(began)
}

// awaitMore waits until the chat has more than n messages.
func awaitMore(c *wasim.Customer, account string, n int) bool {
	over := time.After(time.Minute)
	for {
		changed := c.Changed()
		if len(c.Messages(account)) > n {
			return true
		}
		select {
		case <-changed:
		case <-over:
			return false
		}
	}
}

// work is what a database and its server have done so far.
type work struct{ commits, flushes float64 }

func workOf(b *testing.B, admin *sql.DB, database string) work {
	b.Helper()
	time.Sleep(1500 * time.Millisecond) // Postgres reports what its sessions did once a second
	var w work
	must(b, admin.QueryRow(`select xact_commit from pg_stat_database where datname = $1`, database).Scan(&w.commits))
	must(b, admin.QueryRow(`select wal_sync from pg_stat_wal`).Scan(&w.flushes))
	return w
}

// way is one of the two that are compared.
type way struct {
	name, account, database string

	messages         int
	took             []time.Duration
	commits, flushes float64
}

func (w *way) add(messages int, took time.Duration, before, after work) {
	w.messages += messages
	w.took = append(w.took, took)
	w.commits += after.commits - before.commits
	w.flushes += after.flushes - before.flushes
}

// rate is that of the median round.
func (w *way) rate() float64 {
	slices.Sort(w.took)
	return float64(w.messages/len(w.took)) / w.took[len(w.took)/2].Seconds()
}

// BenchmarkAgainstBareLoop runs a bare whatsmeow echo loop and frontdesk's whole
// path (stored, one turn per customer, an AI that answers at once, sent), by
// turns on one Postgres: goal at least 1.0 times the bare loop.
func BenchmarkAgainstBareLoop(b *testing.B) {
	const customers, rounds = 100, 10
	for b.Loop() {
		f := newFleet(b, 1)
		f.provider(f.ai, "first", 10)
		f.quick(f.pair(phone), 0)
		must(b, f.postgres.CreateDatabase(deadline(b, time.Minute), "bare"))
		bareLoop(b, f.wa, f.postgres.DSN("bare"))
		admin, err := sql.Open("pgx", f.postgres.DSN("postgres"))
		must(b, err)
		ways := []*way{{name: "bare", account: barePhone, database: "bare"}, {name: "frontdesk", account: phone, database: databaseName}}
		for _, w := range ways {
			closedLoop(b, f.wa, w.account, customers, 2) // first contacts
		}
		for range 3 { // by turns: the machine is shared
			for _, w := range ways {
				before := workOf(b, admin, w.database)
				took := closedLoop(b, f.wa, w.account, customers, rounds)
				after := workOf(b, admin, w.database)
				w.add(customers*rounds, took, before, after)
			}
		}
		for _, w := range ways {
			b.ReportMetric(w.rate(), w.name+"-messages/s")
			b.ReportMetric(w.commits/float64(w.messages), w.name+"-commits/message")
			b.ReportMetric(w.flushes/float64(w.messages), w.name+"-flushes/message")
		}
		b.ReportMetric(ways[1].rate()/ways[0].rate(), "times-the-bare-loop")
		b.ReportMetric(0, "ns/op")
		must(b, admin.Close())
		f.kill()
	}
}
