package postgres

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cdc/replication"
)

// message builds a pgoutput message: bytes are bytes, other integers are
// big-endian of their width, strings end in a zero byte, texts have a length.
type message []byte

type text string

func msg(kind byte, fields ...any) message {
	m := message{kind}
	for _, f := range fields {
		switch f := f.(type) {
		case byte:
			m = append(m, f)
		case rune: // a kind, written as a constant
			m = append(m, byte(f))
		case uint16:
			m = binary.BigEndian.AppendUint16(m, f)
		case uint32:
			m = binary.BigEndian.AppendUint32(m, f)
		case uint64:
			m = binary.BigEndian.AppendUint64(m, f)
		case string:
			m = append(append(m, f...), 0)
		case text:
			m = append(m, 't')
			m = binary.BigEndian.AppendUint32(m, uint32(len(f)))
			m = append(m, f...)
		default:
			panic(fmt.Sprintf("field of type %T", f))
		}
	}
	return m
}

// testRelation is a table (id int8 key, name text not null, n int4).
func testRelation() *relation {
	t := &replication.Table{Schema: "public", Name: "t", Key: []int{0}, Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true, Identity: true},
		{Name: "name", Kind: replication.KindString, NotNull: true},
		{Name: "n", Kind: replication.KindInt, Bits: 32},
	}}
	rel := &relation{table: t, refetch: new(origin), widen: func(t *replication.Table, i int) *replication.Table {
		return newRelations(nil, nil).widen(1, t, i)
	}}
	for _, c := range t.Columns {
		rel.cols = append(rel.cols, newColumnDecoder(c))
	}
	return rel
}

func newTestDecoder() (*decoder, *batch) {
	d := newDecoder(100)
	d.setRelation(1, testRelation())
	u := &replication.Table{Schema: "public", Name: "u", Key: []int{0}, Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 64}, {Name: "raw", Kind: replication.KindBytes},
	}}
	d.setRelation(3, &relation{table: u, cols: []columnDecoder{newColumnDecoder(u.Columns[0]), newColumnDecoder(u.Columns[1])}})
	return d, newBatchPool(1<<20, 4).TryGet()
}

func begin(commit uint64) message { return msg('B', commit, uint64(5_000_000), uint32(77)) }

func commitAt(commit, end uint64) message {
	return msg('C', byte(0), commit, end, uint64(5_000_000))
}

func insert(id string) message {
	return msg('I', uint32(1), 'N', uint16(3), text(id), text("x"), 'n')
}

func TestDecode(t *testing.T) {
	d, b := newTestDecoder()
	for _, m := range []message{
		begin(0x1_0000_00ff),
		msg('O', uint64(9), "origin"),
		msg('Y', uint32(4000), "public", "mood"),
		insert("1"),
		msg('U', uint32(1), 'N', uint16(3), text("1"), 'u', text("-5")),
		msg('U', uint32(1), 'K', uint16(3), text("1"), 'n', 'n', 'N', uint16(3), text("2"), text(""), 'n'),
		msg('U', uint32(1), 'O', uint16(3), text("2"), text("big"), 'n', 'N', uint16(3), text("2"), 'u', text("3")),
		msg('D', uint32(1), 'K', uint16(3), text("2"), 'n', 'n'),
		msg('T', uint32(2), byte(1), uint32(1), uint32(1)),
		commitAt(0x1_0000_00ff, 0x1_0000_0200),
	} {
		if err := d.decode(m, false, b); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`0 insert t after id=1 name="x" n=null`,
		`1 update t after id=1 name=unchanged n=-5`,
		`2 update t before id=1 name=unchanged n=unchanged after id=2 name="" n=null`,
		`3 update t before id=2 name="big" n=null after id=2 name="big" n=3`,
		`4 delete t before id=2 name=unchanged n=unchanged`,
		`5 truncate t`,
		`6 truncate t`,
	}
	if len(b.Changes) != len(want) {
		t.Fatalf("%d changes, want %d", len(b.Changes), len(want))
	}
	for i := range want {
		if got := describe(&b.Changes[i]); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
	}
	tx := b.Changes[0].Tx
	if string(tx.ID) != "77" || string(tx.Commit) != "1/FF" || tx.CommitTime != 946684805000000 {
		t.Errorf("transaction %s %s %d", tx.ID, tx.Commit, tx.CommitTime)
	}
	if b.Changes[6].Tx != tx || len(b.incomplete) != 1 || b.incomplete[0].at != 1 || b.end != 0x1_0000_0200 {
		t.Errorf("incomplete %v, end %s", b.incomplete, b.end)
	}
}

