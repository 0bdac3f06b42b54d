package postgres

import (
	"encoding/binary"
	"testing"
)

// endless repeats what it holds.
type endless struct {
	all  []byte
	rest []byte
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.rest) == 0 {
			e.rest = e.all
		}
		m := copy(p[n:], e.rest)
		e.rest = e.rest[m:]
		n += m
	}
	return n, nil
}

// BenchmarkDrain takes rows from the bytes of a connection into batches, as the
// stream does.
func BenchmarkDrain(b *testing.B) {
	wal := func(m message) (all []byte) {
		all = append(all, 'd')
		all = binary.BigEndian.AppendUint32(all, uint32(4+25+len(m)))
		all = append(all, 'w')
		all = append(all, make([]byte, 24)...)
		return append(all, m...)
	}
	e := &endless{}
	for range 100 {
		e.all = append(e.all, wal(benchInsert())...)
	}
	s := &stream{dec: newDecoder(1), ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
	s.pool = newBatchPool(8<<20, 2)
	s.dec.setRelation(1, benchRelation())
	if err := s.dec.decode(begin(200), false, nil); err != nil {
		b.Fatal(err)
	}
	w := &walConn{r: newWireReader(e)}
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		if err := w.r.fill(); err != nil {
			b.Fatal(err)
		}
		s.cur = s.pool.TryGet()
		if err := s.drain(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		rows += len(s.cur.Changes)
		s.cur.Release()
		s.cur = nil
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
}

// BenchmarkInProgress keeps a transaction in progress, in memory and in a file,
// and decodes it at its commit.
func BenchmarkInProgress(b *testing.B) {
	const rows = 100_000
	p := progress{spools: testSpools(b.TempDir(), 1<<20)}
	d := newDecoder(1)
	d.setRelation(1, benchRelation())
	pool := newBatchPool(1<<20, 1)
	row := inStream(80, benchInsert())
	body := make(message, len(row))
	take := func(m message) *streamCommit {
		done, err := p.decode(m)
		if err == nil && p.spools.over() {
			err = p.spools.spill()
		}
		if err != nil {
			b.Fatal(err)
		}
		return done
	}
	b.ReportAllocs()
	for b.Loop() {
		take(streamStart(80, 1))
		for range rows {
			copy(body, row)
			take(body)
		}
		take(streamStop())
		done := take(streamCommitAt(80, uint64(d.end)+1, uint64(d.end)+10))
		if err := d.enter(80, done.commit, done.time); err != nil {
			b.Fatal(err)
		}
		batch := pool.TryGet()
		for r := p.spools.reader(done.spool); r.fill() == nil; {
			for body, owned, ok := r.next(); ok; body, owned, ok = r.next() {
				if err := d.decode(body, owned, batch); err != nil {
					b.Fatal(err)
				}
				if batch.Full() {
					batch.Release()
					batch = pool.TryGet()
				}
			}
		}
		d.leave(done.commit, done.end, batch)
		p.spools.end(done.spool)
		batch.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
}
