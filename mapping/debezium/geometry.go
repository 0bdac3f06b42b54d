package debezium

import (
	"encoding/binary"
	"strconv"
)

// coordinates reads all numbers of a geometric type's text: (1,2.5),
// [(0,0),(1,1)], <(1,2),3>, {1,2,3}.
func coordinates(dst []float64, text []byte) ([]float64, error) {
	for i := 0; i < len(text); {
		switch text[i] {
		case '(', ')', '[', ']', '<', '>', '{', '}', ',':
			i++
			continue
		}
		end := i
		for end < len(text) && text[end] != ',' && text[end] != ')' && text[end] != '>' && text[end] != '}' {
			end++
		}
		f, err := strconv.ParseFloat(view(text[i:end]), 64)
		if err != nil {
			return dst, errForm
		}
		dst, i = append(dst, f), end
	}
	return dst, nil
}

// appendGeometry appends a point, line or circle as Debezium's struct of it, and
// the others as well-known binary (OGC 06-103r4, little-endian).
func (s *step) appendGeometry(dst, text []byte) ([]byte, error) {
	var buf [32]float64
	c, err := coordinates(buf[:0], text)
	if err != nil {
		return dst, err
	}
	switch {
	case s.op == opPoint && len(c) == 2:
		return appendPoint(dst, c[0], c[1]), nil
	case s.op == opLine && len(c) == 3:
		return appendDouble(appendDouble(appendDouble(dst, c[0]), c[1]), c[2]), nil
	case s.op == opCircle && len(c) == 3:
		return appendDouble(appendPoint(dst, c[0], c[1]), c[2]), nil
	case s.op != opShape, len(c) < 2, len(c)%2 != 0:
		return dst, errForm
	}
	ring := false
	extensions := [][2]string{{"type", s.mode}}
	switch s.mode {
	case "box":
		if len(c) != 4 {
			return dst, errForm
		}
		// The corners that PostgreSQL prints are the upper right and the lower left.
		c = append(c[:0], c[0], c[1], c[0], c[3], c[2], c[3], c[2], c[1], c[0], c[1])
		ring = true
	case "polygon":
		c = append(c, c[0], c[1])
		ring = true
	case "path":
		extensions = [][2]string{{"closed", strconv.FormatBool(text[0] == '(')}, {"type", s.mode}}
	}
	size := 1 + 4 + 4 + 8*len(c)
	if ring {
		size += 4
	}
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 1)
	if ring {
		dst = binary.LittleEndian.AppendUint32(dst, 3) // a polygon of one ring
		dst = binary.LittleEndian.AppendUint32(dst, 1)
	} else {
		dst = binary.LittleEndian.AppendUint32(dst, 2) // a line string
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c)/2))
	for _, f := range c {
		dst = appendDouble(dst, f)
	}
	dst = append(dst, 0, 2) // no srid; extensions
	dst = binary.AppendVarint(dst, int64(len(extensions)))
	for _, e := range extensions {
		dst = appendString(appendString(dst, e[0]), e[1])
	}
	return append(dst, 0), nil
}

func appendPoint(dst []byte, x, y float64) []byte {
	dst = appendDouble(appendDouble(dst, x), y)
	dst = append(dst, 2, 21<<1, 1, 1, 0, 0, 0) // well-known binary of 21 bytes: a point
	dst = appendDouble(appendDouble(dst, x), y)
	return append(dst, 0) // no srid
}
