package postgres

import (
	"context"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cdc/replication"
	"cdc/replication/arena"
)

// benchTable has the ten columns of the project's benchmarks.
const benchTable = `CREATE TABLE r (id bigint PRIMARY KEY, n int, a text, b text, amount numeric(12,2),
	at timestamptz, ok boolean, x double precision, d date, raw bytea)`

func benchRelation() *relation {
	m := &relationMessage{oid: 1, schema: "public", name: "r", identity: identityDefault, cols: []wireColumn{
		{Name: "id", TypeOID: oidInt8, Identity: true},
		{Name: "n", TypeOID: oidInt4},
		{Name: "a", TypeOID: 25},
		{Name: "b", TypeOID: 25},
		{Name: "amount", TypeOID: oidNumeric},
		{Name: "at", TypeOID: oidTimestampTZ},
		{Name: "ok", TypeOID: oidBool},
		{Name: "x", TypeOID: oidFloat8},
		{Name: "d", TypeOID: oidDate},
		{Name: "raw", TypeOID: oidBytea},
	}}
	return fuzzRelation(m)
}

func benchInsert() message {
	return msg('I', uint32(1), 'N', uint16(10), text("1234567"), text("123456"), text("a text of some length"), text("another text"),
		text("12345.67"), text("2026-11-21 12:34:56.789012+00"), text("t"), text("3.14159"), text("2026-11-21"),
		text(`\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f`))
}

// BenchmarkDecodeInsert decodes one insert of ten columns into a batch.
func BenchmarkDecodeInsert(b *testing.B) {
	d := newDecoder(1)
	d.setRelation(1, benchRelation())
	pool := newBatchPool(1<<20, 2)
	batch := pool.TryGet()
	m, start := benchInsert(), begin(200)
	if err := d.decode(start, false, batch); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.decode(m, false, batch); err != nil {
			b.Fatal(err)
		}
		if batch.Full() {
			batch.Release()
			batch = pool.TryGet()
		}
	}
}

// TestDecodeAllocs holds the decoder to no allocation a row.
func TestDecodeAllocs(t *testing.T) {
	d := newDecoder(1)
	d.setRelation(1, benchRelation())
	pool := newBatchPool(1<<18, 2)
	m := benchInsert()
	update := msg('U', uint32(1), 'K', uint16(10), text("1"), 'n', 'n', 'n', 'n', 'n', 'n', 'n', 'n', 'n', 'N')
	update = append(update, m[6:]...)
	if err := d.decode(begin(200), false, pool.TryGet()); err != nil {
		t.Fatal(err)
	}
	truncate := msg('T', uint32(1), byte(0), uint32(1))
	fill := func() {
		batch := pool.TryGet()
		for !batch.Full() {
			for _, x := range []message{m, update, truncate} {
				if err := d.decode(x, false, batch); err != nil {
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

// TestArrayAllocs holds arrays, which are decoded in place, to the same.
func TestArrayAllocs(t *testing.T) {
	pool := newBatchPool(1<<18, 2)
	decoders := []columnDecoder{newColumnDecoder(textArr), newColumnDecoder(array(replication.KindBytes)), newColumnDecoder(array(replication.KindUUID))}
	texts := []string{`{a,"b \"c\" \\",NULL}`, `{"\\xdeadbeef","\\x"}`, `{6f9619ff-8b86-d011-b42d-00cf4fc964ff,NULL}`}
	fill := func() {
		batch := pool.TryGet()
		for range 1000 {
			for i := range decoders {
				text := batch.Alloc(len(texts[i]))
				copy(text, texts[i])
				if _, err := decoders[i].decode(text, &batch.Arena); err != nil {
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

// BenchmarkText decodes one value a kind.
func BenchmarkText(b *testing.B) {
	for _, tt := range []struct {
		name string
		col  replication.Column
		text string
	}{
		{"int8", longCol, "1234567"},
		{"numeric", numCol, "12345.67"},
		{"timestamptz", tstzCol, "2026-11-21 12:34:56.789012+00"},
		{"float8", floatCol, "3.14159"},
		{"text[]", textArr, `{a,"b c",NULL}`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			d, a := newColumnDecoder(tt.col), new(arena.Arena)
			buf := make([]byte, len(tt.text))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, tt.text)
				if _, err := d.decode(buf, a); err != nil {
					b.Fatal(err)
				}
				if a.Used() > 1<<20 {
					a.Reset(1 << 20)
				}
			}
		})
	}
}

// BenchmarkReceive drains a backlog of a real server, transactions of 100 rows,
// over whatever the URL names. CPU is this process's.
func BenchmarkReceive(b *testing.B) {
	const rows = 200_000
	db := newTestDB(b)
	db.exec(benchTable)
	cfg := db.config()
	cfg.Tables = []TableConfig{{Schema: "public", Name: "r", Snapshot: SnapshotNever}}
	src, err := Open(b.Context(), cfg) // makes the slot
	if err != nil {
		b.Fatal(err)
	}
	start, err := src.Next(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	cfg.From = start.Position
	start.Release()
	mustClose(b, src)
	db.exec(`DO $$ BEGIN FOR t IN 0 .. ` + strconv.Itoa(rows/100-1) + ` LOOP
		INSERT INTO r SELECT t * 100 + i, i, 'a text of some length ' || i, 'another ' || t, (t * 100 + i) / 7.0, now(), i % 2 = 0, random(), current_date, decode(repeat('ab', 32), 'hex')
		FROM generate_series(1, 100) i; COMMIT; END LOOP; END $$`)
	for b.Loop() {
		src, err := Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		var before, after runtime.MemStats
		var n, batches int
		var began time.Time
		var cpu time.Duration
		for n < rows {
			batch, err := src.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if n == 0 {
				began, cpu = time.Now(), cpuTime()
				runtime.ReadMemStats(&before)
			}
			if n += len(batch.Changes); len(batch.Changes) > 0 {
				batches++
			}
			batch.Release()
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(n)/took.Seconds(), "rows/s")
		b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(n), "cpu-ns/row")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/row")
		b.ReportMetric(float64(n)/float64(batches), "rows/batch")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := src.Close(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
