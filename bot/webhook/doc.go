// Package webhook is where other systems call in, and what the service calls in turn.
//
// Intake answers /webhook/{id}: it checks, in this order, how often an address comes
// (L23), whether the webhook is there, its method, the size, the signature over the raw
// bytes and whether the delivery came before, and hands what is left to a Desk, which
// makes an execution of it. Bodies are streamed: what is a file goes to a spool on the
// disk while it is hashed, and is gone from there when the request is.
package webhook
