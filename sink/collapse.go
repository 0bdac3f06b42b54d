package sink

import (
	"bytes"
	"hash/maphash"

	"cdc/mapping/avro"
	"cdc/replication"
)

// run is the records of one topic under one Shape, collapsed to the last state
// of each key.
type run struct {
	plan   *plan
	rows   []Row
	keys   [][]byte // what identifies each row; nil: nothing does
	hashes []uint32
	gone   int // rows that a later one replaced
	// slots is an open-addressing table of 1+index into rows; its length is a
	// power of two and at least twice the rows in it.
	slots []uint32
	used  int
	// apart says that a row's plain key does not spell its identity: a tombstone
	// of that key would not find the row here.
	apart bool
}

// seed is the process's own: nobody can choose keys that collide.
var seed = maphash.MakeSeed()

// reset makes the run ready for another batch and keeps its memory.
func (r *run) reset(p *plan) {
	clear(r.rows)
	clear(r.keys)
	clear(r.slots)
	r.plan, r.rows, r.keys, r.hashes, r.gone, r.used, r.apart = p, r.rows[:0], r.keys[:0], r.hashes[:0], 0, 0, false
}

// add takes the next state of the row that key identifies.
func (r *run) add(key []byte, row Row) {
	if key == nil {
		r.append(nil, 0, row)
		return
	}
	if 2*(r.used+1) > len(r.slots) {
		r.grow()
	}
	h := uint32(maphash.Bytes(seed, key))
	mask := uint32(len(r.slots) - 1)
	i := h & mask
	for ; r.slots[i] != 0; i = (i + 1) & mask {
		if at := r.slots[i] - 1; r.hashes[at] == h && bytes.Equal(r.keys[at], key) {
			old := &r.rows[at]
			merge(old, &row)
			old.Values = nil
			r.keys[at] = nil
			r.gone++
			r.slots[i] = uint32(len(r.rows)) + 1
			r.append(key, h, row)
			return
		}
	}
	r.slots[i] = uint32(len(r.rows)) + 1
	r.used++
	r.append(key, h, row)
}

// merge turns next into what it is after old.
func merge(old, next *Row) {
	switch {
	case next.Delete:
		next.New = false
	case old.Delete:
		next.New, next.Replace = false, true
	default:
		for i := range next.Values {
			if next.Values[i].IsUnchanged() {
				next.Values[i] = old.Values[i]
			}
		}
		next.New = next.New && old.New
		next.Replace = old.Replace
	}
}

func (r *run) append(key []byte, h uint32, row Row) {
	r.rows = append(r.rows, row)
	r.keys = append(r.keys, key)
	r.hashes = append(r.hashes, h)
}

// grow doubles the table.
func (r *run) grow() {
	size := max(64, 2*len(r.slots))
	r.slots = make([]uint32, size)
	mask := uint32(size - 1)
	for at := range r.rows {
		if r.keys[at] == nil {
			continue
		}
		i := r.hashes[at] & mask
		for r.slots[i] != 0 {
			i = (i + 1) & mask
		}
		r.slots[i] = uint32(at) + 1
	}
}

// finish drops the replaced rows and returns the rest, in the order of their
// last records. Nothing may be added afterwards.
func (r *run) finish() []Row {
	if r.gone > 0 {
		n := 0
		for i := range r.rows {
			if r.rows[i].Values != nil {
				r.rows[n] = r.rows[i]
				n++
			}
		}
		clear(r.rows[n:])
		r.rows, r.gone = r.rows[:n], 0
	}
	return r.rows
}

// arena is the memory of one batch's values.
type arena struct {
	mem    avro.Memory
	chunks [][]replication.Value
	chunk  int
	off    int
	keys   []byte // identities of rows without a key, or with another one
	text   []byte // scratch
	key    []replication.Value
}

const chunkValues = 16 * 1024

// values returns n values that live until reset, holding anything.
func (a *arena) values(n int) []replication.Value {
	for {
		if a.chunk == len(a.chunks) {
			a.chunks = append(a.chunks, make([]replication.Value, max(n, chunkValues)))
		}
		if c := a.chunks[a.chunk]; a.off+n <= len(c) {
			v := c[a.off : a.off+n : a.off+n]
			a.off += n
			return v
		}
		a.chunk++
		a.off = 0
	}
}

// unget takes back the last n values.
func (a *arena) unget(n int) { a.off -= n }

func (a *arena) reset() {
	for i := range min(a.chunk+1, len(a.chunks)) {
		clear(a.chunks[i])
	}
	a.chunk, a.off, a.keys = 0, 0, a.keys[:0]
	a.mem.Reset()
}
