// Package bot holds the WhatsApp accounts of this process. It is the only
// importer of whatsmeow, its loopback server aside.
//
// Its promise: a message is stored before WhatsApp hears that it arrived, in the
// order it came, and a bubble is sent with the id it was given when it was
// queued, however often it takes.
package bot
