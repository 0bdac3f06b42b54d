package mysql

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// existing renders a value that an added column has in the rows from before, as
// replication.Column's Missing wants it: what PostgreSQL reads as a value of the
// kind. It returns false for what only the server can tell, or where its rules
// for the value of a default are not followed here.
func (c *column) existing(v rowValue, p policy) (text string, null, ok bool) {
	switch c.special {
	case "uuid":
		text = strings.ToLower(v.text)
		return text, false, v.kind == valueText && uuidForm.MatchString(text)
	case "inet4", "inet6":
		a, err := netip.ParseAddr(v.text)
		return a.String(), false, v.kind == valueText && err == nil && !a.Is4In6()
	case "json":
		return v.text, false, v.kind == valueText && json.Valid([]byte(v.text))
	case "vector":
		return "", false, false
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG, gomysql.MYSQL_TYPE_BIT:
		n, ok := v.number()
		if !ok {
			return "", false, false
		}
		return n.FloatString(0), false, true
	case gomysql.MYSQL_TYPE_YEAR:
		n, ok := v.number()
		if !ok || n.Sign() != 0 && n.Cmp(big.NewRat(1901, 1)) < 0 { // of two digits
			return "", false, false
		}
		return n.FloatString(0), false, true
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		n, ok := v.number()
		if !ok {
			return "", false, false
		}
		return n.FloatString(c.scale), false, true
	case gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE:
		n, ok := v.number()
		if !ok {
			return "", false, false
		}
		f, _ := n.Float64()
		bits := 64
		if c.typ == gomysql.MYSQL_TYPE_FLOAT {
			bits = 32
		}
		return strconv.FormatFloat(f, 'g', -1, bits), false, true
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_DATETIME2:
		return c.existingDate(v, p)
	case gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_TIME2:
		if v.kind == valueImplicit {
			v = rowValue{valueText, "00:00:00"}
		}
		text, ok = withFraction(v.text, c.scale)
		return text, false, ok && v.kind == valueText && timeForm.MatchString(v.text)
	case gomysql.MYSQL_TYPE_ENUM:
		return c.existingLabel(v)
	case gomysql.MYSQL_TYPE_SET:
		return c.existingLabels(v)
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_BLOB:
		if c.binary() {
			return c.existingBytes(v)
		}
		return c.existingText(v)
	case gomysql.MYSQL_TYPE_JSON:
		return v.text, false, v.kind == valueText && json.Valid([]byte(v.text))
	}
	return "", false, false // a TIMESTAMP's depends on the session's time zone
}

