package mapping

import (
	"strconv"

	"cdc/replication"
)

// opValues are the values of HeaderOp. They are constants: nobody may write to
// a header's value.
var opValues = [...][]byte{
	replication.OpRead:     []byte("read"),
	replication.OpInsert:   []byte("insert"),
	replication.OpUpdate:   []byte("update"),
	replication.OpDelete:   []byte("delete"),
	replication.OpTruncate: []byte("truncate"),
	replication.OpMessage:  []byte("message"),
}

// A note on memory, for all that appends to a Records. Keys, values and header
// values are slices of out.Buf, and a record's headers a slice of out.Headers.
// When an append outgrows one of them the runtime moves it, and the slices taken
// before go on pointing into the old array, which holds the same bytes, lives as
// long as they do, and is never written again: every append writes behind what
// is in use, and every slice is taken with its capacity cut off. So nothing has
// to be fixed up; a growing Buf costs memory until the next Reset, no more. Map
// reserves by the batch's size first, so that growth is rare.

// txHeaders are the header values that all records of a transaction share.
type txHeaders struct {
	tx         *replication.Transaction
	id, commit []byte // in out.Buf
}

// begin writes the values of tx.
func (h *txHeaders) begin(out *Records, tx *replication.Transaction) {
	h.tx = tx
	start := len(out.Buf)
	out.Buf = append(out.Buf, tx.ID...)
	h.id = out.Buf[start:len(out.Buf):len(out.Buf)]
	start = len(out.Buf)
	out.Buf = strconv.AppendInt(out.Buf, tx.CommitTime, 10)
	h.commit = out.Buf[start:len(out.Buf):len(out.Buf)]
}

// position writes the value of HeaderPosition.
func position(out *Records, c *replication.Change) []byte {
	start := len(out.Buf)
	out.Buf = append(out.Buf, c.Tx.Commit...)
	out.Buf = append(out.Buf, ':')
	out.Buf = strconv.AppendUint(out.Buf, c.Index, 10)
	return out.Buf[start:len(out.Buf):len(out.Buf)]
}

// appendHeaders appends those that every record has and returns where they
// start in out.Headers.
func (h *txHeaders) appendHeaders(out *Records, op replication.Op, position []byte) (start int) {
	start = len(out.Headers)
	out.Headers = append(out.Headers, Header{HeaderOp, opValues[op]}, Header{HeaderPosition, position})
	if len(h.id) > 0 {
		out.Headers = append(out.Headers, Header{HeaderTx, h.id})
	}
	out.Headers = append(out.Headers, Header{HeaderCommitTime, h.commit})
	return start
}

// appendUnchanged appends HeaderUnchanged if a published column of row is
// Unchanged.
func (p *plan) appendUnchanged(out *Records, row []replication.Value) {
	start := len(out.Buf)
	for i := range row {
		if row[i].IsUnchanged() && p.fields[i] != "" {
			out.Buf = appendField(out.Buf, start, p.fields[i])
		}
	}
	if len(out.Buf) > start {
		out.Headers = append(out.Headers, Header{HeaderUnchanged, out.Buf[start:len(out.Buf):len(out.Buf)]})
	}
}

// appendRefetched appends HeaderRefetched if a published column is among them.
func (p *plan) appendRefetched(out *Records, columns []int32) {
	start := len(out.Buf)
	for _, i := range columns {
		if p.fields[i] != "" {
			out.Buf = appendField(out.Buf, start, p.fields[i])
		}
	}
	if len(out.Buf) > start {
		out.Headers = append(out.Headers, Header{HeaderRefetched, out.Buf[start:len(out.Buf):len(out.Buf)]})
	}
}

// appendField appends a name to the list that begins at start. No name contains
// a comma: they are Avro names.
func appendField(dst []byte, start int, name string) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return append(dst, name...)
}
