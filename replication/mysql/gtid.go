package mysql

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// gtidSet is a set of MySQL's global transaction ids: MySQL manual, "GTID
// Format and Storage". The zero value is empty.
type gtidSet struct {
	parts map[gtidSource]*[]interval
	last  *[]interval // of the source that add was called with last
	from  gtidSource
}

// gtidSource is who numbered a transaction: a server, with a tag.
type gtidSource struct {
	sid [16]byte
	tag string
}

// interval is a run of numbers, both ends included.
type interval struct{ first, last int64 }

func parseGTIDSet(text string) (gtidSet, error) {
	s := gtidSet{parts: map[gtidSource]*[]interval{}}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		fields := strings.Split(part, ":")
		var src gtidSource
		id, err := hex.DecodeString(strings.ReplaceAll(fields[0], "-", ""))
		if err != nil || len(id) != 16 || len(fields) < 2 {
			return s, fmt.Errorf("read GTID set: %q is none", part)
		}
		copy(src.sid[:], id)
		for _, f := range fields[1:] {
			first, last, isRange := strings.Cut(f, "-")
			a, err := strconv.ParseInt(first, 10, 64)
			if err != nil { // a tag, which what follows belongs to
				if src.tag = strings.ToLower(strings.TrimSpace(f)); src.tag == "" {
					return s, fmt.Errorf("read GTID set: %q is none", part)
				}
				continue
			}
			b := a
			if isRange {
				if b, err = strconv.ParseInt(last, 10, 64); err != nil {
					return s, fmt.Errorf("read GTID set: %q is none", part)
				}
			}
			if a < 1 || b < a {
				return s, fmt.Errorf("read GTID set: %q is none", part)
			}
			s.insert(src, interval{a, b})
		}
	}
	return s, nil
}

// add puts one transaction into the set.
func (s *gtidSet) add(src gtidSource, gno int64) {
	if s.last != nil && s.from == src {
		if run := *s.last; len(run) > 0 && run[len(run)-1].last == gno-1 {
			run[len(run)-1].last = gno
			return
		}
	}
	s.insert(src, interval{gno, gno})
}

func (s *gtidSet) insert(src gtidSource, in interval) {
	if s.parts == nil {
		s.parts = map[gtidSource]*[]interval{}
	}
	runs := s.parts[src]
	if runs == nil {
		runs = new([]interval)
		s.parts[src] = runs
	}
	s.last, s.from = runs, src
	// The runs that touch in become one with it.
	i, _ := slices.BinarySearchFunc(*runs, in, func(r, in interval) int {
		if r.last < in.first-1 {
			return -1
		}
		return 1
	})
	j := i
	for j < len(*runs) && (*runs)[j].first <= in.last+1 {
		in.first, in.last = min(in.first, (*runs)[j].first), max(in.last, (*runs)[j].last)
		j++
	}
	*runs = slices.Replace(*runs, i, j, in)
}

// contains reports whether a transaction is in the set.
func (s *gtidSet) contains(src gtidSource, gno int64) bool {
	runs := s.parts[src]
	if runs == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(*runs, gno, func(r interval, gno int64) int {
		switch {
		case r.last < gno:
			return -1
		case r.first > gno:
			return 1
		}
		return 0
	})
	return found
}

// covers reports whether every transaction of t is in s.
func (s *gtidSet) covers(t *gtidSet) bool {
	for src, runs := range t.parts {
		for _, r := range *runs {
			if !s.containsAll(src, r) {
				return false
			}
		}
	}
	return true
}

func (s *gtidSet) containsAll(src gtidSource, in interval) bool {
	runs := s.parts[src]
	if runs == nil {
		return false
	}
	for _, r := range *runs {
		if r.first <= in.first && in.last <= r.last {
			return true
		}
	}
	return false
}

func (s *gtidSet) clone() gtidSet {
	c := gtidSet{parts: make(map[gtidSource]*[]interval, len(s.parts))}
	for src, runs := range s.parts {
		copied := slices.Clone(*runs)
		c.parts[src] = &copied
	}
	return c
}

// String renders the set as MySQL does, in the order of the servers' ids and
// then of the tags.
func (s *gtidSet) String() string {
	sources := slices.SortedFunc(maps.Keys(s.parts), func(a, b gtidSource) int {
		if c := slices.Compare(a.sid[:], b.sid[:]); c != 0 {
			return c
		}
		return strings.Compare(a.tag, b.tag)
	})
	var out []byte
	for i, src := range sources {
		switch {
		case i > 0 && sources[i-1].sid == src.sid:
			out = append(append(out, ':'), src.tag...)
		default:
			if i > 0 {
				out = append(out, ',')
			}
			out = src.append(out)
		}
		for _, r := range *s.parts[src] {
			out = strconv.AppendInt(append(out, ':'), r.first, 10)
			if r.last != r.first {
				out = strconv.AppendInt(append(out, '-'), r.last, 10)
			}
		}
	}
	return string(out)
}

// append renders the source: the id as a UUID, then the tag.
func (g *gtidSource) append(out []byte) []byte {
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			out = append(out, '-')
		}
		at := [...]int{0, 4, 6, 8, 10}[i]
		out = hex.AppendEncode(out, g.sid[at:at+n])
	}
	if g.tag != "" {
		out = append(append(out, ':'), g.tag...)
	}
	return out
}

// mariaSet is MariaDB's position: the last transaction of each domain.
// MariaDB's documentation, "Global Transaction ID".
type mariaSet map[uint32]mariaGTID

// mariaGTID is a transaction of a domain.
type mariaGTID struct {
	server uint32
	seq    uint64
}

func parseMariaSet(text string) (mariaSet, error) {
	s := mariaSet{}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		f := strings.Split(part, "-")
		if len(f) != 3 {
			return nil, fmt.Errorf("read GTID position: %q is none", part)
		}
		domain, err1 := strconv.ParseUint(f[0], 10, 32)
		server, err2 := strconv.ParseUint(f[1], 10, 32)
		seq, err3 := strconv.ParseUint(f[2], 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("read GTID position: %w", err)
		}
		s[uint32(domain)] = mariaGTID{uint32(server), seq}
	}
	return s, nil
}

// covers reports whether every transaction up to t is before s.
func (s mariaSet) covers(t mariaSet) bool {
	for domain, g := range t {
		if s[domain].seq < g.seq {
			return false
		}
	}
	return true
}

func (s mariaSet) String() string {
	var out []byte
	for i, domain := range slices.Sorted(maps.Keys(s)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = s[domain].append(out, domain)
	}
	return string(out)
}

func (g mariaGTID) append(out []byte, domain uint32) []byte {
	out = append(strconv.AppendUint(out, uint64(domain), 10), '-')
	out = append(strconv.AppendUint(out, uint64(g.server), 10), '-')
	return strconv.AppendUint(out, g.seq, 10)
}
