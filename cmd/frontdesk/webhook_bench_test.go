package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store/pglocal"

	"github.com/jackc/pgx/v5/pgxpool"
)

// What is measured side by side: as many at once, for as long.
const (
	benchCallers = 16
	benchTime    = 5 * time.Second
)

// BenchmarkAcceptedWebhooks is how many deliveries a second are stored and answered,
// beside what Postgres commits at best on this machine, and beside Express with
// express-rate-limit and multer, which keep nothing.
func BenchmarkAcceptedWebhooks(b *testing.B) {
	r := newRig(b, nil)
	r.env = append(r.env, "FRONTDESK_LIMIT_WEBHOOK_RATE=10000000", "FRONTDESK_LOG=warn,json")
	r.start()
	path := r.put(`{"name": "bench", "trigger": {"type": "webhook"}, "steps": [{"id": "a", "type": "text", "text": "{{trigger.body.id}}"}]}`)
	express := newExpress(b)
	commits := newCommits(b, r)
	for b.Loop() {
		ours := rate(b, posting(b, r.address+path))
		b.ReportMetric(ours, "accepted/s")
		b.ReportMetric(rate(b, commits), "commits/s")
		b.ReportMetric(rate(b, posting(b, express)), "express/s")
	}
	b.ReportMetric(0, "ns/op")
}

// rate is how often a second work is done by benchCallers at once.
func rate(b *testing.B, work func(context.Context) error) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), benchTime)
	defer cancel()
	var done atomic.Int64
	var calling sync.WaitGroup
	for range benchCallers {
		calling.Go(func() {
			for ctx.Err() == nil {
				if err := work(ctx); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					b.Error(err)
					return
				}
			}
		})
	}
	calling.Wait()
	return float64(done.Load()) / benchTime.Seconds()
}

// posting posts a small delivery, which must be accepted; a full queue is waited out.
func posting(b *testing.B, address string) func(context.Context) error {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchCallers}}
	return func(ctx context.Context) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"id": 17, "status": "sent"}`))
		if err != nil {
			return err
		}
		q.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(q)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var said map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusAccepted {
			b.Logf("answered %d: %v", answer.StatusCode, said["code"])
		}
		return nil
	}
}

// newCommits commits a row of about the same size in the same Postgres, and nothing else.
func newCommits(b *testing.B, r *rig) func(context.Context) error {
	b.Helper()
	dsn, running := pglocal.Join(b.Context(), filepath.Join(r.dir, "postgres"), databaseName)
	if !running {
		b.Fatal("there is no Postgres to compare with")
	}
	c, err := pgxpool.ParseConfig(dsn)
	must(b, err)
	c.MaxConns = benchCallers
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	must(b, err)
	b.Cleanup(pool.Close)
	_, err = pool.Exec(context.Background(), `create table public.bare (id bigint generated always as identity primary key, body jsonb not null, at timestamptz not null default now())`)
	must(b, err)
	return func(ctx context.Context) error {
		_, err := pool.Exec(ctx, `insert into public.bare (body) values ('{"id": 17, "status": "sent"}')`)
		return err
	}
}

// newExpress starts the other server and gives its address.
func newExpress(b *testing.B) string {
	b.Helper()
	modules, err := filepath.Abs(filepath.Join("..", "..", ".ci", "oracles", "node_modules"))
	must(b, err)
	c := exec.CommandContext(b.Context(), "node", filepath.Join("testdata", "express.js"))
	c.Env, c.Stderr = append(os.Environ(), "ORACLES="+modules, "NODE_ENV=production"), os.Stderr
	out, err := c.StdoutPipe()
	must(b, err)
	must(b, c.Start())
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	var at string
	must(b, json.NewDecoder(out).Decode(&at))
	return at
}
