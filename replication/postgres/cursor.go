package postgres

import "cdc/replication/wire"

// cursor reads the big-endian fields of one message.
type cursor = wire.Cursor
