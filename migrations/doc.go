// Package migrations holds frontdesk's schema as SQL files, in the order they
// are applied. A released file is history: change the schema by adding the
// next one.
package migrations

import "embed"

// Files are the migrations, named for goose: 00001_first.sql and so on.
//
//go:embed *.sql
var Files embed.FS
