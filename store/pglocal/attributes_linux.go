package pglocal

import "syscall"

// attributes put the child in a group of its own, so that a Ctrl-C meant for us
// is not its, and end it when this process dies.
func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Setpgid: true, Pdeathsig: syscall.SIGINT}
}
