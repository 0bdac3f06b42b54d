package mysql

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// place is how far the log has been read, always a boundary between
// transactions: a set of GTIDs, MariaDB's GTID position, or a file and an
// offset, whichever the server has. A file and an offset mean something on one
// server only.
type place struct {
	form   placeForm
	mysql  gtidSet
	maria  mariaSet
	file   string
	offset uint64
	server string // the server_uuid that file and offset belong to
	seen   witness
	// prepared is what was prepared before it and not decided, of what changed
	// captured tables. It is immutable.
	prepared []prepared
}

type placeForm uint8

const (
	placeFile placeForm = iota
	placeGTID
	placeMaria
)

func (p *place) clone() place {
	c := *p
	c.mysql, c.maria = p.mysql.clone(), maps.Clone(p.maria)
	return c
}

// String renders the place for people.
func (p *place) String() string {
	switch p.form {
	case placeGTID:
		return p.mysql.String()
	case placeMaria:
		return p.maria.String()
	default:
		return p.file + ":" + strconv.FormatUint(p.offset, 10)
	}
}

// parsePlace is the inverse of String.
func parsePlace(form placeForm, text string) (p place, err error) {
	p.form = form
	switch form {
	case placeGTID:
		p.mysql, err = parseGTIDSet(text)
	case placeMaria:
		p.maria, err = parseMariaSet(text)
	default:
		i := strings.LastIndexByte(text, ':')
		if i <= 0 {
			return p, fmt.Errorf("read log position: %q is none", text)
		}
		p.file = text[:i]
		p.offset, err = strconv.ParseUint(text[i+1:], 10, 64)
	}
	return p, err
}

// covers reports whether all that lies before q lies before p. Places of two
// forms do not compare.
func (p *place) covers(q *place) bool {
	if p.form != q.form {
		return false
	}
	switch p.form {
	case placeGTID:
		return p.mysql.covers(&q.mysql)
	case placeMaria:
		return p.maria.covers(q.maria)
	default:
		c := compareFiles(p.file, q.file)
		return c > 0 || c == 0 && p.offset >= q.offset
	}
}

// compareFiles orders the names of one server's log files: a base name and a
// number that grows and may get more digits.
func compareFiles(a, b string) int {
	i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	if len(a)-i != len(b)-j {
		return (len(a) - i) - (len(b) - j)
	}
	return strings.Compare(a[i+1:], b[j+1:])
}

// txID names a transaction in the log.
type txID struct {
	form   placeForm
	source gtidSource // placeGTID
	gno    int64
	domain uint32 // placeMaria
	maria  mariaGTID
	// file and offset are where the transaction begins.
	file   string
	offset uint64
}

// append renders the id for people: a GTID, or where the transaction begins.
func (t *txID) append(out []byte) []byte {
	switch t.form {
	case placeGTID:
		out = append(t.source.append(out), ':')
		return strconv.AppendInt(out, t.gno, 10)
	case placeMaria:
		return t.maria.append(out, t.domain)
	default:
		return t.appendOffset(out)
	}
}

func (t *txID) appendOffset(out []byte) []byte {
	out = append(append(out, t.file...), ':')
	return strconv.AppendUint(out, t.offset, 10)
}

// has reports whether a transaction lies before p.
func (p *place) has(t *txID) bool {
	if p.form != t.form {
		return false
	}
	switch p.form {
	case placeGTID:
		return p.mysql.contains(t.source, t.gno)
	case placeMaria:
		return p.maria[t.domain].seq >= t.maria.seq
	default:
		c := compareFiles(t.file, p.file)
		return c < 0 || c == 0 && t.offset < p.offset
	}
}
