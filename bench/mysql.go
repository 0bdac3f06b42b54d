package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/internal/services"
)

// mysql drains a binlog by a client that only receives it and by cdc, in turn;
// then it reads one transaction of as many rows.
func (b *bench) mysql(ctx context.Context) error { return b.binlog(ctx, "mysql", services.MySQL9) }

func (b *bench) mariadb(ctx context.Context) error {
	return b.binlog(ctx, "mariadb", services.MariaDB118)
}

func (b *bench) binlog(ctx context.Context, family, version string) error {
	server := b.env.home.MySQL("bench-"+family+"-"+b.env.id, services.MySQL{Version: version, Settings: map[string]string{
		"innodb-buffer-pool-size": "512M", "max-binlog-size": "1G",
	}})
	b.env.clusters[family] = server
	if _, err := server.Start(ctx); err != nil {
		return err
	}
	u, err := url.Parse(server.Address())
	if err != nil {
		return err
	}
	conn, err := client.ConnectWithContext(ctx, u.Host, "root", "root", "", 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := makeMySQLTable(conn); err != nil {
		return err
	}
	// Each capture gets its place in the log before the rows are written.
	topic := func(part string, i int) string { return fmt.Sprintf("%s_%s_%s%d", b.env.id, family, part, i) }
	prepare := func(part string, i int) error {
		p, err := b.env.captureBinlog(family, server.Address(), part, i, topic(part, i))
		if err != nil {
			return err
		}
		before, err := b.env.records(ctx, b.env.id+"_checkpoints")
		if err != nil {
			return err
		}
		_, err = p.await(ctx, poll, func() (bool, error) {
			n, err := b.env.records(ctx, b.env.id+"_checkpoints")
			return n > before, err
		})
		return err
	}
	rows := 2 * b.rows // so that the start of the process counts for little
	fmt.Printf("%s: a backlog of %d rows in 100-row transactions\n", family, rows)
	for i := range b.rounds {
		if err := prepare("backlog", i); err != nil {
			return err
		}
	}
	from, err := logEnd(conn, family)
	if err != nil {
		return err
	}
	if _, err := conn.Execute(fmt.Sprintf("CALL fill(%d)", rows)); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	for i := range b.rounds {
		elapsed, err := b.rawDrain(ctx, conn, family, u, from)
		if err != nil {
			return fmt.Errorf("raw drain: %w", err)
		}
		b.add(family+"_rawdrain_rows_per_s", float64(rows)/elapsed.Seconds())
		p, err := b.env.captureBinlog(family, server.Address(), "backlog", i, topic("backlog", i))
		if err != nil {
			return err
		}
		m, err := p.await(ctx, poll, b.env.published(ctx, topic("backlog", i), rows))
		if err != nil {
			return err
		}
		b.add(family+"_rows_per_s", float64(rows)/m.elapsed.Seconds())
		b.add(family+"_cpu_s_per_million", m.cpu.Seconds()/float64(rows)*1e6)
		b.add(family+"_rss_mb", m.peakMB)
	}
	fmt.Printf("%s: one transaction of %d rows\n", family, b.rows)
	if err := prepare("bigtx", 0); err != nil {
		return err
	}
	if _, err := conn.Execute(fmt.Sprintf("INSERT INTO r (%s) %s LIMIT %d", mysqlColumns, fmt.Sprintf(mysqlRows, "100000000 + x.n * 10000 + y.n * 100 + z.n", "s x, s y, s z"), b.rows)); err != nil {
		return fmt.Errorf("fill in one transaction: %w", err)
	}
	p, err := b.env.captureBinlog(family, server.Address(), "bigtx", 0, topic("bigtx", 0))
	if err != nil {
		return err
	}
	m, err := p.await(ctx, poll, b.env.published(ctx, topic("bigtx", 0), b.rows))
	if err != nil {
		return err
	}
	b.add(family+"_bigtx_rss_mb", m.peakMB)
	return b.env.remove(ctx, family)
}

// The table of the other parts, in MySQL's words.
const (
	mysqlColumns = "id, n, name, note, amount, at, ok, ratio, day, digest"
	mysqlRows    = `SELECT g, g %% 1000, CONCAT('customer ', g), CONCAT('note ', LEFT(SHA2(g, 256), 32)), (g %% 1000000) / 100, '2026-01-01' + INTERVAL g * 1000 MICROSECOND,
		g %% 2, g / 7e0, '2026-01-01' + INTERVAL g %% 365 DAY, UNHEX(SHA2(g, 256)) FROM (SELECT %s AS g FROM %s) numbers`
)

func makeMySQLTable(conn *client.Conn) error {
	for _, sql := range []string{
		"CREATE DATABASE app CHARACTER SET utf8mb4", "USE app",
		"CREATE TABLE r (id BIGINT PRIMARY KEY, n INT, name VARCHAR(100), note TEXT, amount DECIMAL(12,2), at TIMESTAMP(6) NULL, ok TINYINT, ratio DOUBLE, day DATE, digest VARBINARY(32))",
		"CREATE TABLE s (n INT PRIMARY KEY)",
		"INSERT INTO s SELECT a.n * 10 + b.n FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a, " +
			"(SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b",
		"CREATE PROCEDURE fill(total BIGINT) BEGIN DECLARE at BIGINT DEFAULT 0; WHILE at < total DO INSERT INTO r (" + mysqlColumns + ") " +
			fmt.Sprintf(mysqlRows, "at + s.n", "s") + "; SET at = at + 100; END WHILE; END",
	} {
		if _, err := conn.Execute(sql); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// logEnd is where the log ends.
func logEnd(conn *client.Conn, family string) (p gomysql.Position, err error) {
	sql := "SHOW BINARY LOG STATUS"
	if family == "mariadb" {
		sql = "SHOW MASTER STATUS"
	}
	r, err := conn.Execute(sql)
	if err != nil {
		return p, err
	}
	name, err := r.GetString(0, 0)
	if err != nil {
		return p, err
	}
	offset, err := r.GetInt(0, 1)
	return gomysql.Position{Name: strings.Clone(name), Pos: uint32(offset)}, err
}

// rawDrain receives the log from a place to its end by go-mysql, which decodes
// nothing of it: the limit of what a client may reach.
func (b *bench) rawDrain(ctx context.Context, conn *client.Conn, family string, u *url.URL, from gomysql.Position) (time.Duration, error) {
	end, err := logEnd(conn, family)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	last := &lastEvent{file: from.Name, end: end, done: done}
	begin := time.Now()
	syncer := gorepl.NewBinlogSyncer(gorepl.BinlogSyncerConfig{
		ServerID: 4711, Flavor: family, Host: u.Hostname(), Port: uint16(port), User: "root", Password: "root",
		RawModeEnabled: true, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler), SynchronousEventHandler: last,
	})
	defer syncer.Close()
	if _, err := syncer.StartSync(from); err != nil {
		return 0, err
	}
	select {
	case <-done:
		return time.Since(begin), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(5 * time.Minute):
		return 0, fmt.Errorf("the end of the log, %s, does not come", end)
	}
}

// lastEvent waits for the event that ends the log.
type lastEvent struct {
	file string
	end  gomysql.Position
	done chan struct{}
	over bool
}

// HandleEvent is called by go-mysql for each event. MariaDB gives the events
// inside of a transaction no end, but that of the last one.
func (l *lastEvent) HandleEvent(e *gorepl.BinlogEvent) error {
	if r, ok := e.Event.(*gorepl.RotateEvent); ok {
		l.file = string(r.NextLogName)
	}
	if !l.over && l.file == l.end.Name && e.Header.LogPos >= l.end.Pos {
		l.over = true
		close(l.done)
	}
	return nil
}

// captureBinlog starts a capture of table r of a MySQL or MariaDB server.
func (e *environment) captureBinlog(family, address, part string, i int, topic string) (*process, error) {
	return e.start("capture", fmt.Sprintf("%s-%s%d", family, part, i), fmt.Sprintf(`name: %s-%s%d
source:
  %s:
    url: %s
tables:
  - table: app.r
    snapshot: never
    topic: %s
kafka:
  brokers: [%q]
  checkpoint_topic: %s_checkpoints
registry:
  url: %s
admin:
  listen: 127.0.0.1:0
`, family, part, i, family, address, topic, strings.Join(e.brokers, `", "`), e.id, e.registry))
}
