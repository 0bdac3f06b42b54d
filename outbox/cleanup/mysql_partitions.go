package cleanup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
	source "cdc/replication/mysql"
)

// lockBound is how long a table is locked at the most while the checkpoint
// comes to the end of the log.
const lockBound = 2 * time.Second

// mysqlPartition is a partition by its name.
type mysqlPartition struct {
	store *mysqlStore
	table Table
	name  string
}

func (p *mysqlPartition) String() string { return p.name }

// partitions lists the table's partitions by range in ascending order.
func (s *mysqlStore) partitions(ctx context.Context, t Table) ([]*mysqlPartition, error) {
	rows, err := s.conn.Query(ctx, "SELECT DISTINCT PARTITION_NAME, PARTITION_METHOD, PARTITION_ORDINAL_POSITION FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = "+
		source.QuoteText(t.Schema)+" AND TABLE_NAME = "+source.QuoteText(t.Name)+" ORDER BY PARTITION_ORDINAL_POSITION")
	if err != nil {
		return nil, fmt.Errorf("look up the partitions of %s: %w", t, err)
	}
	var list []*mysqlPartition
	for _, r := range rows {
		if !strings.HasPrefix(r[1], "RANGE") { // RANGE COLUMNS, too
			return nil, refusePartitions(t)
		}
		list = append(list, &mysqlPartition{s, t, r[0]})
	}
	if len(list) == 0 {
		return nil, refusePartitions(t)
	}
	return list, nil
}

// FindPartition implements Store.
func (s *mysqlStore) FindPartition(ctx context.Context, t Table) (Partition, Mark, error) {
	list, err := s.partitions(ctx, t)
	if err != nil {
		return nil, "", err
	}
	p, found, err := oldest(list, func(p *mysqlPartition) (bool, error) {
		rows, err := s.conn.Query(ctx, "SELECT 1 FROM "+t.mysql()+" PARTITION ("+source.QuoteName(p.name)+") LIMIT 1")
		return len(rows) > 0, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for rows of %s: %w", t, err)
	}
	if !found {
		return nil, "", nil
	}
	end, err := s.conn.End(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("look for the end of the log: %w", err)
	}
	return p, Mark(end), nil
}

// Drop implements Partition. The table is locked against all others, so that
// the log ends behind everything that is in it; as soon as the checkpoint has
// come there, the partition goes, under that same lock.
func (p *mysqlPartition) Drop(ctx context.Context, wait func(context.Context, Mark) error) (dropped bool, err error) {
	conn := p.store.conn
	give := func(err error) (bool, error) {
		switch {
		case lockedOut(err):
			return false, nil // somebody is at work there: another time
		case denied(err):
			return false, refuseDrop(p.table, err)
		}
		return false, fmt.Errorf("drop partition %s of %s: %w", p, p.table, err)
	}
	if _, err := conn.Exec(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return give(err)
	}
	if _, err := conn.Exec(ctx, "LOCK TABLES "+p.table.mysql()+" WRITE"); err != nil {
		return give(err)
	}
	defer func() {
		if _, e := conn.Exec(context.WithoutCancel(ctx), "UNLOCK TABLES"); e != nil && err == nil && ctx.Err() == nil {
			err = fmt.Errorf("unlock %s: %w", p.table, e)
		}
	}()
	end, err := conn.End(ctx)
	if err != nil {
		return give(err)
	}
	bounded, cancel := context.WithTimeout(ctx, lockBound)
	defer cancel()
	if err := wait(bounded, Mark(end)); err != nil {
		if ctx.Err() == nil && bounded.Err() != nil {
			return false, nil // the capture is behind: another time
		}
		return false, err
	}
	if _, err := conn.Exec(ctx, "ALTER TABLE "+p.table.mysql()+" DROP PARTITION "+source.QuoteName(p.name)); err != nil {
		return give(err)
	}
	return true, nil
}

// mayDrop refuses a table of which the user may not drop partitions. Only the
// server knows that, whose rights may come by roles; it looks at them before the
// partition, and no partition has the name that is given.
func (s *mysqlStore) mayDrop(ctx context.Context, t Table) error {
	if _, err := s.conn.Exec(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return fmt.Errorf("look up the rights on %s: %w", t, err)
	}
	_, err := s.conn.Exec(ctx, "ALTER TABLE "+t.mysql()+" DROP PARTITION "+source.QuoteName("cdc check "+rand.Text()))
	switch _, answered := errors.AsType[*mysql.MyError](err); {
	case denied(err):
		return refuseDrop(t, err)
	case err != nil && !answered:
		return fmt.Errorf("look up the rights on %s: %w", t, err)
	}
	return nil // there is no such partition, or somebody else has locked the table
}

func denied(err error) bool {
	e, ok := errors.AsType[*mysql.MyError](err)
	return ok && (e.Code == mysql.ER_TABLEACCESS_DENIED_ERROR || e.Code == mysql.ER_DBACCESS_DENIED_ERROR)
}

func refuseDrop(t Table, err error) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("the user may not drop partitions of outbox table %s", t),
		Remedy:  fmt.Sprintf("GRANT SELECT, INSERT, CREATE, ALTER, DROP, LOCK TABLES ON %s TO the user of the URL (LOCK TABLES on the database), or remove drop_partitions from its cleanup in the configuration", t.mysql()),
		Err:     err,
	}
}
