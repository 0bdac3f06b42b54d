package mysql

import (
	"bytes"
	"compress/zlib"
	"io"
	"log/slog"
	"strings"
	"testing"

	gorepl "github.com/go-mysql-org/go-mysql/replication"
)

func queryOf(sql string) []byte {
	return eventOf(gorepl.QUERY_EVENT, append(make([]byte, 14), sql...))
}

// TestRollbackAfterRows: rows that were handed out cannot be taken back.
func TestRollbackAfterRows(t *testing.T) {
	r, _ := offlineReader(t)
	for _, e := range [][]byte{
		eventOf(gorepl.GTID_EVENT, gtidOf(1)), queryOf("BEGIN"), queryOf("ROLLBACK"), eventOf(gorepl.GTID_EVENT, gtidOf(2)), queryOf("BEGIN"),
		eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf()), eventOf(gorepl.WRITE_ROWS_EVENTv2, rowsOf(1)),
	} {
		if err := r.take(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, r.take(t.Context(), queryOf("ROLLBACK")), "a transaction rolled back after it had changed a table that cannot roll back", "InnoDB")
}

// TestMovedRows: partitions and tablespaces of captured tables that come or go
// are refused, those of others are not.
func TestMovedRows(t *testing.T) {
	for sql, refused := range map[string]bool{
		"ALTER TABLE app.r DROP PARTITION p":                           true,
		"ALTER TABLE app.x EXCHANGE PARTITION p WITH TABLE `app`.`r`":  true,
		"ALTER TABLE app.x CONVERT TABLE app.r TO PARTITION p DEFAULT": true,
		"ALTER TABLE app.x CONVERT PARTITION p TO TABLE app.r":         true,
		"ALTER TABLE app.x DROP PARTITION r":                           false,
		"ALTER TABLE app.r DROP COLUMN note":                           false,
	} {
		r, _ := offlineReader(t)
		if err := r.take(t.Context(), eventOf(gorepl.GTID_EVENT, gtidOf(1))); err != nil {
			t.Fatal(err)
		}
		err := r.take(t.Context(), queryOf(sql))
		if refused {
			wantRefusal(t, err, "rows of table app.r came or went", "cdc drop")
		} else if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	// Of an outbox rows may go, but none come.
	for sql, refused := range map[string]bool{"ALTER TABLE app.r DROP PARTITION p": false, "ALTER TABLE app.r EXCHANGE PARTITION p WITH TABLE x": true} {
		r, _ := offlineReader(t)
		r.cfg.Tables[0].InsertsOnly = true
		if err := r.take(t.Context(), eventOf(gorepl.GTID_EVENT, gtidOf(1))); err != nil {
			t.Fatal(err)
		}
		if err := r.take(t.Context(), queryOf(sql)); (err != nil) != refused {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestDroppedPartitions: where it is chosen, rows may go with partitions, and
// only go.
func TestDroppedPartitions(t *testing.T) {
	for sql, refused := range map[string]bool{
		"ALTER TABLE app.r DROP PARTITION p1, p2":                      false,
		"ALTER TABLE app.r TRUNCATE PARTITION ALL":                     false,
		"ALTER TABLE app.r DISCARD PARTITION p TABLESPACE":             false,
		"ALTER TABLE app.r CONVERT PARTITION p TO TABLE app.old":       true,
		"ALTER TABLE app.r EXCHANGE PARTITION p WITH TABLE app.x":      true,
		"ALTER TABLE app.r CONVERT TABLE app.x TO PARTITION p DEFAULT": true,
		"ALTER TABLE app.r IMPORT PARTITION p TABLESPACE":              true,
	} {
		r, _ := offlineReader(t)
		var log bytes.Buffer
		r.cfg.OnDropPartition, r.cfg.Logger = OnDropPartitionWarn, slog.New(slog.NewTextHandler(&log, nil))
		if err := r.take(t.Context(), eventOf(gorepl.GTID_EVENT, gtidOf(1))); err != nil {
			t.Fatal(err)
		}
		err := r.take(t.Context(), queryOf(sql))
		if refused {
			wantRefusal(t, err, "rows of table app.r came or went", "cdc drop")
		} else if err != nil || !strings.Contains(log.String(), "table=app.r") {
			t.Errorf("%s: %v, log %q", sql, err, log.String())
		}
	}
}

// TestDDLForgetsPlans: the bytes of a table map may mean something else after
// DDL on its table.
func TestDDLForgetsPlans(t *testing.T) {
	for sql, want := range map[string]int{
		"ALTER TABLE app.r MODIFY note TEXT": 0, "RENAME TABLE app.x TO app.r": 0, "DROP TABLE app.r": 0, "ALTER TABLE app.other ADD c INT": 1,
	} {
		r, _ := offlineReader(t)
		r.cfg.Logger = slog.New(slog.DiscardHandler)
		feed(t, r, 1, rowsOf(1))
		for _, e := range [][]byte{eventOf(gorepl.GTID_EVENT, gtidOf(2)), queryOf(sql)} {
			if err := r.take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.plans) != want {
			t.Errorf("after %s: %d plans, want %d", sql, len(r.plans), want)
		}
	}
}

// TestCorruptEvents: what came whole and cannot be inflated does not get better
// by reading it again.
func TestCorruptEvents(t *testing.T) {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write(rowsOf(1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	short := z.Bytes()[:z.Len()/2]
	rows := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 10, 0xff, 0x03, 1, 100}, short...)
	inner := eventOf(gorepl.XID_EVENT, make([]byte, 8))[:eventHeader] // and no body
	for name, e := range map[string][]byte{
		"rows":  eventOf(gorepl.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, rows),
		"query": eventOf(gorepl.MARIADB_QUERY_COMPRESSED_EVENT, append(append(make([]byte, 14), 1, 100), short...)),
		// Field 2 is the method, 255 (none).
		"payload": eventOf(gorepl.TRANSACTION_PAYLOAD_EVENT, append([]byte{2, 3, 0xfc, 0xff, 0, 0}, inner...)),
		"zstd":    eventOf(gorepl.TRANSACTION_PAYLOAD_EVENT, []byte{2, 1, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, 4}),
	} {
		r, _ := offlineReader(t)
		for _, e := range [][]byte{eventOf(gorepl.GTID_EVENT, gtidOf(1)), eventOf(gorepl.TABLE_MAP_EVENT, tableMapOf())} {
			if err := r.take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.take(t.Context(), e); err == nil || transient(err) {
			t.Errorf("%s: got %v, which is transient: %v", name, err, transient(err))
		}
		r.close()
	}
	if !transient(io.ErrUnexpectedEOF) {
		t.Error("a lost connection is not transient")
	}
}

// TestDroppedTables: each captured table of a DROP TABLE is told of.
func TestDroppedTables(t *testing.T) {
	for sql, told := range map[string]bool{
		"DROP TABLE `x`,`app`.`r` /* generated by server */": true, "DROP TABLE IF EXISTS app.r": true, "DROP TABLE x, r": false, "DROP TEMPORARY TABLE app.r": false,
	} {
		r, _ := offlineReader(t)
		var logs bytes.Buffer
		r.cfg.Logger = slog.New(slog.NewTextHandler(&logs, nil))
		for _, e := range [][]byte{eventOf(gorepl.GTID_EVENT, gtidOf(1)), queryOf(sql)} {
			if err := r.take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Contains(logs.String(), "a captured table was dropped"); got != told {
			t.Errorf("%s: %s", sql, &logs)
		}
	}
}
