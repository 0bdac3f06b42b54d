package mysql

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/replication"
	"cdc/replication/arena"
)

// utf8mb4 and binary without a server.
var (
	textCharset   = &charset{name: "utf8mb4", maxLen: 4, form: formUTF8}
	binaryCharset = &charset{name: "binary", maxLen: 1, form: formBinary}
)

// offlineShapes know the charsets of a server that is not there.
func offlineShapes() *shapes {
	cfg := &Config{Flavor: MySQL, ZeroDates: ZeroDatesError, Tables: []TableConfig{{Schema: "app", Name: "r"}}}
	sh := newShapes(cfg, nil, &serverInfo{number: 90700, vars: map[string]string{}})
	sh.charsets.names = map[uint64]string{255: "utf8mb4", 63: "binary"}
	sh.charsets.loaded = map[string]*charset{"utf8mb4": textCharset, "binary": binaryCharset}
	return sh
}

// tableMapOf builds the table map event of a table of ten columns, as a server
// writes it.
func tableMapOf() []byte {
	b := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 3}, "app\x00\x01r\x00"...)
	types := []byte{
		gomysql.MYSQL_TYPE_LONGLONG, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_NEWDECIMAL,
		gomysql.MYSQL_TYPE_TIMESTAMP2, gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_VARCHAR,
	}
	b = append(append(b, byte(len(types))), types...)
	meta := []byte{0x90, 1, 2, 12, 2, 6, 8, 32, 0}
	b = append(append(b, byte(len(meta))), meta...)
	b = append(b, 0xfe, 0x03) // all but the first may be NULL
	field := func(kind byte, content ...byte) { b = append(append(b, kind, byte(len(content))), content...) }
	field(metaSignedness, 0)
	field(metaColumnCharset, 0xfc, 255, 0, 0xfc, 255, 0, 63)
	var names []byte
	for name := range strings.SplitSeq("id n name note amount at ok ratio day digest", " ") {
		names = append(append(names, byte(len(name))), name...)
	}
	field(metaColumnName, names...)
	field(metaSimpleKey, 0)
	return b
}

// rowsOf builds a row event with n rows of that table.
func rowsOf(n int) []byte {
	b := []byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 10, 0xff, 0x03}
	for i := range n {
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint64(b, uint64(i))
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		b = append(append(b, 11, 0), "customer 42"...)
		b = append(append(b, 37, 0), "note 0123456789abcdef0123456789abcdef"...)
		b = append(b, 0x80, 0, 0x30, 0x39, 67, 99) // 12345.67 … as 10 digits and 2
		b = append(b, 0x69, 0x55, 0xb9, 0x00, 0x01, 0xe2, 0x40)
		b = append(b, 1)
		b = append(b, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f)
		b = append(b, 0xb8, 0xd4, 0x0f)
		b = append(append(b, 32), strings.Repeat("d", 32)...)
	}
	return b
}

// offlineReader reads events into one batch.
func offlineReader(t testing.TB) (*reader, *batch) {
	t.Helper()
	sh := offlineShapes()
	pool := newBatchPool(1<<20, 4)
	b := pool.TryGet()
	r := newReader(sh.cfg, sh, place{form: placeGTID}, newMarks(nil, ""))
	r.room = func(context.Context) (*batch, error) { return b, nil }
	r.aside = func(f func() error) error { return f() }
	r.hold = r.aside
	r.bound = b.bound
	return r, b
}

func eventOf(kind gorepl.EventType, body []byte) []byte {
	b := make([]byte, eventHeader, eventHeader+len(body))
	b[4] = byte(kind)
	binary.LittleEndian.PutUint32(b[9:], uint32(eventHeader+len(body)))
	return append(b, body...)
}

func gtidOf(gno uint64) []byte {
	return append(binary.LittleEndian.AppendUint64(make([]byte, 17), gno), make([]byte, 40)...)
}

