package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// rawReader reads a slot as cdc has it sent, transactions in progress included,
// and discards everything: what it gets late is late at the server.
type rawReader struct {
	conn net.Conn
	done chan struct{} // closed when the reading has ended
	at   time.Time     // then: when the commit came
	err  error
}

// startRawReader begins to read. The caller closes it.
func startRawReader(ctx context.Context, url, slot, publication string) (*rawReader, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "database"
	config.RuntimeParams["logical_decoding_work_mem"] = "8MB" // as cdc has it
	config.RuntimeParams["wal_sender_timeout"] = "10min"      // nobody answers
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	hijacked, err := pg.Hijack()
	if err != nil {
		return nil, errors.Join(err, pg.Close(ctx))
	}
	command := fmt.Sprintf(`START_REPLICATION SLOT "%s" LOGICAL 0/0 (publication_names '"%s"', proto_version '2', streaming 'on')`, slot, publication)
	m := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(command)+1))
	if _, err := hijacked.Conn.Write(append(append(m, command...), 0)); err != nil {
		return nil, errors.Join(err, hijacked.Conn.Close())
	}
	r := &rawReader{conn: hijacked.Conn, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.at, r.err = r.read()
	}()
	return r, nil
}

// read reads up to the first commit, whether its transaction came in progress
// or whole: PostgreSQL manual, "Logical Replication Message Formats".
func (r *rawReader) read() (time.Time, error) {
	buf := make([]byte, 1<<20)
	for i, n := 0, 0; ; {
		if n-i >= 5 {
			size := 1 + int(binary.BigEndian.Uint32(buf[i+1:]))
			if size > len(buf) {
				return time.Time{}, fmt.Errorf("a message of %d bytes", size)
			}
			if n-i >= size {
				switch m := buf[i : i+size]; {
				case m[0] == 'E':
					return time.Time{}, fmt.Errorf("the server: %q", m[5:])
				case m[0] == 'd' && len(m) > 30 && m[5] == 'w' && (m[30] == 'c' || m[30] == 'C'):
					return time.Now(), nil
				}
				i += size
				continue
			}
		}
		n = copy(buf, buf[i:n])
		i = 0
		got, err := r.conn.Read(buf[n:])
		if err != nil {
			return time.Time{}, err
		}
		n += got
	}
}

// commit waits for the first commit and returns when it came.
func (r *rawReader) commit(ctx context.Context) (time.Time, error) {
	select {
	case <-r.done:
		return r.at, r.err
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func (r *rawReader) close() error {
	err := r.conn.Close()
	<-r.done
	return err
}
