// Command frontdesk answers customers on WhatsApp: one binary, one Postgres. This
// package wires the floors below it together and owns the order in which they
// start and stop; see the chain in serve.go.
package main