// feed takes a transaction of one row event.
func feed(t testing.TB, r *reader, gno uint64, rows []byte) {
	t.Helper()
	for _, e := range [][]byte{
		eventOf(gorepl.GTID_EVENT, gtidOf(gno)), eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()),
		eventOf(gorepl.WRITE_ROWS_EVENTv2, rows), eventOf(gorepl.XID_EVENT, make([]byte, 8)),
	} {
		if err := r.take(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReader(t *testing.T) {
	r, b := offlineReader(t)
	feed(t, r, 7, rowsOf(2))
	if len(b.Changes) != 2 || !b.bounded || r.done.String() != "00000000-0000-0000-0000-000000000000:7" {
		t.Fatalf("%d changes, boundary %v, at %s", len(b.Changes), b.bounded, &r.done)
	}
	got := texts(b.Changes[1].After)
	want := []string{"1", "1", `"customer 42"`, `"note 0123456789abcdef0123456789abcdef"`, "12345.67", "timestamptz(1767225600123456)", "1", "1.5", "date(19961)", strings.Repeat("64", 32)}
	if !slices.Equal(got[:4], want[:4]) || got[7] != want[7] || got[9] != want[9] {
		t.Errorf("row %v, want %v", got, want)
	}
	if c := b.Changes[1]; c.Index != 1 || c.Table.Key[0] != 0 || string(c.Tx.ID) != "00000000-0000-0000-0000-000000000000:7" {
		t.Errorf("change %+v in %s", c, c.Tx.ID)
	}
}

// In steady state a row costs no allocation.
func TestReaderAllocs(t *testing.T) {
	r, b := offlineReader(t)
	rows := eventOf(gorepl.WRITE_ROWS_EVENTv2, rowsOf(50))
	begin := eventOf(gorepl.GTID_EVENT, gtidOf(1))
	tables, end := eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()), eventOf(gorepl.XID_EVENT, make([]byte, 8))
	gno := uint64(0)
	once := func() {
		gno++
		binary.LittleEndian.PutUint64(begin[eventHeader+17:], gno)
		for _, e := range [][]byte{begin, tables, rows, end} {
			if err := r.take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		b.Changes = b.Changes[:0]
		b.tx = nil
		b.Reset(1 << 20)
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 1 { // one list of events, above
		t.Errorf("a transaction of 50 rows costs %v allocations", n)
	}
}

func BenchmarkReader(b *testing.B) {
	r, batch := offlineReader(b)
	const rows = 50
	events := [][]byte{
		eventOf(gorepl.GTID_EVENT, gtidOf(1)), eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()),
		eventOf(gorepl.WRITE_ROWS_EVENTv2, rowsOf(rows)), eventOf(gorepl.XID_EVENT, make([]byte, 8)),
	}
	b.ReportAllocs()
	ctx := b.Context()
	gno, n := uint64(0), 0
	for b.Loop() {
		gno++
		binary.LittleEndian.PutUint64(events[0][eventHeader+17:], gno)
		for _, e := range events {
			if err := r.take(ctx, e); err != nil {
				b.Fatal(err)
			}
		}
		n += rows
		batch.Changes = batch.Changes[:0]
		batch.tx = nil
		batch.Reset(1 << 20)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}

// FuzzEvents feeds events that no server wrote: an error, never a panic.
func FuzzEvents(f *testing.F) {
	f.Add(eventOf(gorepl.GTID_EVENT, gtidOf(1)), eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()), eventOf(gorepl.WRITE_ROWS_EVENTv2, rowsOf(2)))
	f.Add(eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()), eventOf(gorepl.PARTIAL_UPDATE_ROWS_EVENT, rowsOf(1)), eventOf(gorepl.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, rowsOf(1)))
	f.Add(eventOf(gorepl.QUERY_EVENT, append(make([]byte, 14), "TRUNCATE `a`.b"...)), eventOf(gorepl.TRANSACTION_PAYLOAD_EVENT, []byte{2, 1, 255, 0}), eventOf(gorepl.ROTATE_EVENT, []byte("\x04\x00\x00\x00\x00\x00\x00\x00binlog.000002")))
	f.Add(eventOf(gorepl.MARIADB_GTID_EVENT, make([]byte, 19)), eventOf(gorepl.GTID_TAGGED_LOG_EVENT, make([]byte, 60)), eventOf(gorepl.FORMAT_DESCRIPTION_EVENT, make([]byte, 95)))
	f.Add(eventOf(gorepl.GTID_EVENT, gtidOf(1)), queryOf("XA START X'61',X'',1"), eventOf(gorepl.XA_PREPARE_LOG_EVENT, []byte("\x01\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00a")))
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		r, b := offlineReader(t)
		defer r.close()
		for _, e := range [][]byte{first, second, third} {
			if len(e) > eventHeader && e[4] == byte(gorepl.QUERY_EVENT) && classifyIsTruncate(e) {
				continue // it would ask the catalog
			}
			if r.take(t.Context(), e) != nil {
				return
			}
		}
		for _, c := range b.Changes {
			_ = texts(c.After)
		}
	})
}

func classifyIsTruncate(e []byte) bool {
	return strings.Contains(strings.ToUpper(string(e)), "TRUNCATE")
}

// FuzzValue reads every type out of any bytes.
func FuzzValue(f *testing.F) {
	types := []byte{
		gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_LONGLONG, gomysql.MYSQL_TYPE_YEAR, gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_NEWDECIMAL,
		gomysql.MYSQL_TYPE_BIT, gomysql.MYSQL_TYPE_NEWDATE, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_DATETIME2, gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_TIMESTAMP2,
		gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_TIME2, gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET, gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR,
		gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_VECTOR,
	}
	for i := range types {
		f.Add(uint8(i), uint8(4), uint8(2), []byte("\x02\x00\x00\x00\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x05\x01\x00a"))
	}
	f.Fuzz(func(t *testing.T, which, size, scale uint8, data []byte) {
		col := column{name: "c", typ: types[int(which)%len(types)], size: int(size), scale: int(scale % 7), charset: textCharset, labels: []string{"a", "b"}}
		switch col.typ {
		case gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_VECTOR, gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
			col.size = 1 + int(size)%4
		case gomysql.MYSQL_TYPE_BIT:
			col.size = 1 + int(size)%64
		}
		for _, p := range []ZeroDates{ZeroDatesError, ZeroDatesNull, ZeroDatesText} {
			d := newDecoder(&col, policy{p})
			var a arena.Arena
			c := cursor{B: data}
			if v := d.value(&c, &a); c.Err == nil {
				_ = v.String()
			}
			c = cursor{B: data}
			if v := d.result(&c, &a); c.Err == nil {
				_ = v.String()
			}
		}
	})
}

// FuzzJSON renders and patches any bytes.
func FuzzJSON(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x05\x01\x00a"), []byte("\x00\x03$.a\x02\x04\x01"))
	f.Add([]byte("\x02\x02\x00\x0a\x00\x05\x01\x00\x04\x01\x00"), []byte("\x02\x04$[0]"))
	f.Fuzz(func(t *testing.T, doc, diffs []byte) {
		var a arena.Arena
		d := decoder{op: opJSON}
		_ = d.json(doc, &a)
		if v, err := patchJSON(doc, diffs, &a); err == nil && v.Kind() != replication.KindJSON {
			t.Errorf("patched to %s", v)
		}
	})
}
