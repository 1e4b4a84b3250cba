package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes: what people can mend in settings or on the machine is exitSettings.
const (
	exitFailed   = 1
	exitSettings = 2
)

// commands are what the binary can do.
type commands struct {
	Settings

	Serve     serveCommand     `cmd:"" default:"withargs" help:"Answer customers. The default."`
	Sandbox   sandboxCommand   `cmd:"" hidden:"" help:"Hold the sandbox's accounts; started by serve."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the database up to date and exit."`
	Pair      pairCommand      `cmd:"" help:"Link a phone by a QR code in this terminal."`
	Accounts  accountsCommand  `cmd:"" help:"List, log out or remove WhatsApp accounts."`
	Providers providersCommand `cmd:"" help:"List, add, test, change or remove AI providers."`
	Knowledge knowledgeCommand `cmd:"" help:"Add, list or remove what the bot may answer from."`
	Flows     flowsCommand     `cmd:"" help:"Put or list flows: what other systems, messages and events start."`
	Evaluate  evaluateCommand  `cmd:"" help:"Try the built-in test conversations with your AI providers, and print a report."`
	Export    exportCommand    `cmd:"" help:"Print all that is kept of a person, as JSON: rows by table."`
	Erase     eraseCommand     `cmd:"" help:"Erase all that is kept of a person, in every account, for good."`
	Tokens    tokensCommand    `cmd:"" help:"Create API tokens."`
	Keys      keysCommand      `cmd:"" help:"Create the secret key that seals what is stored."`
	Doctor    doctorCommand    `cmd:"" help:"Check database, WhatsApp, providers, clock and disk, and say what to do."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c commands
	parser := kong.Must(&c, kong.Name("frontdesk"), kong.Description("Answers customers on WhatsApp. Self-hosted, one binary, one Postgres."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	chosen, err := parser.Parse(args)
	if err != nil {
		return failed(&settingsError{err.Error()})
	}
	if err := c.Settings.check(); err != nil {
		return failed(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen.BindTo(ctx, (*context.Context)(nil))
	chosen.Bind(stopSignals(stop))
	return failed(chosen.Run(&c.Settings))
}

// stopSignals gives the signals back their usual effect: the next one kills.
type stopSignals context.CancelFunc

// settingsError is something that people mend before they start again.
type settingsError struct{ sentence string }

func (e *settingsError) Error() string { return e.sentence }

// stopped is why the start failed, and what did not stop after that. A sentence for
// people stays as it is.
func stopped(why, late error) error {
	if late == nil {
		return why
	}
	return errors.Join(why, late)
}

// failed prints err as a sentence and gives the exit code it stands for.
func failed(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "frontdesk:", err)
	if _, mendable := errors.AsType[*settingsError](err); mendable {
		return exitSettings
	}
	return exitFailed
}
