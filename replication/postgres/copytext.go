package postgres

import (
	"bytes"
	"errors"
	"fmt"

	"cdc/replication"
	"cdc/replication/arena"
)

var (
	errCopyNoEnd   = errors.New("the row does not end in a newline")
	errCopyColumns = errors.New("the row has another number of columns than the table")
	errCopyEscape  = errors.New("the row ends in half an escape")
)

// copyRow turns one row of COPY … TO STDOUT in text format into Values, one for
// each decoder. (PostgreSQL manual, COPY, "Text Format": columns between tabs,
// \N is NULL, backslash escapes; the server sends one row a message.) row may
// be reused afterwards: what the Values borrow is in a.
func copyRow(row []byte, decoders []columnDecoder, a *arena.Arena) ([]replication.Value, int, error) {
	if len(row) == 0 || row[len(row)-1] != '\n' {
		return nil, 0, errCopyNoEnd
	}
	row = row[:len(row)-1]
	if len(decoders) == 0 {
		if len(row) > 0 {
			return nil, 0, errCopyColumns
		}
		return nil, 0, nil
	}
	rest := a.Copy(row)
	escapes := bytes.IndexByte(rest, '\\') >= 0
	vals := a.Values(len(decoders))
	for i := range decoders {
		text := rest
		tab := bytes.IndexByte(rest, '\t')
		if i == len(decoders)-1 {
			if tab >= 0 {
				return nil, 0, errCopyColumns
			}
		} else {
			if tab < 0 {
				return nil, 0, errCopyColumns
			}
			text, rest = rest[:tab:tab], rest[tab+1:]
		}
		if escapes {
			if len(text) == 2 && text[0] == '\\' && text[1] == 'N' {
				vals[i] = replication.Null
				continue
			}
			var ok bool
			if text, ok = unescapeCopy(text); !ok {
				return nil, i, errCopyEscape
			}
		}
		v, err := decoders[i].decode(text, a)
		if err != nil {
			v = invalid(text, err)
		}
		vals[i] = v
	}
	return vals, 0, nil
}

// unescapeCopy undoes the backslash escapes in place. The server writes
// \b \f \n \r \t \v and \\ only; any other escaped byte stands for itself.
func unescapeCopy(text []byte) ([]byte, bool) {
	n := bytes.IndexByte(text, '\\')
	if n < 0 {
		return text, true
	}
	for i := n; i < len(text); n++ {
		c := text[i]
		i++
		if c == '\\' {
			if i == len(text) {
				return nil, false
			}
			c = text[i]
			i++
			switch c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'v':
				c = '\v'
			}
		}
		text[n] = c
	}
	return text[:n], true
}

// copyError says which row and column of a table could not be read. It shows
// no other value of the row.
func copyError(t *replication.Table, row int64, column int, err error) error {
	if column < len(t.Columns) {
		return fmt.Errorf("snapshot table %s: row %d, column %q: %w", t, row, t.Columns[column].Name, err)
	}
	return fmt.Errorf("snapshot table %s: row %d: %w", t, row, err)
}
