package servicetest

import (
	"net/url"
	"testing"

	"cdc/internal/services"
)

// Every version answers over its wire protocol, and writes a binlog that a
// capture can read.
func TestMySQL(t *testing.T) {
	t.Parallel()
	for _, version := range services.MySQLVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(MySQL(t, version))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := MySQLConn(t.Context(), u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r, err := conn.Execute("SELECT CONCAT_WS(' ', @@log_bin + 0, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata)")
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.GetString(0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got != "1 ROW FULL FULL" {
				t.Errorf("binlog settings %q, want 1 ROW FULL FULL", got)
			}
			u.User, u.Path = url.UserPassword("cdc", "cdc"), "/"
			ordinary, err := MySQLConn(t.Context(), u.String())
			if err != nil {
				t.Fatal(err)
			}
			ordinary.Close()
		})
	}
}
