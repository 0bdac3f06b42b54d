package mysql

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// charsets knows the server's character sets by name and by the ids of their
// collations. One goroutine owns it.
type charsets struct {
	session *session
	maxLen  map[string]int      // by name
	names   map[uint64]string   // by collation id
	loaded  map[string]*charset // with their tables
}

func newCharsets(s *session) *charsets {
	return &charsets{session: s, loaded: map[string]*charset{}}
}

// collation returns the charset of a collation's id.
func (c *charsets) collation(ctx context.Context, id uint64) (*charset, error) {
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	name, ok := c.names[id]
	if !ok {
		return nil, fmt.Errorf("collation %d is not known to the server", id)
	}
	return c.byName(ctx, name)
}

// list reads the names and ids, once.
func (c *charsets) list(ctx context.Context) error {
	if c.names != nil {
		return nil
	}
	rows, err := c.session.query(ctx, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
	if err != nil {
		return fmt.Errorf("list character sets: %w", err)
	}
	maxLen := map[string]int{}
	for _, r := range rows {
		maxLen[r[0].text], _ = strconv.Atoi(r[1].text)
	}
	// MariaDB from 10.10 on lists its newer collations in another table, whose
	// column ID MySQL and older servers do not have.
	rows, err = c.session.query(ctx, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL")
	if errorCode(err) == codeUnknownColumn {
		rows, err = c.session.query(ctx, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL")
	}
	if err != nil {
		return fmt.Errorf("list collations: %w", err)
	}
	names := map[uint64]string{}
	for _, r := range rows {
		id, err := strconv.ParseUint(r[0].text, 10, 64)
		if err != nil {
			return fmt.Errorf("list collations: %w", err)
		}
		names[id] = r[1].text
	}
	c.maxLen, c.names = maxLen, names
	return nil
}

// byName returns a charset, with its table.
func (c *charsets) byName(ctx context.Context, name string) (*charset, error) {
	if cs, ok := c.loaded[name]; ok {
		return cs, nil
	}
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	cs := &charset{name: name, maxLen: max(c.maxLen[name], 1)}
	form, unicode := unicodeForms[name]
	if unicode {
		cs.form = form
	} else if err := c.load(ctx, cs); err != nil {
		return nil, fmt.Errorf("read the table of character set %s: %w", name, err)
	}
	c.loaded[name] = cs
	return cs, nil
}

// load asks the server what every code of a charset is in UTF-8.
func (c *charsets) load(ctx context.Context, cs *charset) error {
	cs.form, cs.one = formTable, new([256]rune)
	if err := c.ask(ctx, cs.name, nil, 0, 0xff, cs.one[:]); err != nil {
		return err
	}
	if cs.maxLen == 1 {
		return nil
	}
	if cs.name == "gb18030" {
		cs.form = formGB18030
	}
	cs.two = new([65536]rune)
	for lead := 0x81; lead <= 0xfe; lead++ {
		if cs.one[lead] != 0 { // half-width katakana, of one byte
			continue
		}
		if err := c.ask(ctx, cs.name, []byte{byte(lead)}, 0x40, 0xfe, cs.two[lead<<8:lead<<8+256]); err != nil {
			return err
		}
	}
	if cs.name == "ujis" || cs.name == "eucjpms" {
		cs.three = new([65536]rune)
		for lead := 0xa1; lead <= 0xfe; lead++ {
			if err := c.ask(ctx, cs.name, []byte{0x8f, byte(lead)}, 0xa1, 0xfe, cs.three[lead<<8:lead<<8+256]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask fills out with the characters of prefix and one more byte from first to
// last. What has none the server makes NULL or a question mark.
func (c *charsets) ask(ctx context.Context, name string, prefix []byte, first, last int, out []rune) error {
	var sql strings.Builder
	sql.WriteString("SELECT ")
	for b := first; b <= last; b++ {
		if b > first {
			sql.WriteByte(',')
		}
		fmt.Fprintf(&sql, "HEX(CONVERT(CONVERT(x'%X%02X' USING %s) USING utf8mb4))", prefix, b, name)
	}
	rows, err := c.session.query(ctx, sql.String())
	if err != nil {
		return err
	}
	for i, cell := range rows[0] {
		text, err := hex.DecodeString(cell.text)
		if err != nil {
			return err
		}
		r, n := utf8.DecodeRune(text)
		question := string(text) == "?" && (len(prefix) > 0 || first+i != '?')
		if cell.null || question || n != len(text) || r == utf8.RuneError {
			continue
		}
		out[first+i] = r
	}
	return nil
}
