package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/secret"
)

// eager has the server send transactions in progress as soon as they are larger
// than 64 kB, the least that it allows.
func (d *testDB) eager(cfg Config) Config {
	u, err := url.Parse(d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	q := u.Query()
	q.Set("logical_decoding_work_mem", "64kB")
	u.RawQuery = q.Encode()
	cfg.URL = secret.New(u.String())
	return cfg
}

// begun returns how many transactions in progress the source has seen.
func begun(s *Source) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return 0
	}
	return s.stream.progress.spools.begun.Load()
}

// TestSendSooner: the server's memory of transactions in progress is ours to
// choose, unless somebody has chosen it.
func TestSendSooner(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	for _, c := range []struct {
		name, sql, want string
		config          Config
	}{
		{"default", "", decodingMemory, db.config()},
		{"in the URL", "", "64kB", db.eager(db.config())},
		{"on the database", `ALTER DATABASE ` + replication.QuoteIdentifier(db.conn.Config().Database) + ` SET logical_decoding_work_mem = '32MB'`, "32MB", db.config()},
	} {
		if c.sql != "" {
			db.exec(c.sql)
		}
		conn, err := c.config.connectReplication(t.Context(), nil)
		if err == nil {
			err = sendSooner(t.Context(), conn)
		}
		if err != nil {
			t.Fatal(err)
		}
		res, err := conn.Exec(t.Context(), `SHOW logical_decoding_work_mem`).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(res[0].Rows[0][0]); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		conn.Close(t.Context())
	}
}

// actor is a session in the middle of something.
type actor struct {
	n       int
	conn    *pgx.Conn
	inTx    bool
	depth   int
	altered int
	rows    int
}

// act does one thing at random: mostly changes of many rows, which then are sent
// while the transaction is in progress, and all that takes changes back.
func (a *actor) act(t *testing.T, rng *rand.Rand) {
	t.Helper()
	do := func(sql string, args ...any) {
		t.Helper()
		if _, err := a.conn.Exec(context.Background(), fmt.Sprintf(sql, args...)); err != nil {
			t.Fatalf("%s: %v", fmt.Sprintf(sql, args...), err)
		}
	}
	if !a.inTx {
		do(`BEGIN`)
		a.inTx, a.depth = true, 0
	}
	switch k := rng.IntN(100); {
	case k < 40:
		table := []string{"shared", fmt.Sprintf("own%d", a.n)}[rng.IntN(2)]
		n := 1 + rng.IntN(150)
		do(`INSERT INTO %s (actor, n, pad, big) SELECT %d, g, repeat('x', g %% 700), (SELECT string_agg(md5((g * 100 + i)::text), '') FROM generate_series(1, 100) i WHERE g %% 50 = 0)
			FROM generate_series(%d, %d) g`, table, a.n, a.rows, a.rows+n-1)
		a.rows += n
	case k < 50: // big is left out by the log
		do(`UPDATE shared SET pad = pad || 'u' WHERE actor = %d AND n %% 3 = %d`, a.n, rng.IntN(3))
	case k < 55:
		do(`DELETE FROM shared WHERE actor = %d AND n %% 10 = %d`, a.n, rng.IntN(10))
	case k < 57:
		do(`TRUNCATE own%d`, a.n)
	case k < 62:
		do(`SELECT pg_logical_emit_message(%v, 'p.%d', repeat('m', %d))`, rng.IntN(2) == 0, a.n, rng.IntN(2000))
	case k < 65:
		a.altered++
		do(`ALTER TABLE own%d ADD COLUMN c%d int DEFAULT %d`, a.n, a.altered, a.altered)
		do(`INSERT INTO own%d (actor, n, pad) SELECT -1, %d, 'after the alteration'`, a.n, a.rows)
		a.rows++
	case k < 78:
		a.depth++
		do(`SAVEPOINT s%d`, a.depth)
	case k < 88 && a.depth > 0:
		to := 1 + rng.IntN(a.depth)
		do(`ROLLBACK TO SAVEPOINT s%d`, to)
		a.depth = to
	case k < 92 && a.depth > 0:
		to := 1 + rng.IntN(a.depth)
		do(`RELEASE SAVEPOINT s%d`, to)
		a.depth = to - 1
	case k < 97:
		do(`COMMIT`)
		a.inTx = false
	case k < 99:
		do(`ROLLBACK`)
		a.inTx = false
	}
}

