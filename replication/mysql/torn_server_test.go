package mysql

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
)

// TestTornLog: a server that is killed while it writes an event leaves its begin
// at the end of that file of the log. MySQL cuts it off when it starts again,
// MariaDB leaves it there.
func TestTornLog(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MariaDB118, services.MariaDB1011, services.MySQL9} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnMySQL(t, version, nil)
			cfg, exec := configAt(t, ownDatabase(t, server), "t")
			exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
			r := openSource(t, cfg)
			wantRows(t, r.take(1), "read t  > 1 1")
			r.close()
			early := r.pos
			exec("INSERT INTO t VALUES (2, 2)", "INSERT INTO t VALUES (3, 3)")
			cfg.From = early
			r = openSource(t, cfg)
			wantRows(t, r.take(2), "insert t  > 2 2", "insert t  > 3 3")
			r.close()
			late := r.pos
			if err := server.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			tear(t, filepath.Join(server.Dir(), "data"))
			if _, err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, exec = configAt(t, server.Address()+"app", "t")
			exec("INSERT INTO t VALUES (4, 4)")
			cfg.From = early
			r = openSource(t, cfg)
			wantRows(t, r.take(3), "insert t  > 2 2", "insert t  > 3 3", "insert t  > 4 4")
			r.close()
			cfg.From = late
			wantRows(t, openSource(t, cfg).take(1), "insert t  > 4 4")
		})
	}
}

// tear appends the header of an event to the newest file of the log.
func tear(t *testing.T, data string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "binlog.[0-9]*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find the log in %s: %v", data, err)
	}
	f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := f.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	// timestamp, type QUERY_EVENT, server id, length, end, flags
	header := make([]byte, 0, 19)
	header = binary.LittleEndian.AppendUint32(header, 1_700_000_000)
	header = append(header, 2)
	header = binary.LittleEndian.AppendUint32(header, 1)
	header = binary.LittleEndian.AppendUint32(header, 100)
	header = binary.LittleEndian.AppendUint32(header, uint32(at)+100)
	header = binary.LittleEndian.AppendUint16(header, 0)
	if _, err := f.Write(header); err != nil {
		t.Fatal(err)
	}
}

// TestTornTransaction: the next transaction gets the number of one that a crash
// left without its end, in the middle of an event or where one ends. Nothing of it
// is passed over for changes of that one.
func TestTornTransaction(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MariaDB118, services.MariaDB1011} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnMySQL(t, version, nil)
			cfg, exec := configAt(t, ownDatabase(t, server), "t")
			exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)", "CREATE TABLE other (id INT)", "INSERT INTO t VALUES (1, 'x')")
			r := openSource(t, cfg)
			r.take(1)
			r.close()
			cfg.From = r.pos
			const xidEvent = 31
			for i, c := range []struct {
				cut  int64 // bytes of the torn transaction's end
				size int   // of a value; large ones may be handed out before the commit
			}{{xidEvent + 10, 1}, {xidEvent, 1}, {xidEvent, 2 * handOver}} {
				transaction := func(first int, value string) (ids []string) {
					exec("INSERT INTO other VALUES (1)", "BEGIN")
					for id := first; id < first+3; id++ {
						exec(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s')", id, strings.Repeat(value, c.size)))
						ids = append(ids, strconv.Itoa(id))
					}
					exec("COMMIT")
					return ids
				}
				torn := transaction(100*i+10, "t")
				if err := server.Kill(t.Context()); err != nil {
					t.Fatal(err)
				}
				cutLog(t, filepath.Join(server.Dir(), "data"), c.cut)
				if _, err := server.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				_, exec = configAt(t, server.Address()+"app", "t")
				want := transaction(100*i+20, "r")
				got, refused := readTorn(t, &cfg, want[2])
				if refused && c.size > 1 { // of the torn ones as many as were handed out
					got = slices.DeleteFunc(got, func(id string) bool { return slices.Contains(torn, id) })
					refused = false
				}
				if refused || !slices.Equal(got, want) {
					t.Errorf("cut %d, size %d: got %v, want %v; refused %v", c.cut, c.size, got, want, refused)
				}
			}
		})
	}
}

// readTorn reads from cfg.From up to a row, and moves that. What was handed out of
// a torn transaction is a refusal, once.
func readTorn(t *testing.T, cfg *Config, last string) (ids []string, refused bool) {
	t.Helper()
	for !slices.Contains(ids, last) {
		r := openSource(t, *cfg)
		for !slices.Contains(ids, last) {
			b, err := r.s.Next(t.Context())
			if err != nil {
				if refused || !replication.IsRefusal(err) {
					t.Fatal(err)
				}
				refused = true
				break
			}
			for _, c := range b.Changes {
				ids = append(ids, c.After[0].String())
			}
			if b.Position != "" {
				cfg.From = b.Position
			}
			b.Release()
		}
		r.close()
	}
	return ids, refused
}

// cutLog takes bytes off the end of the newest file of the log.
func cutLog(t *testing.T, data string, n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find the log in %s: %v", data, err)
	}
	last := files[len(files)-1]
	st, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, st.Size()-n); err != nil {
		t.Fatal(err)
	}
}
