// Package wasim is WhatsApp on loopback: an unmodified whatsmeow client pairs
// with it, logs in and exchanges real Signal messages with customers that live
// in this process. The sandbox, the end-to-end tests and the load runs speak to
// it, so that no test account and no internet are needed.
//
// A [Server] holds phones and customers. A [Phone] belongs to the owner of an
// account: it scans the code, shares its keys and may type too. A [Customer]
// writes to accounts and reads their answers as a real phone would: it decrypts,
// sends receipts, drops what its ratchet has already used and shows a message
// once however often its id arrives. A [Fault] makes the network misbehave.
//
// Everything listens on loopback only and survives kill -9 in one JSON file.
package wasim
