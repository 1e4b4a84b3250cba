package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
)

type evaluateCommand struct {
	Provider int64  `help:"Ask this provider alone; without, they are asked by priority."`
	Kind     string `help:"Only talks of this kind, such as injection."`
}

// Run is frontdesk evaluate: it has the built-in talks with real providers, which costs
// what some hundred answers cost, and prints how they went.
func (c evaluateCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		talks := slices.DeleteFunc(conversation.Talks(), func(k conversation.Talk) bool { return c.Kind != "" && k.Kind != c.Kind })
		if len(talks) == 0 {
			return &settingsError{fmt.Sprintf("there is no talk of the kind %q", c.Kind)}
		}
		r := providers.New(providers.Options{Store: d.Store, Log: slog.New(slog.DiscardHandler), Allow: s.AllowPrivate})
		if err := r.Start(ctx); err != nil {
			return err
		}
		var all []conversation.Grade
		err := conversation.Evaluate(ctx, r, c.Provider, talks, func(g conversation.Grade) {
			all = append(all, g)
			for _, wrong := range g.Wrong {
				fmt.Printf("%s in %s: %s\n", g.Talk.Kind, g.Talk.Language, wrong)
			}
		})
		if closed := r.Close(ctx); err == nil {
			err = closed
		}
		report(all)
		return err
	})
}

// report prints the grades: a line for each kind of talk, one for each language, and
// one for all.
func report(all []conversation.Grade) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nTALKS OF\tALL\tGOOD\tENDED\tGROUNDED\tDISCREET\tFORMAT\tLANGUAGE\tANSWERS\tREFUSED\tHANDED OFF\tTOKENS\tCOST\tSECONDS EACH\t")
	for _, by := range []func(conversation.Grade) string{
		func(g conversation.Grade) string { return g.Talk.Kind },
		func(g conversation.Grade) string { return g.Talk.Language },
		func(conversation.Grade) string { return "all" },
	} {
		for _, name := range names(all, by) {
			line(t, name, slices.DeleteFunc(slices.Clone(all), func(g conversation.Grade) bool { return by(g) != name }))
		}
	}
	_ = t.Flush() // to the terminal
}

// names are what the grades are sorted by, in their order.
func names(all []conversation.Grade, by func(conversation.Grade) string) (found []string) {
	for _, g := range all {
		if name := by(g); !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

func line(t *tabwriter.Writer, name string, some []conversation.Grade) {
	count := func(is func(conversation.Grade) bool) (n int) {
		for _, g := range some {
			if is(g) {
				n++
			}
		}
		return n
	}
	var sum conversation.Grade
	cost, known := int64(0), true
	for _, g := range some {
		sum.Answers, sum.Refused, sum.HandOffs = sum.Answers+g.Answers, sum.Refused+g.Refused, sum.HandOffs+g.HandOffs
		sum.PromptTokens, sum.Took = sum.PromptTokens+g.PromptTokens+g.CompletionTokens, sum.Took+g.Took
		if g.Cost != nil {
			cost += *g.Cost
		} else if g.Answers+g.HandOffs > 0 {
			known = false
		}
	}
	price := "unknown"
	if known {
		price = fmt.Sprintf("%.4f", float64(cost)/1e6)
	}
	fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%.1f\t\n", name, len(some), count(conversation.Grade.Good),
		count(func(g conversation.Grade) bool { return g.Ended }), count(func(g conversation.Grade) bool { return g.Grounded }),
		count(func(g conversation.Grade) bool { return g.Discreet }), count(func(g conversation.Grade) bool { return g.Formed }),
		count(func(g conversation.Grade) bool { return g.Spoken }), sum.Answers, sum.Refused, sum.HandOffs, sum.PromptTokens, price,
		(sum.Took / time.Duration(max(1, sum.Answers+sum.HandOffs))).Seconds())
}
