package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"frontdesk/bot/wasim"
)

const phone = "12025550111"

// crowd is a number of customers who write numbered messages to one account.
type crowd struct {
	r       *rig
	account string
	first   int64
	size    int
	written []int // how many messages each customer has written
}

func newCrowd(r *rig, account string, size int) *crowd {
	return &crowd{r: r, account: account, first: 12025550200, size: size, written: make([]int, size)}
}

func (c *crowd) number(i int) string { return fmt.Sprint(c.first + int64(i)) }

// write has every customer write n more messages, with a pause after each.
func (c *crowd) write(n int, pause time.Duration) {
	c.r.t.Helper()
	var writing sync.WaitGroup
	for i := range c.size {
		from := c.written[i]
		c.written[i] += n
		writing.Go(func() {
			for m := range n {
				if _, err := c.r.wa.Customer(c.number(i)).Send(deadline(c.r.t, time.Minute), c.account, strconv.Itoa(from+m+1)); err != nil {
					c.r.t.Error(err)
				}
				time.Sleep(pause)
			}
		})
	}
	writing.Wait()
}

// tally is what became of the messages of a crowd.
type tally struct{ written, answered, lost, doubled, reordered int }

// String is the tally in a line.
func (t tally) String() string {
	return fmt.Sprintf("written %d, answered %d, lost %d, doubled %d, reordered %d", t.written, t.answered, t.lost, t.doubled, t.reordered)
}

func (t tally) clean() bool { return t.lost == 0 && t.doubled == 0 && t.reordered == 0 }

// await waits until every message is answered, or until patience is over, and
// counts.
func (c *crowd) await(patience time.Duration) tally {
	end := time.Now().Add(patience)
	for {
		t := c.count()
		if t.lost == 0 || time.Now().After(end) {
			time.Sleep(300 * time.Millisecond) // for an answer that must not come
			return c.count()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *crowd) count() tally {
	var t tally
	for i := range c.size {
		t.add(c.answered(i), c.written[i])
	}
	return t
}

// answers are what a customer was told, in order.
func (c *crowd) answers(i int) (told []string) {
	for _, m := range c.r.wa.Customer(c.number(i)).Messages(c.account) {
		if !m.FromCustomer {
			told = append(told, m.Text)
		}
	}
	return told
}

// delivered is how many messages of the first customer frontdesk has acknowledged.
func (c *crowd) delivered() (n int) {
	for _, m := range c.r.wa.Customer(c.number(0)).Messages(c.account) {
		if m.FromCustomer && (m.Status == wasim.Delivered || m.Status == wasim.Read) {
			n++
		}
	}
	return n
}

// answered are the numbers in the answers that a customer sees, in order.
func (c *crowd) answered(i int) []int {
	var numbers []int
	for _, text := range c.answers(i) {
		for _, word := range strings.Fields(text)[1:] {
			n, err := strconv.Atoi(word)
			if err != nil {
				c.r.t.Errorf("a customer got %q", text)
			}
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func (t *tally) add(numbers []int, written int) {
	seen := map[int]bool{}
	last := 0
	for _, n := range numbers {
		switch {
		case seen[n]:
			t.doubled++
		case n < last:
			t.reordered++
		}
		seen[n] = true
		last = max(last, n)
	}
	t.written += written
	t.answered += len(seen)
	t.lost += written - len(seen)
}
