package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var errEnvName = errors.New("names no environment variable; write $${ for the characters themselves")

// expand replaces ${NAME} by the environment variable and ${NAME:-text} by text
// when the variable is not set or empty. $${ stands for ${ itself; any other $
// is a $. What a variable holds is not expanded again.
func expand(s string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before + "{")
			s = rest
			continue
		}
		b.WriteString(before)
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New("${ without }; write $${ for the characters themselves")
		}
		name, fallback, has := strings.Cut(inside, ":-")
		if !envName.MatchString(name) {
			return "", fmt.Errorf("${%s} %w", inside, errEnvName)
		}
		value, set := env(name)
		switch {
		case value != "":
		case has:
			value = fallback
		case !set:
			return "", fmt.Errorf("environment variable %s is not set; ${%s:-text} gives a default", name, name)
		}
		b.WriteString(value)
		s = after
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("not a duration: write 5ms, 10s or 1m30s")
	}
	return d, nil
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
}

func parseSize(s string) (int, error) {
	bad := errors.New("not a size: write 64MiB, 512KiB, 1GB or a number of bytes")
	digits := strings.TrimRightFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	unit, known := sizeUnits[strings.TrimSpace(s[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil || n < 0 {
		return 0, bad
	}
	if n > math.MaxInt64/unit {
		return 0, bad
	}
	return int(n * unit), nil
}

// splitTable splits schema.table; a part may stand in double quotes, with each
// double quote inside doubled, as in SQL.
func splitTable(s string) (schema, table string, err error) {
	bad := fmt.Errorf("not of the form schema.table; a part with a dot stands in double quotes: 'public.\"a.b\"'")
	schema, rest, ok := cutPart(s)
	if !ok || !strings.HasPrefix(rest, ".") {
		return "", "", bad
	}
	table, rest, ok = cutPart(rest[1:])
	if !ok || rest != "" {
		return "", "", bad
	}
	return schema, table, nil
}

func cutPart(s string) (part, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '.')
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0 && !strings.Contains(s[:i], `"`)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), s[i+1:], b.Len() > 0
	}
	return "", "", false
}
