package mysql

import (
	"strconv"

	"cdc/replication/arena"
)

// uuidFromStorage brings the parts of a MariaDB UUID into their order: MariaDB
// source, "sql_type_uuid.h". Versions 1 to 5 are stored with the node first, so
// that those of one machine lie side by side; newer ones sort as they are.
func uuidFromStorage(b []byte, a *arena.Arena) []byte {
	if len(b) != 16 || b[6]&0x80 == 0 || b[8] == 0 || b[8] >= 0x60 {
		return b
	}
	out := a.Alloc(16)
	copy(out[0:4], b[12:16])
	copy(out[4:6], b[10:12])
	copy(out[6:8], b[8:10])
	copy(out[8:10], b[6:8])
	copy(out[10:16], b[0:6])
	return out
}

// inet4Text renders an INET4.
func inet4Text(b []byte, a *arena.Arena) []byte {
	out := appendDotted(a.Scratch[:0], b)
	a.Scratch = out[:0]
	return a.Copy(out)
}

func appendDotted(out, b []byte) []byte {
	for i, x := range b {
		if i > 0 {
			out = append(out, '.')
		}
		out = strconv.AppendUint(out, uint64(x), 10)
	}
	return out
}

// inet6Text renders an INET6 as MariaDB does: the longest run of zero words is
// "::", and an IPv4 address behind one stands in its own form.
func inet6Text(b []byte, a *arena.Arena) []byte {
	if len(b) != 16 {
		return b
	}
	var words [8]uint64
	for i := range words {
		words[i] = uint64(b[2*i])<<8 | uint64(b[2*i+1])
	}
	from, to := -1, -1 // also a run of one
	for i := 0; i < 8; {
		j := i
		for j < 8 && words[j] == 0 {
			j++
		}
		if j-i > to-from {
			from, to = i, j
		}
		i = max(i+1, j)
	}
	out := a.Scratch[:0]
	for i := 0; i < 8; i++ {
		if i == from {
			out = append(out, ':', ':')
			i = to - 1
			continue
		}
		if i == 6 && from == 0 && (to == 6 || to == 5 && words[5] == 0xffff) {
			if out[len(out)-1] != ':' {
				out = append(out, ':')
			}
			out = appendDotted(out, b[12:16])
			break
		}
		if i > 0 && i != to {
			out = append(out, ':')
		}
		out = strconv.AppendUint(out, words[i], 16)
	}
	a.Scratch = out[:0]
	return a.Copy(out)
}
