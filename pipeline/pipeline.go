// Package pipeline is the one loop of a capture: source → mapper → producer →
// checkpoint, and the order of promises between them.
package pipeline

import (
	"context"

	"cdc/mapping"
	"cdc/replication"
)

// Producer publishes records. The package producer has the one for Kafka.
type Producer interface {
	// Produce hands all records of r on, in order, blocking while its buffer is
	// full. It calls done exactly once: with nil when the broker has
	// acknowledged every record, or with the first error. Before that call r
	// must not be touched; from it on r is the caller's again. done runs on the
	// producer's goroutine: it must not block and must not call Produce.
	Produce(ctx context.Context, r *mapping.Records, done func(error))
}

// Checkpoints stores one connector's newest safe position.
type Checkpoints interface {
	// Load returns the saved position, or "" when there is none.
	Load(ctx context.Context) (replication.Position, error)
	// Save makes p durable before it returns.
	Save(ctx context.Context, p replication.Position) error
}

// DeadLetters takes what cannot be published, whole, with the reason. It
// returns once that is durable.
type DeadLetters interface {
	Put(ctx context.Context, c *replication.Change, reason error) error
}
