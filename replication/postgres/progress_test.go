package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"cdc/replication"
)

// These build the messages of protocol version 2.

func streamStart(xid uint32, first byte) message { return msg('S', xid, first) }

func streamStop() message { return msg('E') }

func streamAbort(xid, sub uint32) message { return msg('A', xid, sub) }

func streamCommitAt(xid uint32, commit, end uint64) message {
	return msg('c', xid, byte(0), commit, end, uint64(5_000_000))
}

// inStream puts the xid of a subtransaction behind the kind.
func inStream(xid uint32, m message) message {
	return append(binary.BigEndian.AppendUint32(message{m[0]}, xid), m[1:]...)
}

// relationT is the relation message of a table t (id int8 key, name text, n
// int4), with further columns of type int4.
func relationT(oid uint32, more ...string) message {
	fields := []any{
		oid, "public", "t", 'd', uint16(3 + len(more)),
		byte(1), "id", uint32(20), uint32(0xffffffff), byte(0), "name", uint32(25), uint32(0xffffffff), byte(0), "n", uint32(23), uint32(0xffffffff),
	}
	for _, name := range more {
		fields = append(fields, byte(0), name, uint32(23), uint32(0xffffffff))
	}
	return msg('R', fields...)
}

// desk is decoder and progress as a stream joins them, without a server.
type desk struct {
	d *decoder
	p progress
	b *batch
}

func testSpools(dir string, limit int) *spools {
	return newSpools(&Config{SpillDir: dir, SpillMemory: limit, createSpool: createSpool})
}

func newDesk(t testing.TB, limit int) *desk {
	k := &desk{d: newDecoder(100), p: progress{spools: testSpools(t.TempDir(), limit)}, b: newBatchPool(1<<20, 4).TryGet()}
	t.Cleanup(k.p.restart)
	return k
}

