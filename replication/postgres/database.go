package postgres

import (
	"github.com/jackc/pgx/v5"

	"cdc/secret"
)

// DatabaseName returns the name of the database that a URL names, as the server
// takes it; "" when the URL is none, which Open refuses.
func DatabaseName(url secret.String) string {
	cc, err := pgx.ParseConfig(url.Reveal())
	if err != nil {
		return ""
	}
	if cc.Database == "" {
		return cc.User
	}
	return cc.Database
}
