// Package live tells clients what happens while it happens: rooms, buffers,
// recovery, over server-sent events and WebSockets.
//
// Whatever lasts is a row of the table of events, whichever process wrote it. One
// pump reads them in order and gives each to the rooms it belongs to, so the events
// of another process arrive the same way as those of this one. Only what is not
// worth a row (typing, the progress of a step) is published here directly.
//
// Its promise: within a room no event is lost without a gap that says so, none
// comes twice, and those of an execution come in the order of their numbers. A
// subscription begins with subscribed, then what was replayed, then live events.
// Nobody who publishes ever waits for a reader, and a reader that is too slow is
// sent away, to come back and resume.
//
// A client may resume with the seq of the last event it got (rooms of executions) or
// with its place (every room). Over a WebSocket each subscription is replayed for
// itself; from then on an event comes once, however many of its rooms one follows.
package live