// TestInProgressSame has one server send the same log to two sources: to one
// whole transactions, to the other transactions in progress. They hand out the
// same, number by number.
func TestInProgressSame(t *testing.T) {
	for _, seed := range []uint64{
		1795282438571915657, // the server fails: could not map filenode
		uint64(time.Now().UnixNano()),
	} {
		t.Run("", func(t *testing.T) { testInProgressSame(t, seed) })
	}
}

func testInProgressSame(t *testing.T, seed uint64) {
	t.Parallel()
	db := newTestDB(t)
	const actors = 5
	names := []string{"shared"}
	for i := range actors {
		names = append(names, fmt.Sprintf("own%d", i))
	}
	for _, name := range names {
		db.exec(`CREATE TABLE ` + name + ` (actor int, n int, pad text, big text, PRIMARY KEY (actor, n))`)
	}
	db.exec(`ALTER TABLE own1 REPLICA IDENTITY FULL; ALTER TABLE shared ALTER big SET STORAGE EXTERNAL`)
	var sources [2]Config
	for i := range sources {
		cfg := db.stream(names...)
		for n := range cfg.Tables {
			cfg.Tables[n].Toast = ToastOmit // what is read again depends on when
		}
		if seed%2 == 1 { // they may end the streaming
			cfg.Messages = []string{"p.*"}
		}
		cfg.NoStreaming = i == 0
		cfg.SpillMemory = 100 << 10
		cfg.SpillDir = t.TempDir()
		sources[i] = db.eager(cfg)
		mustClose(t, mustOpen(t, sources[i]))
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []*actor
	for i := range actors {
		conn, err := pgx.Connect(t.Context(), db.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		all = append(all, &actor{n: i, conn: conn})
	}
	for range 500 {
		all[rng.IntN(actors)].act(t, rng)
	}
	for _, a := range all { // the others are rolled back
		if a.inTx && a.n%2 == 0 {
			if _, err := a.conn.Exec(t.Context(), `COMMIT`); err != nil {
				t.Fatal(err)
			}
		}
		a.conn.Close(t.Context())
	}
	db.exec(`INSERT INTO shared VALUES (-2, 0, 'the end')`)

	var logs [2][]string
	var rows [2]map[string]string // what the changes make of the tables
	for i, cfg := range sources {
		ctx := testContext(t)
		s := mustOpen(t, cfg)
		rows[i] = map[string]string{}
		for n := len(logs[i]); n == 0 || !strings.Contains(logs[i][n-1], "the end"); n = len(logs[i]) {
			b, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for k := range b.Changes {
				c := &b.Changes[k]
				tx := fmt.Sprintf("%s@%s:%d ", c.Tx.ID, c.Tx.Commit, c.Tx.CommitTime)
				if c.Op == replication.OpMessage {
					if len(c.Tx.ID) == 0 {
						tx = fmt.Sprintf("@%s ", c.Tx.Commit) // its time is that of its sending
					}
					logs[i] = append(logs[i], fmt.Sprintf("%s%d %s=%s", tx, c.Index, c.Message.Prefix, c.Message.Content))
				} else {
					logs[i] = append(logs[i], tx+describe(c))
					follow(rows[i], c)
				}
			}
			b.Release()
		}
		if n := begun(s); (n > 0) != (i == 1) {
			t.Errorf("source %d saw %d transactions in progress", i, n)
		} else if i == 1 {
			t.Logf("%d changes, %d transactions in progress, %d bytes spilled", len(logs[i]), n, s.stream.progress.spools.spilled.Load())
			if s.stream.progress.spools.spilled.Load() == 0 {
				t.Error("nothing went to files")
			}
		}
	}
	truth := map[string]string{}
	for _, name := range names {
		all, err := db.conn.Query(t.Context(), `SELECT format('%s %s %s', $1::text, actor, n), to_json(pad)::text FROM `+name, name)
		if err != nil {
			t.Fatal(err)
		}
		var key, pad string
		if _, err := pgx.ForEachRow(all, []any{&key, &pad}, func() error { truth[key] = pad; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rows {
		if !maps.Equal(rows[i], truth) {
			t.Errorf("the changes of source %d lead to %d rows, the tables have %d", i, len(rows[i]), len(truth))
		}
	}
	for i := range max(len(logs[0]), len(logs[1])) {
		if i >= len(logs[0]) || i >= len(logs[1]) || logs[0][i] != logs[1][i] {
			t.Fatalf("change %d of %d and %d:\nwhole       %.300q\nin progress %.300q", i, len(logs[0]), len(logs[1]), logs[0][i:min(i+1, len(logs[0]))], logs[1][i:min(i+1, len(logs[1]))])
		}
	}
}

// follow applies a change to the rows of all tables: their first three columns.
func follow(rows map[string]string, c *replication.Change) {
	key := func(row []replication.Value) string { return fmt.Sprintf("%s %s %s", c.Table.Name, row[0], row[1]) }
	switch {
	case c.Op == replication.OpTruncate:
		maps.DeleteFunc(rows, func(k, _ string) bool { return strings.HasPrefix(k, c.Table.Name+" ") })
		return
	case c.Before != nil:
		delete(rows, key(c.Before))
	}
	if c.After != nil {
		rows[key(c.After)] = c.After[2].String()
	}
}

// TestInProgressReconnect kills the walsender again and again while several
// large transactions interleave, some of which are rolled back in part or whole.
// What the source hands out has every committed row exactly once, each
// transaction in one piece, at its numbers.
func TestInProgressReconnect(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.eager(db.stream("l"))
	cfg.BatchBytes = 16 << 10 // transactions straddle batches
	cfg.SpillMemory = 64 << 10
	cfg.SpillDir = t.TempDir()
	s := mustOpen(t, cfg)
	ctx := testContext(t)

	const writers, kills = 4, 5
	var mu sync.Mutex
	sizes := map[int]int{} // rows of the committed transactions
	loading, enough := context.WithCancel(ctx)
	defer enough()
	var wg sync.WaitGroup
	defer wg.Wait()
	var failed error
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			err := func() error {
				conn, err := pgx.Connect(context.Background(), db.url)
				if err != nil {
					return err
				}
				defer conn.Close(context.Background())
				for tx := w + 1; loading.Err() == nil; tx += writers {
					rows := 0
					var sql strings.Builder
					sql.WriteString("BEGIN;")
					for range 1 + rng.IntN(6) {
						n := 20 + rng.IntN(150)
						insert := fmt.Sprintf("INSERT INTO l SELECT %d, g, repeat('x', 500) FROM generate_series(%d, %d) g;", tx, rows, rows+n-1)
						if rng.IntN(3) == 0 {
							sql.WriteString("SAVEPOINT a;" + insert + "SAVEPOINT b;" + strings.ReplaceAll(insert, fmt.Sprintf("SELECT %d,", tx), fmt.Sprintf("SELECT %d,", -tx)) + "ROLLBACK TO a;")
						}
						sql.WriteString(insert)
						rows += n
					}
					end := "COMMIT"
					if rng.IntN(5) == 0 {
						end = "ROLLBACK"
					}
					if _, err := conn.Exec(context.Background(), sql.String()+end); err != nil {
						return err
					}
					if end == "COMMIT" {
						mu.Lock()
						sizes[tx] = rows
						mu.Unlock()
					}
				}
				return nil
			}()
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		})
	}
	loaded := make(chan struct{})
	go func() { wg.Wait(); close(loaded) }()

	rows := map[int]int{}
	tx, killed, sinceKill, have, total := 0, 0, 0, 0, -1
	for have != total {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Changes {
			c := &b.Changes[i]
			at, n := int(c.After[0].Int()), int(c.After[1].Int())
			if at != tx {
				if rows[at] > 0 {
					t.Fatalf("transaction %d comes again after %d", at, tx)
				}
				tx = at
			}
			if n != rows[at] || int(c.Index) != n {
				t.Fatalf("transaction %d: row %d at index %d, want %d", at, n, c.Index, rows[at])
			}
			rows[at]++
		}
		have += len(b.Changes)
		sinceKill += len(b.Changes)
		if b.Position != "" && killed%2 == 0 {
			s.Ack(b.Position)
		}
		b.Release()
		if killed < kills && sinceKill > 600 && db.text(`SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE slot_name = $1 AND active`, cfg.Slot) == "1" {
			sinceKill = 0
			if killed++; killed == kills {
				enough() // the rows after the last kill come, too
			}
		}
		select {
		case <-loaded:
			total = sum(sizes)
		default:
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
	if fmt.Sprint(rows) != fmt.Sprint(sizes) {
		t.Errorf("got  %v\nwant %v", rows, sizes)
	}
	t.Logf("%d transactions, %d begun in progress", len(sizes), begun(s))
	if begun(s) == 0 {
		t.Error("no transaction came in progress")
	}
}

// TestInProgressDiskFull has no room for a transaction: the source stops and
// says so, and from its last Position another one has everything.
func TestInProgressDiskFull(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.eager(db.stream("l"))
	cfg.SpillMemory, cfg.SpillDir = 1, t.TempDir()
	full := cfg
	full.createSpool = func(string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	s := mustOpen(t, full)
	db.exec(`INSERT INTO l SELECT 1, g, repeat('x', 500) FROM generate_series(0, 1999) g`)
	for {
		b, err := s.Next(testContext(t))
		if err != nil {
			if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), cfg.SpillDir) {
				t.Errorf("got %v", err)
			}
			break
		}
		if len(b.Changes) > 0 {
			t.Fatalf("change %s", describe(&b.Changes[0]))
		}
		if b.Position != "" {
			cfg.From = b.Position
		}
		b.Release()
	}
	mustClose(t, s)
	got := &ledger{t: t, rows: map[int]int{}}
	s = mustOpen(t, cfg)
	for got.rows[1] < 2000 {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		b.Release()
	}
}

// TestInProgressIdle has a large transaction in progress, and much that happens
// to other tables: the confirmed position follows the log all the same, and what
// is in progress is not lost by that.
func TestInProgressIdle(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(loadTable)
	db.exec(`CREATE TABLE busy (id int, pad text)`)
	db.exec(`ALTER DATABASE ` + db.conn.Config().Database + ` SET wal_sender_timeout = '2s'`) // status every 500 ms
	cfg := db.eager(db.stream("l"))
	cfg.SpillDir = t.TempDir()
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	other := openTestDB(t, db.url)
	db.exec(`BEGIN; INSERT INTO l SELECT 1, g, repeat('x', 500) FROM generate_series(0, 1999) g`)
	var pos position
	follow := func(until func() bool) {
		t.Helper()
		for !until() {
			b, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Changes) > 0 {
				t.Fatalf("changes: %s", describe(&b.Changes[0]))
			}
			if b.Position != "" {
				cfg.From = b.Position
				s.Ack(b.Position)
				if pos, err = parsePosition(b.Position); err != nil {
					t.Fatal(err)
				}
			}
			b.Release()
		}
	}
	other.exec(`INSERT INTO busy SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g`) // > idleBytes
	target, err := pglogrepl.ParseLSN(other.text(`SELECT pg_current_wal_insert_lsn()::text`))
	if err != nil {
		t.Fatal(err)
	}
	follow(func() bool { return pos.LSN+idleBytes >= target })
	for confirmed(other, cfg.Slot) < pos.LSN {
		wait(t, ctx)
	}
	if open, _, _ := s.stream.progress.spools.spooled(); open == 0 {
		t.Error("the transaction is not held in progress")
	}
	// The reader goes, and another begins at a position after the rows.
	mustClose(t, s)
	s = mustOpen(t, cfg)
	db.exec(`INSERT INTO l VALUES (1, 2000, 'last'); COMMIT`)
	got := &ledger{t: t, rows: map[int]int{}}
	for got.rows[1] < 2001 {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		b.Release()
	}
}

// TestInProgressToast reads again what the log left out of a transaction that
// came in progress, once that has committed.
func TestInProgressToast(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(`CREATE TABLE l (id int PRIMARY KEY, n int, big text); ALTER TABLE l ALTER big SET STORAGE EXTERNAL;
		INSERT INTO l SELECT g, 0, repeat(g::text, 5000) FROM generate_series(1, 600) g`)
	cfg := db.eager(db.stream("l"))
	cfg.SpillMemory, cfg.SpillDir = 1, t.TempDir()
	s := mustOpen(t, cfg)
	r := &tape{t: t, s: s}
	db.exec(`BEGIN; UPDATE l SET n = n + 1; SAVEPOINT a; UPDATE l SET big = 'rolled back'; ROLLBACK TO a; UPDATE l SET n = n + 1; COMMIT`)
	r.until(func() bool { return len(r.rows) >= 1200 })
	for i, row := range r.rows {
		id := i%600 + 1
		big := strings.Repeat(fmt.Sprint(id), 5000)
		want := fmt.Sprintf(`%d update l after id=%d n=%d big="%s…%d`, i, id, 1+i/600, big[:9], len(big)+2)
		if !strings.HasPrefix(row, want) {
			t.Fatalf("row %d: %s, want %s", i, row, want)
		}
	}
	if begun(s) == 0 {
		t.Error("the transaction did not come in progress")
	}
}

// TestInProgressMessages rolls back a message in a transaction in progress: it
// does not come, and later transactions come in progress again.
func TestInProgressMessages(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.eager(db.stream("l"))
	cfg.Messages, cfg.SpillDir = []string{"m"}, t.TempDir()
	cfg.wholeFor = 1
	s := mustOpen(t, cfg)
	got := 0
	var messages []string
	read := func(rows int) {
		t.Helper()
		for got < rows {
			b, err := s.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Changes {
				if c := &b.Changes[i]; c.Op == replication.OpMessage {
					messages = append(messages, fmt.Sprintf("%s.%d", c.Message.Content, c.Index))
				} else {
					got++
				}
			}
			b.Release()
		}
	}
	const rows = `INSERT INTO l SELECT %d, g, repeat('x', 500) FROM generate_series(%d, %d) g;`
	db.exec(`BEGIN; SELECT pg_logical_emit_message(true, 'm', 'stays');` + fmt.Sprintf(rows, 1, 0, 999) +
		`SAVEPOINT a; SELECT pg_logical_emit_message(true, 'm', 'goes');` + fmt.Sprintf(rows, 1, 1000, 1999) + `ROLLBACK TO a;` +
		`SELECT pg_logical_emit_message(true, 'm', 'stays, too');` + fmt.Sprintf(rows, 1, 2000, 2999) + `COMMIT`)
	read(2000)
	if m := strings.Join(messages, " "); m != "stays.0 stays, too.1001" {
		t.Errorf("messages %s", m)
	}
	before := begun(s)
	for tx := 2; begun(s) == before; tx++ {
		db.exec(fmt.Sprintf(rows, tx, 0, 999))
		read(2000 + 1000*(tx-1))
	}
}
