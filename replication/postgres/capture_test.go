package postgres

import (
	"encoding/binary"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"
)

var update = flag.Bool("update", false, "capture testdata/stream anew from the real server")

const captureFile = "testdata/stream/types.pgoutput"

// captureSQL is what happened while the file was captured, a statement a line;
// captureWant is what that means.
const captureSQL = `
CREATE TABLE ty (id int8 PRIMARY KEY, b bool, i2 int2, i4 int4, f4 float4, f8 float8, n numeric, n2 numeric(12,2), t text, by bytea, d date, tm time, ts timestamp, tz timestamptz, u uuid, j jsonb, a text[], ai int[])
CREATE TABLE fu (id int, name text)
ALTER TABLE fu REPLICA IDENTITY FULL
CREATE PUBLICATION cap FOR TABLE ty, fu
SELECT pg_create_logical_replication_slot($slot, 'pgoutput')
INSERT INTO ty VALUES (1, true, -2, 3, 1.5, 2.5e-300, 'NaN', 12.30, 'é', '\x00ff', '2024-02-29', '24:00', '1969-12-31 23:59:59.999999', '2000-01-01 00:00:00+02', '00112233-4455-6677-8899-aabbccddeeff', '{"a": null}', '{a,"b,c",NULL}', '{1,-1}')
INSERT INTO ty (id, d, ts, tz) VALUES (2, '0044-03-15 BC', 'infinity', '-infinity')
UPDATE ty SET id = 3 WHERE id = 2
DELETE FROM ty WHERE id = 3
INSERT INTO fu VALUES (1, NULL)
UPDATE fu SET name = 'x'
DELETE FROM fu
TRUNCATE fu
`

var captureWant = []string{
	`0 insert ty after id=1 b=true i2=-2 i4=3 f4=1.5 f8=2.5e-300 n=NaN n2=12.30 t="é" by=00ff d=date(19782) tm=time(86400000000) ` +
		`ts=timestamp(-1) tz=timestamptz(946677600000000) u=00112233445566778899aabbccddeeff j={"a": null} a=["a" "b,c" null] ai=[1 -1]`,
	`0 insert ty after id=2 b=null i2=null i4=null f4=null f8=null n=null n2=null t=null by=null d=date(-735160) tm=null ` +
		`ts=timestamp(9223372036854775807) tz=timestamptz(-9223372036854775808) u=null j=null a=null ai=null`,
	`0 update ty before id=2 (rest unchanged) after id=3 b=null i2=null i4=null f4=null f8=null n=null n2=null t=null by=null d=date(-735160) tm=null ` +
		`ts=timestamp(9223372036854775807) tz=timestamptz(-9223372036854775808) u=null j=null a=null ai=null`,
	`0 delete ty before id=3 (rest unchanged)`,
	`0 insert fu after id=1 name=null`,
	`0 update fu before id=1 name=null after id=1 name="x"`,
	`0 delete fu before id=1 name="x"`,
	`0 truncate fu`,
}

// TestCaptured decodes bytes that a real server sent: taken by
//
//	go test -run TestCaptured -update ./replication/postgres
func TestCaptured(t *testing.T) {
	if *update {
		capture(t)
	}
	data, err := os.ReadFile(captureFile)
	if err != nil {
		t.Fatal(err)
	}
	d, b := newDecoder(1), newBatchPool(1<<20, 1).TryGet()
	for len(data) > 0 {
		n := int(binary.BigEndian.Uint16(data))
		m := data[2 : 2+n]
		data = data[2+n:]
		if m[0] == msgRelation {
			r, err := decodeRelation(m)
			if err != nil {
				t.Fatal(err)
			}
			rel := fuzzRelation(r)
			for i, w := range r.cols { // what the catalog would tell of arrays
				switch w.TypeOID {
				case 1009:
					rel.cols[i] = newColumnDecoder(textArr)
				case 1007:
					rel.cols[i] = newColumnDecoder(array(intCol.Kind, 32))
				}
			}
			d.setRelation(r.oid, rel)
		} else if err := d.decode(m, false, b); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Changes) != len(captureWant) {
		t.Errorf("%d changes, want %d", len(b.Changes), len(captureWant))
	}
	rest := ""
	for _, c := range []string{"b", "i2", "i4", "f4", "f8", "n", "n2", "t", "by", "d", "tm", "ts", "tz", "u", "j", "a", "ai"} {
		rest += " " + c + "=unchanged"
	}
	for i := range min(len(b.Changes), len(captureWant)) {
		if got, want := describe(&b.Changes[i]), strings.ReplaceAll(captureWant[i], " (rest unchanged)", rest); got != want {
			t.Errorf("change %d\n got %s\nwant %s", i, got, want)
		}
	}
}

func capture(t *testing.T) {
	db := newTestDB(t)
	cfg := db.config()
	for line := range strings.Lines(captureSQL) {
		if line = strings.TrimSpace(line); line != "" {
			db.exec(strings.ReplaceAll(line, "$slot", "'"+cfg.Slot+"'"))
		}
	}
	ctx := testContext(t)
	conn, err := cfg.connectReplication(ctx, withLowWater)
	if err != nil {
		t.Fatal(err)
	}
	from, err := pglogrepl.ParseLSN(db.text(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Publication = "cap"
	w, err := startReplication(ctx, conn, cfg.Slot, cfg.pluginOptions(false), from)
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	var out []byte
	for truncated := false; ; {
		kind, body, _, ok, err := w.r.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if err := w.r.fill(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if kind != 'd' || body[0] != 'w' {
			continue
		}
		m := body[25:]
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
		truncated = truncated || m[0] == msgTruncate
		if truncated && m[0] == msgCommit {
			break
		}
	}
	if err := os.MkdirAll("testdata/stream", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(captureFile, out, 0o666); err != nil {
		t.Fatal(err)
	}
}
