package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// TestVerifiedColumns: the rest of the configuration is asked about the columns
// that are published, not about those that a publication's list leaves out.
func TestVerifiedColumns(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, a text, b text)`)
	cfg := d.config("public.t")
	d.exec(`CREATE PUBLICATION ` + replication.QuoteIdentifier(cfg.Publication) + ` FOR TABLE ONLY t (id, a)`)
	var got []string
	cfg.Tables[0].Verify = func(now *replication.Table) error {
		got = nil
		for _, c := range now.Columns {
			got = append(got, c.Name)
		}
		return nil
	}
	mustClose(t, mustOpen(t, cfg))
	if d := cmp.Diff([]string{"id", "a"}, got); d != "" {
		t.Error(d)
	}
}
