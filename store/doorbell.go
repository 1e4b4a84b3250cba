package store

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is the only notification channel; the truth is always in tables.
const channel = "frontdesk"

// Bell is a ring at the door: something of Topic changed, look at ID.
type Bell struct {
	Topic string `json:"topic"`
	ID    int64  `json:"id"`
}

// Ring tells every process that id of topic changed. For rare changes only: a
// commit that notifies takes a lock on the whole database.
func (s *Store) Ring(ctx context.Context, topic string, id int64) error {
	payload, err := json.Marshal(Bell{topic, id})
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `select pg_notify($1, $2)`, channel, string(payload))
	return err
}

// Listen calls heard for every ring until ctx ends, on a connection of its own.
// After a lost connection it calls heard with the empty Bell: rings may have
// been missed, so look at everything.
func (s *Store) Listen(ctx context.Context, heard func(Bell)) {
	for ctx.Err() == nil {
		if err := s.listenOnce(ctx, heard); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "Doorbell connection lost, connecting again", slog.Any("error", err))
			wait(ctx, time.Second)
		}
	}
}

func (s *Store) listenOnce(ctx context.Context, heard func(Bell)) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	heard(Bell{})
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var b Bell
		if json.Unmarshal([]byte(n.Payload), &b) == nil {
			heard(b)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
