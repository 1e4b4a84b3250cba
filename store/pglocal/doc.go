// Package pglocal runs a Postgres of our own from the host's binaries: on a
// unix socket in a folder that only its owner enters, never on a network.
package pglocal
