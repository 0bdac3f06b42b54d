package integration

import (
	"maps"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestDebeziumBinlogOptions compares under the options that change how values
// look.
func TestDebeziumBinlogOptions(t *testing.T) {
	for _, o := range []struct {
		name   string
		theirs map[string]string
		ours   string
	}{
		{
			"isostring, double, base64, precise",
			map[string]string{"time.precision.mode": "isostring", "decimal.handling.mode": "double", "binary.handling.mode": "base64", "bigint.unsigned.handling.mode": "precise"},
			"time: isostring, decimal: double, binary: base64, bigint_unsigned: precise",
		},
		{
			"connect, string, hex",
			map[string]string{"time.precision.mode": "connect", "decimal.handling.mode": "string", "binary.handling.mode": "hex", "bigint.unsigned.handling.mode": "precise", "tombstones.on.delete": "false"},
			"time: connect, decimal: string, binary: hex, bigint_unsigned: precise, tombstones: false",
		},
		{
			"nanoseconds, base64-url-safe",
			map[string]string{"time.precision.mode": "nanoseconds", "binary.handling.mode": "base64-url-safe", "bigint.unsigned.handling.mode": "precise"},
			"time: nanoseconds, binary: base64-url-safe, bigint_unsigned: precise",
		},
		{
			"microseconds",
			map[string]string{"time.precision.mode": "microseconds", "bigint.unsigned.handling.mode": "precise"},
			"time: microseconds, bigint_unsigned: precise",
		},
	} {
		t.Run(o.name, func(t *testing.T) {
			source := newSide(t, services.MySQL9)
			w := emptyWorld(t, source.url)
			source.exec(t, `CREATE TABLE options (id int PRIMARY KEY, x int, bu bigint unsigned DEFAULT 7, de decimal(8,2) DEFAULT 1.5, bb blob, vb varbinary(5), da date DEFAULT '2020-01-01', tm time, tm3 time(3), tm6 time(6), dt datetime DEFAULT '2020-01-01 00:00:01', dt3 datetime(3), dt6 datetime(6))`,
				`INSERT INTO options VALUES (1, 1, 18446744073709551615, -12.3, x'fbff00', x'0102', '2024-02-29', '10:11:12', '10:11:12.125', '10:11:12.123456', '2024-02-29 10:11:12', '2024-02-29 10:11:12.125', '2024-02-29 10:11:12.123456')`,
				`INSERT INTO options (id, de, bb, da, tm6, dt6) VALUES (2, 0, '', '1969-12-31', '00:00:00', '1969-12-31 23:59:59.999999')`)
			prefix := servicetest.Name(t, "dbz")
			binlogByDebezium(t, source, prefix, o.theirs)
			p := w.binlogByOurs(t, source, []string{"options"}, "  debezium: {"+o.ours+"}\n")
			name := "." + w.database() + ".options"
			readEvents(t, w, w.name+name, 2, p)
			readEvents(t, w, prefix+name, 2)
			source.exec(t, `INSERT INTO options SELECT id + 10, x, bu, de, bb, vb, da, tm, tm3, tm6, dt, dt3, dt6 FROM options ORDER BY id`, `UPDATE options SET x = 4 WHERE id = 1`, `DELETE FROM options WHERE id = 1`)
			n := 7
			if o.theirs["tombstones.on.delete"] == "false" {
				n--
			}
			c := newComparison()
			c.purpose, c.chance = maps.Clone(binlogPurpose), binlogSometimes
			c.topic(t, "options", readEvents(t, w, prefix+name, n), readEvents(t, w, w.name+name, n, p), prefix, w.name)
			c.report(t)
		})
	}
}
