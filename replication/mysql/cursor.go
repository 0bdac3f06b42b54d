package mysql

import "cdc/replication/wire"

// cursor reads the little-endian fields of one message. The parts of temporal
// values, decimals and BIT are stored big-endian.
type cursor = wire.Cursor

// errShort is the error of a message that ends before its content does.
var errShort = wire.ErrShort

// bit reports whether bit i of a bitmap is set, lowest bit first. A bitmap that
// is too short has no more bits.
func bit(bitmap []byte, i int) bool {
	return i/8 < len(bitmap) && bitmap[i/8]&(1<<(i%8)) != 0
}