func (k *desk) take(m []byte) error {
	if len(m) == 0 || !k.p.takes(m[0]) {
		return k.decode(m, false)
	}
	done, err := k.p.decode(m)
	if err != nil {
		return err
	}
	if done == nil {
		return k.p.spools.spill()
	}
	defer k.p.spools.end(done.spool)
	if err := k.d.enter(done.spool.xid, done.commit, done.time); err != nil {
		return err
	}
	r := k.p.spools.reader(done.spool)
	for {
		if err := r.fill(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		for {
			body, owned, ok := r.next()
			if !ok {
				break
			}
			if err := k.decode(body, owned); err != nil {
				return err
			}
		}
	}
	k.d.leave(done.commit, done.end, k.b)
	return nil
}

func (k *desk) decode(m []byte, owned bool) error {
	if len(m) == 0 || m[0] != msgRelation {
		return k.d.decode(m, owned, k.b)
	}
	r, err := decodeRelation(m)
	if err == nil {
		k.d.setRelation(r.oid, fuzzRelation(r))
	}
	return err
}

func (k *desk) feed(t *testing.T, ms ...message) {
	t.Helper()
	for _, m := range ms {
		if err := k.take(bytes.Clone(m)); err != nil {
			t.Fatal(err)
		}
	}
}

func (k *desk) shown() string {
	var got strings.Builder
	for i := range k.b.Changes {
		c := &k.b.Changes[i]
		fmt.Fprintf(&got, "%s@%s %s\n", c.Tx.ID, c.Tx.Commit, describe(c))
	}
	return got.String()
}

// TestInProgress interleaves two transactions in progress with whole ones. What
// comes out is in the order of the commits, without what was taken back, and
// numbered as if that had never been; whatever the memory holds.
func TestInProgress(t *testing.T) {
	want := `70@0/C8 0 insert t after id=1 name="x" n=null
90@0/190 0 insert t after id=10 name="x" n=null
90@0/190 1 insert t after id=14 name="x" n=null
90@0/190 2 truncate t
90@0/190 3 insert t after id=15 name="x" n=null
80@0/1F4 0 insert t after id=2 name="x" n=null
80@0/1F4 1 insert t after id=3 name="x" n=null more=7
80@0/1F4 2 insert t after id=4 name="x" n=null more=8
70@0/258 0 insert t after id=5 name="x" n=null
`
	wide := func(id, more string) message {
		return msg('I', uint32(1), 'N', uint16(4), text(id), text("x"), 'n', text(more))
	}
	for _, limit := range []int{0, 1 << 20} { // all in files, all in memory
		k := newDesk(t, limit)
		k.feed(
			t,
			streamStart(80, 1), msg('O', uint64(9), "origin"), inStream(80, relationT(1)), inStream(80, insert("2")), streamStop(),
			relationT(1), msg('B', uint64(200), uint64(5_000_000), uint32(70)), insert("1"), commitAt(200, 250),
			streamStart(90, 1), inStream(90, relationT(1)), inStream(90, insert("10")),
			inStream(91, insert("11")), inStream(92, insert("12")), streamStop(),
			streamAbort(90, 92),
			streamStart(80, 0), inStream(81, relationT(1, "gone")), inStream(81, insert("99")), streamStop(),
			streamAbort(90, 91),
			streamAbort(80, 81), // with the relation that it had
			streamStart(80, 0), inStream(80, relationT(1, "more")), inStream(80, wide("3", "7")), inStream(82, wide("4", "8")), streamStop(),
			streamStart(90, 0), inStream(93, relationT(1)), inStream(93, insert("14")), inStream(90, msg('T', uint32(1), byte(0), uint32(1))),
			inStream(90, msg('Y', uint32(4000), "public", "mood")), inStream(90, insert("15")), streamStop(),
			streamStart(60, 1), inStream(60, insert("60")), streamStop(), streamAbort(60, 60),
			streamAbort(50, 50), // nothing of it was sent
			streamCommitAt(90, 400, 450),
			streamCommitAt(80, 500, 550),
			relationT(1), msg('B', uint64(600), uint64(5_000_000), uint32(70)), insert("5"), commitAt(600, 650),
		)
		if got := k.shown(); got != want {
			t.Errorf("limit %d: got\n%s\nwant\n%s", limit, got, want)
		}
		if open, mem, disk := k.p.spools.spooled(); open != 0 || mem != 0 || disk != 0 {
			t.Errorf("limit %d: %d open, %d bytes in memory, %d in files at the end", limit, open, mem, disk)
		}
		if k.b.end != 650 {
			t.Errorf("end %s", k.b.end)
		}
	}
}

// TestInProgressResume cuts the connection in a transaction's blocks, and while
// it is read after its commit.
func TestInProgressResume(t *testing.T) {
	k := newDesk(t, 0)
	k.feed(t, streamStart(80, 1), inStream(80, relationT(1)), inStream(80, insert("1")))
	if k.d.idle(150, k.b) != true || k.b.end != 150 {
		t.Error("a transaction in progress holds the end back")
	}
	k.d.restart()
	k.p.restart()
	all := []message{
		streamStart(80, 1), inStream(80, relationT(1)), inStream(80, insert("1")), inStream(81, insert("2")), streamStop(),
		streamStart(80, 0), inStream(80, insert("3")), streamStop(),
	}
	k.feed(t, all...)
	// Its commit comes, and the connection goes after two rows.
	if err := k.d.enter(80, 200, 0); err != nil {
		t.Fatal(err)
	}
	for _, m := range []message{relationT(1), insert("1"), insert("2")} {
		if err := k.decode(m, false); err != nil {
			t.Fatal(err)
		}
	}
	k.d.restart()
	k.p.restart()
	if open, mem, disk := k.p.spools.spooled(); open != 0 || mem != 0 || disk != 0 {
		t.Errorf("%d open, %d bytes in memory, %d in files after the connection went", open, mem, disk)
	}
	k.feed(t, all...)
	k.feed(t, streamCommitAt(80, 200, 250))
	var got []string
	for _, c := range k.b.Changes {
		got = append(got, fmt.Sprintf("%s.%d=%s", c.Tx.Commit, c.Index, c.After[0]))
	}
	if g := strings.Join(got, " "); g != "0/C8.0=1 0/C8.1=2 0/C8.2=3" || k.b.end != 250 {
		t.Errorf("%s, end %s", g, k.b.end)
	}
}

func TestInProgressErrors(t *testing.T) {
	begun := []message{streamStart(80, 1), inStream(80, relationT(1)), inStream(80, insert("1"))}
	stopped := slices.Concat(begun, []message{streamStop()})
	for _, tt := range []struct {
		name   string
		before []message
		m      message
		want   string
	}{
		{"twice", stopped, streamStart(80, 1), "transaction 80 begins twice"},
		{"not begun", nil, streamStart(80, 0), "transaction 80 was not begun"},
		{"commit not begun", nil, streamCommitAt(80, 200, 250), "transaction 80 was not begun"},
		{"stop", nil, streamStop(), "outside a block"},
		{"block in a block", begun, streamStart(81, 1), "decode message 'S' of transaction 80 in progress: message does not belong into a block"},
		{"commit in a block", begun, commitAt(200, 250), "does not belong into a block"},
		{"short start", nil, msg('S', uint32(80)), "cut short"},
		{"long start", nil, append(streamStart(80, 1), 0), "1 bytes too many"},
		{"short stop", begun, append(streamStop(), 0), "1 bytes too many"},
		{"short commit", stopped, streamCommitAt(80, 200, 250)[:20], "cut short"},
		{"short abort", stopped, streamAbort(80, 81)[:8], "cut short"},
		{"abort with half a time", stopped, append(streamAbort(80, 81), make([]byte, 12)...), "cut short"},
		{"row without xid", begun, message{'I', 0, 0}, "cut short"},
		{"no commit position", stopped, streamCommitAt(80, 0, 250), "commit position is zero"},
		{"bad row", append(begun[:3:3], inStream(80, insert("1")[:20]), streamStop()), streamCommitAt(80, 200, 250), "transaction 80, commit 0/C8, change 2: message is cut short"},
	} {
		k := newDesk(t, 1<<20)
		k.feed(t, tt.before...)
		if err := k.take(tt.m); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	k := newDesk(t, 1<<20)
	k.feed(t, stopped...)
	k.feed(t, append(streamAbort(80, 80), make([]byte, 16)...)) // of version 4
	if open, _, _ := k.p.spools.spooled(); open != 0 {
		t.Error("the transaction is still there")
	}
}

// TestSpool fills spools with messages of all sizes, over and over, and reads
// them back. Neither memory nor files grow beyond what they must.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	p := testSpools(dir, 300<<10)
	defer p.clear()
	for range 2 {
		want := map[uint32][][]byte{}
		for i := range uint32(400) {
			xid := 1 + i%3
			if p.open[xid] == nil {
				p.begin(xid)
			}
			size := int(i * 17 % 1000)
			switch i {
			case 100:
				size = spoolBlock - spoolHead // just fits
			case 101:
				size = spoolBlock - spoolHead + 1
			case 350:
				size = spoolRead + 1 // in a file, larger than what is read at a time
			case 399:
				size = spoolRead + 2 // stays in memory
			}
			body := bytes.Repeat([]byte{byte(i)}, size)
			sub := xid
			if i%7 == 0 {
				sub = 1000 + i
			}
			p.add(p.open[xid], sub, body)
			if sub == xid {
				want[xid] = append(want[xid], body)
			} else {
				p.open[xid].abort(sub)
			}
			if i < 390 {
				if err := p.spill(); err != nil {
					t.Fatal(err)
				}
				if p.used > p.limit {
					t.Fatalf("%d bytes in memory, at most %d", p.used, p.limit)
				}
			}
		}
		if _, mem, disk := p.spooled(); mem == 0 || disk == 0 {
			t.Fatalf("%d bytes in memory, %d in files", mem, disk)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
			t.Errorf("files have names: %v, %v", names, err)
		}
		for xid := range uint32(3) {
			xid++
			s := p.open[xid]
			r := p.reader(s)
			var got [][]byte
			for {
				if err := r.fill(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				for {
					body, owned, ok := r.next()
					if !ok {
						break
					}
					if !owned {
						body = bytes.Clone(body)
					}
					got = append(got, body)
				}
			}
			if len(got) != len(want[xid]) {
				t.Fatalf("transaction %d: %d messages, want %d", xid, len(got), len(want[xid]))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[xid][i]) {
					t.Fatalf("transaction %d, message %d: %d bytes, want %d", xid, i, len(got[i]), len(want[xid][i]))
				}
			}
			p.end(s)
		}
		if open, mem, disk := p.spooled(); open != 0 || mem != 0 || disk != 0 || p.used != 0 {
			t.Errorf("%d open, %d bytes in memory, %d in files at the end", open, mem, disk)
		}
		if kept := len(p.free) * spoolBlock; kept > spoolKept {
			t.Errorf("%d bytes are kept", kept)
		}
	}
}

// TestSpoolFile looks at the file itself: nobody else may read it.
func TestSpoolFile(t *testing.T) {
	f, err := createSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	if _, err := os.Stat(f.Name()); !os.IsNotExist(err) {
		t.Errorf("the file has a name still: %v", err)
	}
}

// TestSpoolFull writes to a device that is full.
func TestSpoolFull(t *testing.T) {
	p := testSpools(t.TempDir(), 0)
	defer p.clear()
	p.create = func(string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	p.add(p.begin(7), 7, []byte("x"))
	err := p.spill()
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "transaction 7") || !strings.Contains(err.Error(), p.dir) ||
		!strings.Contains(err.Error(), "no space left on device") || transient(err) {
		t.Errorf("got %v", err)
	}
}

// TestSpoolAllocs holds spools to no allocation a row, in memory and to a file.
func TestSpoolAllocs(t *testing.T) {
	p := testSpools(t.TempDir(), 1<<20)
	defer p.clear()
	g := progress{spools: p}
	row := inStream(80, benchInsert())
	body := make(message, len(row))
	if _, err := g.decode(streamStart(80, 1)); err != nil {
		t.Fatal(err)
	}
	fill := func() {
		for range 20_000 { // 4 MB
			copy(body, row)
			if _, err := g.decode(body); err != nil {
				t.Fatal(err)
			}
			if p.over() {
				if err := p.spill(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	fill()
	if n := testing.AllocsPerRun(3, fill); n > 0 {
		t.Errorf("%v allocations for 20000 rows, want 0", n)
	}
}

// FuzzInProgress feeds whole streams, each message after its length in two bytes.
// Whatever comes, memory is bounded and what is held at the end is let go.
func FuzzInProgress(f *testing.F) {
	seed := func(ms ...message) {
		var data []byte
		for _, m := range ms {
			data = append(binary.BigEndian.AppendUint16(data, uint16(len(m))), m...)
		}
		f.Add(data)
	}
	seed(streamStart(80, 1), inStream(80, relationT(1)), inStream(80, insert("1")), inStream(81, insert("2")), streamStop(), streamAbort(80, 81),
		relationT(1), begin(200), insert("3"), commitAt(200, 250), streamStart(80, 0), inStream(80, insert("4")), inStream(80, logical(1, 1, "a", "b")), streamStop(), streamCommitAt(80, 300, 350))
	seed(streamStart(80, 1), streamStop(), streamAbort(80, 80), logical(0, 300, "a", "b"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		k := &desk{d: newDecoder(1), p: progress{spools: testSpools(dir, 100)}, b: newBatchPool(1<<20, 1).TryGet()}
		k.d.messages = newPrefixes([]string{"*"})
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			m := bytes.Clone(data[2 : 2+n])
			data = data[2+n:]
			if err := k.take(m); err != nil {
				break
			}
			if k.p.spools.used > 100 {
				t.Fatalf("%d bytes in memory", k.p.spools.used)
			}
		}
		last := ""
		for i := range k.b.Changes {
			c := &k.b.Changes[i]
			for _, img := range [][]replication.Value{c.Before, c.After} {
				if img != nil && len(img) != len(c.Table.Columns) {
					t.Fatalf("%d values of %d columns", len(img), len(c.Table.Columns))
				}
			}
			id := fmt.Sprintf("%s.%d", c.Tx.Commit, c.Index)
			if len(c.Tx.ID) > 0 && id == last {
				t.Fatalf("two changes %s", id)
			}
			last = id
		}
		k.p.restart()
		if open, mem, disk := k.p.spools.spooled(); open != 0 || mem != 0 || disk != 0 {
			t.Fatalf("%d open, %d bytes in memory, %d in files", open, mem, disk)
		}
	})
}
