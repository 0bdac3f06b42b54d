package postgres

import (
	"testing"
	"time"

	"cdc/replication"
)

func TestRefuseWALLevel(t *testing.T) {
	server := privateServer(t, "wal_level", "replica")
	d := openTestDB(t, server.URL("postgres"))
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.config("public.t")
	const problem, remedy = `wal_level is replica, not logical`, `ALTER SYSTEM SET wal_level = 'logical', then restart the server`
	wantRefusal(t, cfg, problem, remedy)
	wantFinding(t, Check(testContext(t), cfg), replication.LevelError, problem, remedy)
	if made := d.made(cfg); made != "" {
		t.Errorf("Open made %s", made)
	}
}

// TestRefuseRoom has a server with one slot and one WAL sender, and little room
// for log.
func TestRefuseRoom(t *testing.T) {
	server := privateServer(t, "max_replication_slots", "1", "max_wal_senders", "1", "max_slot_wal_keep_size", "1MB",
		"min_wal_size", "32MB", "max_wal_size", "32MB")
	d := openTestDB(t, server.URL("postgres"))
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	d.exec(`CREATE TABLE u (id int PRIMARY KEY)`)

	// The only sender is taken.
	cfg := d.config("public.t")
	_, release := d.activate("other")
	wantRefusal(t, cfg, `no WAL sender is free: 1 of max_wal_senders = 1 are taken`, `ALTER SYSTEM SET max_wal_senders = 5, then restart the server`)
	wantRefusal(t, cfg, `no replication slot is free: 1 of max_replication_slots = 1 are taken`, `ALTER SYSTEM SET max_replication_slots = 5, then restart the server`)
	release()
	for d.text(`SELECT count(*)::text FROM pg_stat_replication`) != "0" { // the server's process ends in its own time
	}

	s := mustOpen(t, cfg)
	_, pos := readAll(t, s)
	s.Ack(pos)
	mustClose(t, s)

	// A new table needs a second slot for its snapshot.
	cfg.From = pos
	more := cfg
	more.Tables = append(more.Tables[:1:1], TableConfig{Schema: "public", Name: "u"})
	wantRefusal(t, more, `no replication slot is free`, `max_replication_slots`)

	// Nobody reads for too long.
	for deadline := time.Now().Add(patience); d.text(`SELECT wal_status FROM pg_replication_slots`) != "lost"; {
		if time.Now().After(deadline) {
			t.Fatal("the slot is not lost")
		}
		d.exec(`INSERT INTO u SELECT coalesce(max(id), 0) + 1 FROM u`)
		d.exec(`SELECT pg_switch_wal()`)
		d.exec(`CHECKPOINT`)
	}
	wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is lost: `, `run cdc drop, then start again`)
	wantFinding(t, Check(testContext(t), cfg), replication.LevelError, `the changes since `, `raise max_slot_wal_keep_size`)

	// Without a checkpoint, too: a snapshot that broke off may have published
	// rows whose deletes were in the lost log.
	cfg.From = ""
	wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is lost: `, `run cdc drop, then start again`)
}
