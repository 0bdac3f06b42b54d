package mysql

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
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
// left without its end. Nothing of it is passed over for changes of that one.
func TestTornTransaction(t *testing.T) {
	t.Parallel()
	server := servicetest.OwnMySQL(t, services.MariaDB1011, nil)
	cfg, exec := configAt(t, ownDatabase(t, server), "t")
	exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t VALUES (1, 'x')")
	r := openSource(t, cfg)
	r.take(1)
	r.close()
	cfg.From = r.pos
	exec("INSERT INTO t VALUES (2, 'y')", "BEGIN", "INSERT INTO t VALUES (10, 'torn')", "INSERT INTO t VALUES (11, 'torn')", "INSERT INTO t VALUES (12, 'torn')", "COMMIT")
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(server.Dir(), "data", "binlog.[0-9]*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	last := files[len(files)-1]
	st, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, st.Size()-31-10); err != nil { // the XID event and more
		t.Fatal(err)
	}
	if _, err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, exec = configAt(t, server.Address()+"app", "t")
	exec("BEGIN", "INSERT INTO t VALUES (20, 'real')", "INSERT INTO t VALUES (21, 'real')", "INSERT INTO t VALUES (22, 'real')", "COMMIT")
	var ids []string
	for starts := 0; !slices.Contains(ids, "22"); {
		r := openSource(t, cfg)
		for !slices.Contains(ids, "22") {
			b, err := r.s.Next(t.Context())
			if err != nil { // rows of the torn one were handed out
				if starts++; !replication.IsRefusal(err) || starts > 1 {
					t.Fatal(err)
				}
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
	for _, want := range []string{"2", "20", "21", "22"} {
		if !slices.Contains(ids, want) {
			t.Errorf("row %s did not come: %v", want, ids)
		}
	}
}
