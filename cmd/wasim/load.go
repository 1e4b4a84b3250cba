package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"frontdesk/bot/wasim"
)

// loadCommand has customers write at a steady rate and waits for their answers.
type loadCommand struct {
	controlled

	Account   string        `arg:"" help:"The account's number."`
	Customers int           `default:"20" help:"How many write."`
	Messages  int           `default:"20" help:"How many messages each writes."`
	Rate      float64       `default:"20" help:"Messages a second, of all together."`
	First     int64         `default:"12025550300" help:"Number of the first customer; the others follow."`
	Patience  time.Duration `default:"2m" help:"Longest wait for the last answers."`
}

// Run is wasim load.
func (c loadCommand) Run(ctx context.Context) error {
	if c.Rate <= 0 || c.Customers < 1 || c.Messages < 1 {
		return errors.New("rate, customers and messages must be above 0")
	}
	control := wasim.NewControl(c.Control)
	began := time.Now()
	if err := c.write(ctx, control); err != nil {
		return err
	}
	wrote := time.Since(began)
	report, err := c.await(ctx, control)
	if err != nil {
		return err
	}
	fmt.Printf("wrote %d messages in %v\n%v\n", c.Customers*c.Messages, wrote.Round(time.Millisecond), report)
	return nil
}

func (c loadCommand) customer(i int) string { return fmt.Sprint(c.First + int64(i)) }

// write sends every message at its time, customer after customer.
func (c loadCommand) write(ctx context.Context, control *wasim.Control) error {
	var sending sync.WaitGroup
	failed := make(chan error, c.Customers*c.Messages)
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.Rate))
	defer tick.Stop()
	order := make([]sync.Mutex, c.Customers)
	for n := range c.Messages {
		for i := range c.Customers {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			sending.Go(func() {
				order[i].Lock()
				defer order[i].Unlock()
				if _, err := control.Send(ctx, c.customer(i), c.Account, fmt.Sprint("load ", n+1)); err != nil {
					failed <- err
				}
			})
		}
	}
	sending.Wait()
	close(failed)
	return <-failed
}

// loadReport is what became of a load.
type loadReport struct {
	unanswered, repeated int             // customers without a last answer; answers that came twice under one id
	delays               []time.Duration // from a customer's last message to the answer behind it
}

// String is the report in a line.
func (r loadReport) String() string {
	slices.Sort(r.delays)
	at := func(part float64) time.Duration {
		if len(r.delays) == 0 {
			return 0
		}
		return r.delays[int(part*float64(len(r.delays)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("answers %d, customers without a last answer %d, came twice under one id %d, delay p50 %v p99 %v", len(r.delays), r.unanswered, r.repeated, at(0.5), at(0.99))
}

// await waits until every customer has the last word from the account.
func (c loadCommand) await(ctx context.Context, control *wasim.Control) (loadReport, error) {
	var report loadReport
	end := time.Now().Add(c.Patience)
	for i := range c.Customers {
		for {
			chat, _, err := control.Messages(ctx, c.customer(i), c.Account, 0, 0)
			if err != nil {
				return report, err
			}
			answered := len(chat) > 0 && !chat[len(chat)-1].FromCustomer
			if answered || time.Now().After(end) {
				report.add(chat, answered)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return report, nil
}

func (r *loadReport) add(chat []wasim.Message, answered bool) {
	if !answered {
		r.unanswered++
	}
	var asked time.Time
	for _, m := range chat {
		switch {
		case m.FromCustomer:
			asked = m.At
		default:
			r.delays = append(r.delays, m.At.Sub(asked))
			r.repeated += min(1, max(0, m.Copies-1))
		}
	}
}
