package mysql

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"cdc/internal/services"
)

// TestTornLog: a server that is killed while it writes an event leaves its begin
// at the end of that file of the log. MySQL cuts it off when it starts again,
// MariaDB leaves it there.
func TestTornLog(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MariaDB118, services.MariaDB1011, services.MySQL9} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := ownServer(t, version, nil)
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