// TestDecodeResume cuts the connection inside a transaction: what follows is
// each change once, whatever the server sends again.
func TestDecodeResume(t *testing.T) {
	d, b := newTestDecoder()
	feed := func(ms ...message) {
		t.Helper()
		for _, m := range ms {
			if err := d.decode(m, false, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart := func() { d.restart(); d.setRelation(1, testRelation()) }
	feed(begin(100), insert("1"), commitAt(100, 150), begin(200), insert("2"), insert("3"))
	restart()
	if d.idle(180, b) {
		t.Error("a keepalive moved the end while a transaction is half decoded")
	}
	feed(begin(200), insert("2"))
	restart() // again, before it had come as far as the first time
	feed(begin(100), insert("1"), commitAt(100, 150))
	feed(begin(200), insert("2"), insert("3"), insert("4"), commitAt(200, 250))
	restart()
	feed(begin(300), insert("5"), commitAt(300, 350))
	var got []string
	for _, c := range b.Changes {
		got = append(got, fmt.Sprintf("%s.%d=%s", c.Tx.Commit, c.Index, c.After[0]))
	}
	if g := strings.Join(got, " "); g != "0/64.0=1 0/C8.0=2 0/C8.1=3 0/C8.2=4 0/12C.0=5" {
		t.Error(g)
	}
	if b.end != 350 || !d.idle(400, b) || b.end != 400 || d.idle(390, b) {
		t.Errorf("end %s", b.end)
	}
}

// TestDecodeSnapshot leaves out what the table's snapshot has.
func TestDecodeSnapshot(t *testing.T) {
	d, b := newTestDecoder()
	d.rels[1].before = 200
	for _, m := range []message{
		begin(199), insert("1"), msg('T', uint32(1), byte(0), uint32(1)), commitAt(199, 200),
		begin(200), insert("2"), commitAt(200, 250),
	} {
		if err := d.decode(m, false, b); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Changes) != 1 || b.Changes[0].After[0].Int() != 2 || b.end != 250 {
		t.Errorf("%d changes to %s", len(b.Changes), b.end)
	}
}

// TestDecodeWiden meets NULL in a column that the catalog says has none.
func TestDecodeWiden(t *testing.T) {
	d, b := newTestDecoder()
	for _, m := range []message{begin(200), insert("1"), msg('I', uint32(1), 'N', uint16(3), text("2"), 'n', 'n'), insert("3")} {
		if err := d.decode(m, false, b); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := b.Changes[0].Table, b.Changes[1].Table, b.Changes[2].Table
	if !first.Columns[1].NotNull || second.Columns[1].NotNull || !second.Columns[0].NotNull || third != second {
		t.Error("the second table must have name nullable, and stay")
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct {
		name string
		m    message
		want string
	}{
		{"empty", message{}, "decode no message"},
		{"unknown", msg('b', byte(0)), `decode message 'b', transaction 77, commit 0/C8, change 0: message is not of protocol version 1`},
		{"short", insert("1")[:20], "message is cut short"},
		{"long", append(insert("1"), 0), "1 bytes too many"},
		{"relation", msg('I', uint32(2), 'N', uint16(0)), "relation 2 was not described"},
		{"columns", msg('I', uint32(1), 'N', uint16(1), 'n'), "table public.t: row has 1 columns, the relation 3"},
		{"binary", msg('I', uint32(1), 'N', uint16(3), 'b', uint32(0), 'n', 'n'), `column "id": unknown form 'b'`},
		{"huge column", msg('I', uint32(1), 'N', uint16(3), 't', uint32(0xffffffff)), "message is cut short"},
		{"tuple", msg('I', uint32(1), 'O', uint16(3), 'n', 'n', 'n'), `unknown tuple 'O'`},
		{"delete without row", msg('D', uint32(1), 'N', uint16(3), 'n', 'n', 'n'), "delete without the old row"},
		{"begin in transaction", begin(300), "transaction begins inside another"},
		{"commit of another", commitAt(300, 350), "commit 0/12C to 0/15E does not fit"},
		{"truncate", msg('T', uint32(0xffffffff), byte(0), uint32(1)), "message is cut short"},
	}
	for _, tt := range tests {
		d, b := newTestDecoder()
		if err := d.decode(begin(200), false, b); err != nil {
			t.Fatal(err)
		}
		err := d.decode(tt.m, false, b)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	d, b := newTestDecoder()
	for _, m := range []message{insert("1"), commitAt(1, 2), msg('T', uint32(1), byte(0), uint32(1)), msg('B', uint64(0), uint64(0), uint32(1))} {
		if err := d.decode(m, false, b); err == nil {
			t.Errorf("message %q outside a transaction is no error", m[0])
		}
	}
}

func TestDecodeRelation(t *testing.T) {
	m, err := decodeRelation(msg('R', uint32(7), "", "pg_x", 'd', uint16(2),
		byte(1), "id", uint32(20), uint32(0xffffffff), byte(0), "v", uint32(1700), uint32(786438)))
	if err != nil {
		t.Fatal(err)
	}
	want := `&{7 pg_catalog pg_x 100 [{id 20 -1 true 0} {v 1700 786438 false 0}]}`
	if got := fmt.Sprint(m); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []message{msg('R', uint32(7), "a"), msg('R', uint32(7), "a", "b", 'd', uint16(65535), byte(1))} {
		if _, err := decodeRelation(bad); err == nil {
			t.Error("a short relation is no error")
		}
	}
}

// fuzzRelation describes a relation by its message alone.
func fuzzRelation(m *relationMessage) *relation {
	t := &replication.Table{Schema: m.schema, Name: m.name}
	for _, w := range m.cols {
		c := scalar(w.TypeOID, w.Typmod)
		c.Name, c.Identity, c.NotNull = w.Name, w.Identity, w.Identity
		t.Columns = append(t.Columns, c)
	}
	rel := &relation{table: t, widen: func(t *replication.Table, i int) *replication.Table {
		return newRelations(nil, nil).widen(m.oid, t, i)
	}}
	for _, c := range t.Columns {
		rel.cols = append(rel.cols, newColumnDecoder(c))
	}
	return rel
}

// FuzzDecode feeds whole streams, each message after its length in two bytes.
func FuzzDecode(f *testing.F) {
	captured, err := filepath.Glob("testdata/stream/*.pgoutput")
	if err != nil || len(captured) == 0 {
		f.Fatalf("no captured streams: %v", err)
	}
	for _, name := range captured {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	pool := newBatchPool(1<<20, 1)
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder(1)
		b := pool.TryGet()
		defer b.Release()
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			m := data[2 : 2+n]
			data = data[2+n:]
			if len(m) > 0 && m[0] == msgRelation {
				rm, err := decodeRelation(m)
				if err != nil {
					return
				}
				d.setRelation(rm.oid, fuzzRelation(rm))
				continue
			}
			before := string(m)
			if err := d.decode(m, false, b); err != nil {
				return
			}
			if string(m) != before {
				t.Fatal("the message was changed")
			}
		}
		for i := range b.Changes {
			c := &b.Changes[i]
			for _, img := range [][]replication.Value{c.Before, c.After} {
				if img != nil && len(img) != len(c.Table.Columns) {
					t.Fatalf("%d values of %d columns", len(img), len(c.Table.Columns))
				}
			}
			_ = describe(c)
		}
	})
}