var (
	uuidForm    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	numberForm  = regexp.MustCompile(`^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?$`)
	integerForm = regexp.MustCompile(`^(?:0|[1-9]\d*)$`)
	timeForm    = regexp.MustCompile(`^-?\d{2,3}:[0-5]\d:[0-5]\d(?:\.\d{1,6})?$`)
	dateForm    = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	stampForm   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)?$`)
)

// number returns the value where a number is wanted.
func (v rowValue) number() (*big.Rat, bool) {
	switch v.kind {
	case valueImplicit:
		return new(big.Rat), true
	case valueNumber, valueText:
		text := strings.TrimSpace(v.text)
		if !numberForm.MatchString(text) {
			return nil, false
		}
		return new(big.Rat).SetString(text)
	case valueBytes:
		return new(big.Rat).SetInt(new(big.Int).SetBytes([]byte(v.text))), len(v.text) <= 8
	default:
		return nil, false
	}
}

// existingDate renders a DATE or DATETIME that is written as the server prints it.
func (c *column) existingDate(v rowValue, p policy) (text string, null, ok bool) {
	day := c.typ == gomysql.MYSQL_TYPE_DATE || c.typ == gomysql.MYSQL_TYPE_NEWDATE
	if v.kind == valueImplicit {
		if p.zeroDates == ZeroDatesNull {
			return "", true, true
		}
		v = rowValue{valueText, "0000-00-00"}
	}
	form, layout := stampForm, "2006-01-02 15:04:05.999999"
	text = v.text
	if day {
		form, layout = dateForm, time.DateOnly
	} else if len(text) == len(time.DateOnly) {
		text += " 00:00:00"
	}
	if v.kind != valueText || !form.MatchString(v.text) {
		return "", false, false
	}
	_, err := time.Parse(layout, text)
	zero := strings.HasPrefix(text, "0000") || err != nil
	if !day {
		if text, ok = withFraction(text, c.scale); !ok {
			return "", false, false
		}
	}
	switch {
	case zero && p.zeroDates == ZeroDatesNull:
		return "", true, true
	case zero && p.zeroDates != ZeroDatesText:
		return "", false, false
	}
	return text, false, true
}

// withFraction gives a time of day as many fractional digits as its column has;
// false when it has more.
func withFraction(text string, scale int) (string, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > scale {
		return "", false
	}
	if scale == 0 {
		return whole, true
	}
	return whole + "." + fraction + strings.Repeat("0", scale-len(fraction)), true
}

func (c *column) existingLabel(v rowValue) (text string, null, ok bool) {
	switch v.kind {
	case valueImplicit:
		if len(c.labels) > 0 {
			return c.labels[0], false, true
		}
	case valueText:
		if i := c.label(v.text); i >= 0 {
			return c.labels[i], false, true
		}
	default: // a number of a label
	}
	return "", false, false
}

func (c *column) existingLabels(v rowValue) (text string, null, ok bool) {
	if v.kind == valueImplicit || v.kind == valueText && v.text == "" {
		return "", false, true
	}
	if v.kind != valueText {
		return "", false, false
	}
	var has []int
	for label := range strings.SplitSeq(v.text, ",") {
		i := c.label(label)
		if i < 0 {
			return "", false, false
		}
		has = append(has, i)
	}
	slices.Sort(has)
	var labels []string
	for _, i := range slices.Compact(has) {
		labels = append(labels, c.labels[i])
	}
	return strings.Join(labels, ","), false, true
}

func (c *column) label(text string) int {
	if i := slices.Index(c.labels, text); i >= 0 {
		return i
	}
	return slices.IndexFunc(c.labels, func(l string) bool { return strings.EqualFold(l, strings.TrimRight(text, " ")) })
}

func (c *column) existingText(v rowValue) (text string, null, ok bool) {
	switch v.kind {
	case valueImplicit:
	case valueNumber:
		if text = v.text; !integerForm.MatchString(strings.TrimPrefix(text, "-")) {
			return "", false, false
		}
	case valueText, valueBytes:
		if text = v.text; !utf8.ValidString(text) || v.kind == valueBytes && !ascii([]byte(text)) || strings.ContainsRune(text, 0) {
			return "", false, false
		}
	default:
		return "", false, false
	}
	if c.typ == gomysql.MYSQL_TYPE_STRING {
		text = strings.TrimRight(text, " ")
	}
	return text, false, true
}

func (c *column) existingBytes(v rowValue) (text string, null, ok bool) {
	b := v.text
	switch v.kind {
	case valueImplicit:
		b = ""
	case valueText:
		if !ascii([]byte(b)) {
			return "", false, false
		}
	case valueBytes:
	default:
		return "", false, false
	}
	if c.typ == gomysql.MYSQL_TYPE_STRING && len(b) < c.size {
		b += strings.Repeat("\x00", c.size-len(b))
	}
	return `\x` + hex.EncodeToString([]byte(b)), false, true
}

// describeUnknown says of which value rows from before are not known.
func describeUnknown(v rowValue) string {
	switch v.kind {
	case valueImplicit:
		return "the value that NOT NULL means without a default"
	case valueUnknown:
		return v.text
	default:
		return fmt.Sprintf("DEFAULT %s", quoteLiteral(clip(v.text, 80)))
	}
}
