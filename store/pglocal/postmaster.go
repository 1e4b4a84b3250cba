package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lastWords is how long a Postgres whose frontdesk was killed may take to end.
const lastWords = 30 * time.Second

// awaitFormer returns when no Postgres of a killed frontdesk works on the data
// any more. A postmaster.pid whose number now belongs to another program is
// removed: Postgres itself would take that program for its predecessor.
func awaitFormer(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	file := filepath.Join(data, "postmaster.pid")
	for {
		pid, ok := formerPID(file)
		if !ok {
			return nil
		}
		if !worksOn(pid, data) {
			return removed(file)
		}
		_ = syscall.Kill(pid, syscall.SIGINT) // where the kernel does not tell it that its parent died
		select {
		case <-ctx.Done():
			return fmt.Errorf("a former Postgres (process %d) still works on %s and does not end", pid, data)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func formerPID(file string) (pid int, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(first))
	return pid, err == nil && pid > 1
}

// worksOn says whether process pid is a Postgres on data. Where there is no
// /proc, any living process counts.
func worksOn(pid int, data string) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		return true
	}
	arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && strings.Contains(string(arguments), "postgres") && strings.Contains(string(arguments), data)
}

func removed(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
