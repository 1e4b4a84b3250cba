package main

import (
	"context"
	"fmt"

	"frontdesk/store"
)

type tokensCommand struct {
	Create tokensCreateCommand `cmd:"" help:"Create a token and print it, this once."`
}

type tokensCreateCommand struct {
	Name string `required:"" help:"What it is for."`
	Role string `default:"admin" enum:"owner,admin,agent,viewer" help:"What it may do."`
}

// Run is frontdesk tokens create.
func (c tokensCreateCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		secret, err := d.AddToken(ctx, c.Name, store.Role(c.Role))
		if err == nil {
			fmt.Println(secret)
		}
		return err
	})
}
