package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"cdc/replication"
)

// logical is a message as pgoutput sends it.
func logical(flags byte, lsn uint64, prefix, content string) message {
	m := msg('M', flags, lsn, prefix, uint32(len(content)))
	return append(m, content...)
}

// showMessage renders an OpMessage.
func showMessage(c *replication.Change) string {
	return fmt.Sprintf("%d %s tx %q commit %s time %d: %s=%q transactional %v",
		c.Index, c.Op, c.Tx.ID, c.Tx.Commit, c.Tx.CommitTime, c.Message.Prefix, c.Message.Content, c.Message.Transactional)
}

func TestDecodeMessage(t *testing.T) {
	d, b := newTestDecoder()
	d.messages = newPrefixes([]string{"outbox.*", "exact"})
	feed := func(ms ...message) {
		t.Helper()
		for _, m := range ms {
			if err := d.decode(m, false, b); err != nil {
				t.Fatal(err)
			}
			clear(m) // what is kept must be a copy
		}
	}
	d.clock = 7_000_000
	feed(
		logical(0, 96, "outbox.old", "decoded before"),
		logical(0, 104, "outbox.a", "first"),
		begin(200), insert("1"), logical(1, 180, "exact", "in a transaction\x00"), logical(1, 190, "exactly", "not wanted"), insert("2"), commitAt(200, 250),
	)
	if b.end != 250 {
		t.Errorf("end %s", b.end)
	}
	feed(logical(0, 256, "other", "not wanted"), logical(0, 256, "outbox.a", "decoded before"))
	if b.end != 256 || d.end != 256 {
		t.Errorf("end %s after a message that is not wanted", b.end)
	}
	feed(begin(256), insert("9"), commitAt(256, 280)) // right behind the message
	feed(begin(300), logical(1, 290, "outbox.", "before the cut"))
	d.restart()
	d.setRelation(1, testRelation())
	feed(begin(300), logical(1, 290, "outbox.", "before the cut"), insert("3"), commitAt(300, 350))
	var got []string
	for i := range b.Changes {
		if c := &b.Changes[i]; c.Op == replication.OpMessage {
			got = append(got, showMessage(c))
		} else {
			got = append(got, describe(c))
		}
	}
	want := []string{
		`0 message tx "" commit 0/68 time 946684807000000: outbox.a="first" transactional false`,
		`0 insert t after id=1 name="x" n=null`,
		`1 message tx "77" commit 0/C8 time 946684805000000: exact="in a transaction\x00" transactional true`,
		`3 insert t after id=2 name="x" n=null`,
		`0 insert t after id=9 name="x" n=null`,
		`0 message tx "77" commit 0/12C time 946684805000000: outbox.="before the cut" transactional true`,
		`1 insert t after id=3 name="x" n=null`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestDecodeMessageErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   bool // inside a transaction
		m    message
		want string
	}{
		{"short", true, logical(1, 1, "a", "b")[:9], "message is cut short"},
		{"long", true, append(logical(1, 1, "a", "b"), 0), "1 bytes too many"},
		{"length", true, msg('M', byte(1), uint64(1), "a", uint32(0xffffffff)), "message is cut short"},
		{"flags", true, logical(3, 1, "a", "b"), "unknown flags 0x3"},
		{"transactional", false, logical(1, 1000, "a", "b"), "transactional message outside a transaction"},
		{"not transactional", true, logical(0, 1000, "a", "b"), "message of no transaction inside one"},
	} {
		d, b := newTestDecoder()
		d.messages = newPrefixes([]string{"*"})
		if tt.in {
			if err := d.decode(begin(200), false, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.decode(tt.m, false, b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	d, b := newTestDecoder()
	if err := d.decode(logical(0, 1000, "a", "b"), false, b); err == nil {
		t.Error("a message that was not asked for is no error")
	}
}

// TestMessageAllocs holds the decoder to no allocation a message.
func TestMessageAllocs(t *testing.T) {
	d := newDecoder(1)
	d.messages = newPrefixes([]string{"a", "outbox.*"})
	pool := newBatchPool(1<<18, 2)
	in, not := logical(1, 1, "outbox.orders", strings.Repeat("x", 200)), logical(1, 1, "other", "y")
	if err := d.decode(begin(200), false, pool.TryGet()); err != nil {
		t.Fatal(err)
	}
	fill := func() {
		batch := pool.TryGet()
		for !batch.Full() {
			for _, m := range []message{in, not} {
				if err := d.decode(m, false, batch); err != nil {
					t.Fatal(err)
				}
			}
		}
		batch.Release()
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
}

// TestMessages has a real server send messages of every sort, with no table at
// all and with one, over a restart at each Position.
func TestMessages(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE m (id int PRIMARY KEY)`)
	alone, beside := db.stream(), db.stream("m")
	alone.Messages = []string{"outbox.*", "exact"}
	beside.Messages = []string{"*"}
	ctx := testContext(t)
	readers := map[string]*messageReader{"alone": {cfg: alone}, "beside": {cfg: beside}}
	for _, r := range readers {
		r.open(t)
	}
	db.exec(`SELECT pg_logical_emit_message(false, 'outbox.a', 'not in a transaction')`)
	db.exec(`BEGIN; INSERT INTO m VALUES (1);
		SELECT pg_logical_emit_message(true, 'exact', '\x00ff'::bytea); SELECT pg_logical_emit_message(true, 'other', '');
		SAVEPOINT s; SELECT pg_logical_emit_message(true, 'exact', 'rolled back'); ROLLBACK TO s;
		SELECT pg_logical_emit_message(false, 'outbox.b', 'before the commit, in the log');
		INSERT INTO m VALUES (2); COMMIT`)
	db.exec(`BEGIN; SELECT pg_logical_emit_message(true, 'exact', 'rolled back');
		SELECT pg_logical_emit_message(false, 'outbox.c', 'stays'); ROLLBACK`)
	db.exec(`SELECT pg_logical_emit_message(true, 'outbox.d', 'by itself')`)
	want := map[string][]string{
		"alone": {
			`0 outbox.a="not in a transaction" false`,
			`0 outbox.b="before the commit, in the log" false`,
			`0 exact="\x00\xff" true`,
			`0 outbox.c="stays" false`,
			`0 outbox.d="by itself" true`,
		},
		"beside": {
			`0 outbox.a="not in a transaction" false`,
			`0 outbox.b="before the commit, in the log" false`,
			`0 insert m after id=1`,
			`1 exact="\x00\xff" true`,
			`2 other="" true`,
			`3 insert m after id=2`,
			`0 outbox.c="stays" false`,
			`0 outbox.d="by itself" true`,
		},
	}
	for name, r := range readers {
		for len(r.got) < len(want[name]) {
			r.read(t, ctx)
		}
		if g, w := strings.Join(r.got, "\n"), strings.Join(want[name], "\n"); g != w {
			t.Errorf("%s: got\n%s\nwant\n%s", name, g, w)
		}
		mustClose(t, r.s)
		// From every boundary the rest comes, and only that.
		for i, from := range r.positions {
			if from == "" || i == len(r.got)-1 {
				continue
			}
			again := &messageReader{cfg: r.cfg}
			again.cfg.From = from
			again.open(t)
			for len(again.got) < len(r.got)-i-1 {
				again.read(t, ctx)
			}
			if g, w := strings.Join(again.got, "\n"), strings.Join(r.got[i+1:], "\n"); g != w {
				t.Errorf("%s from %s: got\n%s\nwant\n%s", name, from, g, w)
			}
			mustClose(t, again.s)
		}
	}
}

// messageReader reads a source one change a batch, if it can.
type messageReader struct {
	cfg       Config
	s         *Source
	got       []string
	positions []replication.Position // after each of got, if that is a boundary
}

func (r *messageReader) open(t *testing.T) {
	t.Helper()
	r.cfg.BatchBytes = 1
	r.s = mustOpen(t, r.cfg)
}

func (r *messageReader) read(t *testing.T, ctx context.Context) {
	t.Helper()
	b, err := r.s.Next(ctx)
	if err != nil {
		t.Fatalf("after %q: %v", r.got, err)
	}
	for i := range b.Changes {
		c := &b.Changes[i]
		text := ""
		if c.Op != replication.OpMessage {
			text = describe(c)
		} else {
			text = fmt.Sprintf("%d %s=%q %v", c.Index, c.Message.Prefix, c.Message.Content, c.Message.Transactional)
			if (len(c.Tx.ID) > 0) != c.Message.Transactional || len(c.Tx.Commit) == 0 || c.Tx.CommitTime == 0 || c.Table != nil {
				t.Errorf("%s: transaction %q at %q, time %d", text, c.Tx.ID, c.Tx.Commit, c.Tx.CommitTime)
			}
		}
		r.got = append(r.got, text)
		r.positions = append(r.positions, "")
	}
	if b.Position != "" && len(r.positions) > 0 {
		r.positions[len(r.positions)-1] = b.Position
	}
	b.Release()
}
