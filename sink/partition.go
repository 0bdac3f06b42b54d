package sink

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partition is one partition for as long as it is assigned here.
type partition struct {
	topic   *topic
	topicID string // "" is not known
	id      int32

	// applied is the next offset as the target has it, -1 when it has none. The
	// goroutine that applies owns it.
	applied int64
	// pending counts the batches in hand that hold records of it; guarded by
	// the session's mu.
	pending int
	// end is the end of the partition as last fetched, and done what is applied
	// of it, or where it begins; their difference is the lag.
	end, done atomic.Int64
	// time is that of its newest applied record, or of the first one read here,
	// in milliseconds since 1970; 0 is not known.
	time atomic.Int64
	// revoked ends taking records of it.
	revoked atomic.Bool

	// The goroutine that builds owns the rest.
	serial         int64 // of the last batch that got records of it
	slot           int   // in that batch's parts
	keyID, valueID int   // of cached
	cached         *plan
}

// plan returns the plan for a record; mostly the one before.
func (p *partition) plan(ctx context.Context, schemas SchemaSource, r *kgo.Record) (*plan, error) {
	keyID, err := wire(r.Key, true, p.topic.cfg.Key != nil)
	if err != nil {
		return nil, err
	}
	valueID, err := wire(r.Value, false, false)
	if err != nil {
		return nil, err
	}
	if p.cached != nil && keyID == p.keyID && valueID == p.valueID {
		return p.cached, nil
	}
	pl, err := p.topic.plan(ctx, schemas, keyID, valueID)
	if err != nil {
		return nil, err
	}
	if valueID != noSchema { // a tombstone's plan gets better with the next value
		p.cached, p.keyID, p.valueID = pl, keyID, valueID
	}
	return pl, nil
}

// lag is how many offsets are between what is applied and the partition's end.
func (p *partition) lag() int64 {
	done := p.done.Load()
	if done < 0 { // nobody has told yet where it begins
		return 0
	}
	return max(p.end.Load()-done, 0)
}
