package postgres

import (
	"testing"

	"cdc/replication"
	"cdc/sink"
)

// TestKeysThatLookAlike changes the case of a key for which case means nothing.
// The old key's tombstone and the row under the new one stand in different
// partitions, so that the row may come first: the tombstone is not its own.
func TestKeysThatLookAlike(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec(`CREATE EXTENSION citext; CREATE DOMAIN name_ci AS citext; CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	for table, typ := range map[string]string{"extension": "citext", "domain": "name_ci", "collation": `text COLLATE ci`} {
		tg.exec(`CREATE TABLE "` + table + `" (id ` + typ + ` PRIMARY KEY, note text, big text)`)
		for name, big := range map[string]replication.Value{"whole": str("big"), "unchanged": replication.Unchanged} {
			for _, copied := range []int{copyThreshold, 1} {
				was := copyThreshold
				copyThreshold = copied
				tg.exec(`TRUNCATE "` + table + `"`)
				s := shape(keyed(field("id", replication.KindString, 0, "text")), note(), field("big", replication.KindString, 0, "text"))
				s.Table = table
				gone := func(id string) sink.Row { return sink.Row{Delete: true, Values: row(str(id), str(""), str("")).Values} }
				tg.Apply(s, row(str("ada"), str("1"), str("big")), row(str("bob"), str("1"), str("big")))
				tg.Apply(s, row(str("ADA"), str("2"), big))
				tg.Apply(s, gone("ada"), gone("bob"))
				copyThreshold = was
				if got := tg.dump(`SELECT id, note, big FROM "` + table + `"`); got != "ADA|2|big" {
					t.Errorf("%s, %s, COPY from %d rows: %s", table, name, copied, got)
				}
			}
		}
	}
}
