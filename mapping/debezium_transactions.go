package mapping

import (
	"bytes"
	"context"
	"strconv"

	"cdc/mapping/debezium"
	"cdc/replication"
)

// transactions numbers the events of a transaction and tells where it begins and
// ends. A transaction may come in many batches: what is counted of it stays from
// one to the next. Reading resumes between transactions, so one that is published
// again is counted from its beginning, with the same numbers. Its END comes with
// the batch that knows of the end, whose position is not saved before.
type transactions struct {
	on bool
	// binlog says that a transaction's id names it, as those of MySQL and MariaDB
	// do.
	binlog bool
	topic  string
	table  *replication.Table // stands in for one
	keyID  int                // 0 before the first transaction
	value  int
	// describe renders a key.
	describe func([]byte) string
	known    map[string]*collection // by schema.name
	open     debezium.Boundary      // ID is empty when none is open
	commit   []byte                 // of the open one
	counts
}

// counts are the numbers of the open transaction.
type counts struct {
	begun       bool // BEGIN is published
	total       int64
	collections int
}

// collection counts the events of one table in the open transaction.
type collection struct {
	debezium.Collection
	counted bool // it stands among those of the open transaction
}

func newTransactions(topic string) transactions {
	return transactions{on: true, topic: topic, table: &replication.Table{Schema: "debezium", Name: "transaction"}, known: map[string]*collection{}}
}

// collection returns the counter of the events of a table, all versions of it.
func (x *transactions) collection(name string) *collection {
	if x.known[name] == nil {
		x.known[name] = &collection{Collection: debezium.Collection{Name: name}}
	}
	return x.known[name]
}

// begin says that changes of tx follow. It ends the open transaction if that is
// another one, and tells e what transaction its events are in.
func (x *transactions) begin(ctx context.Context, registry SchemaRegistry, out *Records, tx *replication.Transaction, e *debezium.Event) error {
	if len(tx.ID) == 0 { // a snapshot's, or none: it says nothing of the open one
		e.Place.ID = nil
		return nil
	}
	if x.keyID == 0 {
		key, value := debezium.BoundarySchemas()
		var err error
		if x.value, err = registry.ID(ctx, x.topic+"-value", value); err != nil {
			return err
		}
		if x.keyID, err = registry.ID(ctx, x.topic+"-key", key); err != nil {
			return err
		}
		x.describe = describeAvro(key)
	}
	if len(x.open.ID) == 0 || !bytes.Equal(x.commit, tx.Commit) {
		x.end(out)
		x.commit = append(x.commit[:0], tx.Commit...)
		x.open.ID, x.open.Time = append(x.open.ID[:0], tx.ID...), tx.CommitTime
		if !x.binlog {
			// As Debezium names it; the position is the commit's, for all that is said of it.
			x.open.ID = strconv.AppendInt(append(x.open.ID, ':'), e.LSN, 10)
		}
	}
	e.Place.ID = x.open.ID
	return nil
}

// count numbers the next event, one of c's. The first of a transaction follows
// its BEGIN.
func (x *transactions) count(out *Records, c *collection, place *debezium.Place) {
	if !x.begun {
		x.begun = true
		x.boundary(out)
	}
	if !c.counted {
		c.counted, c.Events = true, 0
		x.open.Collections = append(x.open.Collections, &c.Collection)
		x.collections++
	}
	c.Events++
	x.total++
	place.Total, place.Collection = x.total, c.Events
}

// back undoes what was counted since before, all of c's table.
func (x *transactions) back(before counts, c *collection) {
	if x.counts == before {
		return
	}
	c.Events -= x.total - before.total
	if x.collections > before.collections {
		c.counted = false
		x.open.Collections = x.open.Collections[:before.collections]
	}
	x.counts = before
}

// end says that the open transaction, if there is one, is over.
func (x *transactions) end(out *Records) {
	if x.begun {
		x.open.End, x.open.Events = true, x.total
		x.boundary(out)
	}
	for _, c := range x.open.Collections {
		x.known[c.Name].counted = false
	}
	x.open = debezium.Boundary{ID: x.open.ID[:0], Collections: x.open.Collections[:0]}
	x.counts = counts{}
}

// boundary appends the record of the open transaction's beginning or end.
func (x *transactions) boundary(out *Records) {
	start := len(out.Buf)
	out.Buf = x.open.AppendKey(out.Buf, x.keyID)
	key := out.Buf[start:len(out.Buf):len(out.Buf)]
	start = len(out.Buf)
	out.Buf = x.open.AppendValue(out.Buf, x.value)
	out.List = append(out.List, Record{
		Topic: x.topic, Key: key, Value: out.Buf[start:len(out.Buf):len(out.Buf)],
		Time: x.open.Time, Op: replication.OpMessage, Table: x.table, Describe: x.describe,
	})
}
