package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gorepl "github.com/go-mysql-org/go-mysql/replication"
)

// readAgain reads a prepared transaction from the log, over a connection for
// that alone, and puts its rows into batches. s.mu is held, but while waiting for
// the network.
func (r *reader) readAgain(ctx context.Context, x *prepared) error {
	var conn *conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	if err := r.aside(func() (err error) {
		conn, err = r.cfg.openGroup(ctx, r.again.host, r.done.form, &r.done, x)
		return err
	}); err != nil {
		return r.explainGroup(x, err)
	}
	p := newPackets(conn, queryTimeout)
	in := groupReader{r: r, form: r.done.form, tx: x.tx}
	for !in.ended {
		var b []byte
		if err := r.aside(func() error {
			return conn.within(ctx, queryTimeout, func() (err error) {
				b, err = answer(p)
				return err
			})
		}); err != nil {
			return r.explainGroup(x, err)
		}
		if b[0] == 0xfe {
			return r.explainGroup(x, errNoGroup)
		}
		if err := in.event(ctx, b[1:]); err != nil {
			return err
		}
	}
	return nil
}

// openGroup asks for the log from where a prepared transaction begins.
func (c *Config) openGroup(ctx context.Context, host string, form placeForm, done *place, x *prepared) (*conn, error) {
	conn, err := c.connectTo(ctx, host)
	if err != nil {
		return nil, err
	}
	err = func() error {
		looking := *c
		looking.ServerID = passingID()
		switch form {
		case placeGTID:
			from, err := looking.allBut(ctx, conn, done, x.tx)
			if err != nil {
				return err
			}
			return conn.within(ctx, queryTimeout, func() error { return looking.dump(conn, &from) })
		case placeMaria:
			from, err := parsePlace(placeMaria, x.from)
			if err != nil {
				return err
			}
			return conn.within(ctx, queryTimeout, func() error { return looking.dump(conn, &from) })
		default:
			at, err := parsePlace(placeFile, x.tx)
			if err != nil {
				return err
			}
			return conn.within(ctx, queryTimeout, func() error { return looking.askFrom(conn, at.file, at.offset) })
		}
	}()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// allBut returns all transactions that the server has, or that were read, but
// one: a server that is asked for what follows sends that first.
func (c *Config) allBut(ctx context.Context, conn *conn, done *place, tx string) (place, error) {
	rows, err := conn.query(ctx, "SELECT GTID_SUBTRACT(CONCAT(@@global.gtid_executed, ',', "+sqlString(done.String())+"), "+sqlString(tx)+")")
	if err != nil {
		return place{}, err
	}
	return parsePlace(placeGTID, oneLine(rows[0][0].text))
}

// explainGroup tells a prepared transaction that is not in the log any more.
func (r *reader) explainGroup(x *prepared, err error) error {
	text := err.Error()
	if errors.Is(err, errNoGroup) || errorCode(err) == codeBinlogFatal && !strings.Contains(text, "server_") {
		return r.cfg.refusePurged(fmt.Sprintf("the distributed (XA) transaction %s commits, and the transaction %s that prepared it is not in the server's log any more", x.xid, x.tx), err)
	}
	return err
}

// groupReader finds one transaction in a log and hands its rows to the reader.
type groupReader struct {
	r        *reader
	form     placeForm
	tx       string
	checksum bool
	inside   bool
	ended    bool
}

// event reads one event as the dump sends it.
func (g *groupReader) event(ctx context.Context, b []byte) error {
	h, body, err := readHeader(b)
	if err != nil {
		return err
	}
	if h.kind == gorepl.FORMAT_DESCRIPTION_EVENT {
		if len(body) < 5 {
			return errShort
		}
		g.checksum = body[len(body)-5] == 1
		return nil
	}
	if g.checksum {
		if len(body) < 4 {
			return errShort
		}
		body = body[:len(body)-4]
	}
	switch h.kind {
	case gorepl.GTID_EVENT, gorepl.ANONYMOUS_GTID_EVENT, gorepl.GTID_TAGGED_LOG_EVENT, gorepl.MARIADB_GTID_EVENT:
		if g.inside { // the one before had no end that is known here
			g.ended = true
			return nil
		}
		id, err := readID(h, body)
		if err != nil {
			return err
		}
		id.form = g.form
		// By file and offset the transaction that was asked for comes first.
		g.inside = g.form == placeFile || string(id.append(nil)) == g.tx
		return nil
	case gorepl.XA_PREPARE_LOG_EVENT, gorepl.XID_EVENT:
		g.ended = g.inside
		return nil
	default:
	}
	if !g.inside {
		return nil
	}
	if err := g.r.dispatch(ctx, h, body, 0, false); err != nil {
		return fmt.Errorf("event %s: %w", h.kind, err)
	}
	g.ended = h.kind == gorepl.TRANSACTION_PAYLOAD_EVENT
	return nil
}
