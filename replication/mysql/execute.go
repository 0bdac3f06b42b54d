package mysql

import (
	"encoding/binary"
	"fmt"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// execute prepares and runs a query over the binary protocol, reads the answer
// up to the first row, and returns the number of columns.
func execute(conn *conn, p *packets, sql string) (columns int, err error) {
	st, err := executeStatement(conn, p, sql)
	return st.columns, err
}

// statementRun is a prepared statement that was run once.
type statementRun struct {
	id      uint32
	columns int
}

// executeStatement does what execute does: MySQL source, "COM_STMT_PREPARE",
// "COM_STMT_EXECUTE".
func executeStatement(conn *conn, p *packets, sql string) (st statementRun, err error) {
	if err := command(conn, gomysql.COM_STMT_PREPARE, []byte(sql)); err != nil {
		return st, err
	}
	b, err := answer(p)
	if err != nil {
		return st, err
	}
	c := cursor{B: b}
	c.U8()
	var described int
	st.id, described = c.LE32(), int(c.LE16())
	if c.Err != nil {
		return st, fmt.Errorf("prepare: %w", c.Err)
	}
	// Sent before the rest of the answer is read, which ends in a packet that
	// newer servers leave out: whatever comes next begins the next answer.
	run := binary.LittleEndian.AppendUint32(nil, st.id)
	run = append(run, 0)                           // no cursor
	run = binary.LittleEndian.AppendUint32(run, 1) // once
	if err := command(conn, gomysql.COM_STMT_EXECUTE, run); err != nil {
		return st, err
	}
	for range described {
		if _, err := answer(p); err != nil {
			return st, err
		}
	}
	b, err = answer(p)
	if err == nil && isEOF(b) {
		b, err = answer(p)
	}
	if err != nil {
		return st, err
	}
	c = cursor{B: b}
	st.columns = int(c.Packed())
	if err := c.Finish(); err != nil {
		return st, fmt.Errorf("execute: %w", err)
	}
	for range st.columns {
		if _, err := answer(p); err != nil {
			return st, err
		}
	}
	// A row begins with 0: the packet that older servers end the columns with
	// does not.
	return st, p.skipEOF()
}

// closeStatement lets the server forget a statement. It answers nothing.
func closeStatement(conn *conn, id uint32) error {
	return command(conn, gomysql.COM_STMT_CLOSE, binary.LittleEndian.AppendUint32(nil, id))
}

func command(conn *conn, kind byte, body []byte) error {
	b := append(append(make([]byte, 4, 5+len(body)), kind), body...)
	conn.ResetSequence()
	return conn.WritePacket(b)
}

// answer returns the next packet unless it is an error.
func answer(p *packets) ([]byte, error) {
	b, err := p.next()
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, errShort
	}
	if b[0] == 0xff {
		return nil, serverError(b)
	}
	return b, nil
}

func isEOF(b []byte) bool { return len(b) == 5 && b[0] == 0xfe }

// skipEOF passes over the packet that ends a list of columns, if there is one.
// An empty result may end in the same packet twice, or in a longer one.
func (p *packets) skipEOF() error {
	if err := p.fill(5); err != nil {
		return err
	}
	if p.length() != 5 || p.buf[p.r+4] != 0xfe {
		return nil
	}
	_, err := p.next()
	return err
}
