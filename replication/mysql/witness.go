package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	gorepl "github.com/go-mysql-org/go-mysql/replication"
)

// witness is an event of a server's log that was read once: the begin of the
// newest transaction before a place, or of the file. A log that does not hold
// it any more was reset, or the server was restored from a backup: its files
// and the numbers of its transactions begin again, and mean something else. The
// zero value vouches for nothing.
type witness struct {
	server string // whose log it is: see serverInfo.identity
	file   string
	offset uint64 // of the event
	sum    uint32 // see eventSum
}

// String renders the witness for a position.
func (w *witness) String() string {
	return fmt.Sprintf("%s/%s:%d:%08x", w.server, w.file, w.offset, w.sum)
}

// parseWitness is the inverse of String.
func parseWitness(text string) (w witness, err error) {
	server, rest, found := strings.Cut(text, "/")
	i := strings.LastIndexByte(rest, ':')
	if !found || i < 0 {
		return w, fmt.Errorf("read witness: %q is none", text)
	}
	at, err := parsePlace(placeFile, rest[:i])
	if err != nil {
		return w, err
	}
	sum, err := strconv.ParseUint(rest[i+1:], 16, 32)
	if err != nil {
		return w, fmt.Errorf("read witness: %w", err)
	}
	return witness{server: server, file: at.file, offset: at.offset, sum: uint32(sum)}, nil
}

// eventSum is a checksum of what an event always has: of its header without the
// flags and the offset, which differ while a file is written, and of its body
// without the log's own checksum.
func eventSum(h header, body []byte) uint32 {
	var head [13]byte
	binary.LittleEndian.PutUint32(head[0:], h.time)
	head[4] = byte(h.kind)
	binary.LittleEndian.PutUint32(head[5:], h.server)
	binary.LittleEndian.PutUint32(head[9:], h.size)
	return crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, body)
}

// identity tells servers apart, as far as witnesses need it: MariaDB has
// nothing better than its server_id, which all servers of a Galera cluster share.
// It is "" when it is not known.
func (s *serverInfo) identity() string {
	if s.mariadb {
		if s.on("wsrep_on") {
			return ""
		}
		return s.vars["server_id"]
	}
	return s.vars["server_uuid"]
}

// verifyWitness refuses a log that does not hold w. Of another server's log
// nothing is known, and nothing where the file is purged.
func (c *Config) verifyWitness(ctx context.Context, conn *conn, s *serverInfo, w *witness) error {
	if w.server == "" || w.server != s.identity() {
		return nil
	}
	rows, err := conn.query(ctx, "SHOW BINARY LOGS")
	if errorCode(err) == codePrivilege || err == nil && len(rows) == 0 {
		return nil // the server will tell, in its own words
	}
	if err != nil {
		return fmt.Errorf("list the log files: %w", err)
	}
	there := false
	for _, r := range rows {
		there = there || r[0].text == w.file
	}
	if newest := rows[len(rows)-1][0].text; !there {
		if sameBase(newest, w.file) && compareFiles(newest, w.file) < 0 {
			return c.refuseReset(fmt.Sprintf("file %s was read, and the newest that the server has is %s", w.file, newest))
		}
		return nil
	}
	sum, found, err := c.eventAt(ctx, conn.host, w.file, w.offset)
	switch {
	case errorCode(err) == codePrivilege || errorCode(err) == codeAccessDenied:
		return nil
	case err != nil:
		return err
	case !found || sum != w.sum:
		return c.refuseReset(fmt.Sprintf("what was read at %s:%d is not there any more", w.file, w.offset))
	}
	return nil
}

func (c *Config) refuseReset(how string) error {
	return c.refusePurged("the server's log was reset, or the server was restored from a backup: "+how, nil)
}

// witnessNow returns the begin of the file that the server writes to.
func (c *Config) witnessNow(ctx context.Context, conn *conn, s *serverInfo) (w witness, err error) {
	sum, found, err := c.eventAt(ctx, conn.host, s.file, firstEvent)
	switch {
	case errorCode(err) == codePrivilege || errorCode(err) == codeAccessDenied:
		return w, nil // without the right the stream will not go far
	case err != nil:
		return w, err
	case found:
		w = witness{server: s.identity(), file: s.file, offset: firstEvent, sum: sum}
	}
	return w, nil
}

// firstEvent is the offset of the first event in a file of the log.
const firstEvent = 4

// eventAt asks one host for the event at a place of its log, over a connection
// for that alone. found is false when no event begins there.
func (c *Config) eventAt(ctx context.Context, host, file string, offset uint64) (sum uint32, found bool, err error) {
	conn, err := c.connectTo(ctx, host)
	if err != nil {
		return 0, false, err
	}
	defer conn.Close()
	err = conn.within(ctx, queryTimeout, func() error {
		if err := c.askFrom(conn, file, offset); err != nil {
			return err
		}
		sum, found, err = findEvent(newPackets(conn, queryTimeout), offset)
		return err
	})
	if errorCode(err) == codeBinlogFatal && !strings.Contains(err.Error(), "server_") {
		return 0, false, nil // beyond the end of the file, or in the middle of an event
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at the log at %s:%d: %w", file, offset, err)
	}
	return sum, found, nil
}

// askFrom asks for the log from a file's offset on, up to what is there now,
// under a server id that cuts nobody off.
func (c *Config) askFrom(conn *conn, file string, offset uint64) error {
	for _, sql := range c.dumpSettings("") {
		if _, err := conn.Execute(sql); err != nil {
			return fmt.Errorf("prepare to read the log: %w", err)
		}
	}
	const nonBlocking = 1
	b := append(make([]byte, 4), gomysql.COM_BINLOG_DUMP)
	b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	b = append(b, nonBlocking, 0)
	b = binary.LittleEndian.AppendUint32(b, passingID())
	b = append(b, file...)
	conn.ResetSequence()
	return conn.WritePacket(b)
}

// findEvent reads up to the first event of a file, past those that the server
// makes up.
func findEvent(p *packets, offset uint64) (sum uint32, found bool, err error) {
	checksum := false
	for {
		b, err := p.next()
		if err != nil {
			return 0, false, err
		}
		switch {
		case len(b) == 0:
			return 0, false, errShort
		case b[0] == 0xff:
			return 0, false, serverError(b)
		case b[0] == 0xfe: // the end of the log
			return 0, false, nil
		}
		h, body, err := readHeader(b[1:])
		if err != nil {
			return 0, false, err
		}
		if h.kind == gorepl.FORMAT_DESCRIPTION_EVENT {
			if len(body) < 5 {
				return 0, false, errShort
			}
			checksum = body[len(body)-5] == 1
		}
		if h.end == 0 || h.kind == gorepl.ROTATE_EVENT || h.kind == gorepl.HEARTBEAT_EVENT || h.kind == gorepl.HEARTBEAT_LOG_EVENT_V2 {
			continue
		}
		if h.end-h.size != uint32(offset) {
			return 0, false, nil
		}
		if checksum || h.kind == gorepl.FORMAT_DESCRIPTION_EVENT { // which always has one
			if len(body) < 4 {
				return 0, false, errors.New("an event is too short for its checksum")
			}
			body = body[:len(body)-4]
		}
		return eventSum(h, body), true, nil
	}
}
