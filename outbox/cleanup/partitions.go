package cleanup

import (
	"context"
	"fmt"

	"cdc/replication"
)

// Partition is one that a Store has noted: by range, and with two above it that
// have rows or follow one that has, so that nobody should insert into it any
// more.
type Partition interface {
	String() string
	// Drop drops the partition if nothing has come into it since it was noted, and
	// reports whether it did. wait waits until the checkpoint has passed a mark. It
	// gives up soon where it would keep others waiting.
	Drop(ctx context.Context, wait func(ctx context.Context, m Mark) error) (bool, error)
}

// keptPartitions is how many partitions stay, from the newest that has a row
// on downwards: transactions that began in the one before are still to insert
// there.
const keptPartitions = 2

// oldest returns the lowest of the partitions, which are in ascending order, if
// it may go. hasRows is asked from the highest on.
func oldest[P any](list []P, hasRows func(P) (bool, error)) (p P, found bool, err error) {
	for i := len(list) - 1; i >= keptPartitions; i-- {
		if some, err := hasRows(list[i]); err != nil || some {
			return list[0], err == nil, err
		}
	}
	return p, false, nil
}

// dropPartition drops one partition, and reports whether there may be another.
func (c *Cleaner) dropPartition(ctx context.Context, t Table) (more bool, err error) {
	p, mark, err := c.store.FindPartition(ctx, t)
	if err != nil || p == nil {
		return false, err
	}
	wait := func(ctx context.Context, m Mark) error { return c.wait(ctx, t, m) }
	if err := wait(ctx, mark); err != nil {
		return false, err
	}
	dropped, err := p.Drop(ctx, wait)
	if err != nil || !dropped {
		return false, err
	}
	c.dropped.WithLabelValues(t.String()).Inc()
	c.log.Info("dropped a partition of an outbox, all of whose rows are published", "table", t.String(), "partition", p.String())
	return true, nil
}

// refusePartitions says that a table has no partitions that can be dropped.
func refusePartitions(t Table) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("outbox table %s is not partitioned by ranges of one column: no partition of it can be dropped", t),
		Remedy:  "partition it by range, of its id or of a time, or remove drop_partitions from its cleanup in the configuration",
	}
}
