// Package store is frontdesk's memory: the records, and every SQL statement
// that reads or changes them.
//
// It promises that one method is one statement or one transaction, that races
// are decided by Postgres, and that business time is read from Postgres' clock
// (frontdesk.clock()) and nowhere else.
package store
