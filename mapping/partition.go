package mapping

import "encoding/binary"

// Partition is a choice of partition. The zero Partition leaves it to the key.
type Partition struct {
	way partitionWay
	n   uint32
}

type partitionWay uint8

const (
	partitionByKey partitionWay = iota
	partitionNumber
	partitionHash
)

// PartitionNumber is the partition of that number.
func PartitionNumber(n int32) Partition { return Partition{partitionNumber, uint32(n)} }

// PartitionHash is the partition whose number is hash modulo the number of
// partitions.
func PartitionHash(hash uint32) Partition { return Partition{partitionHash, hash} }

// Number returns the number of a PartitionNumber.
func (p Partition) Number() (n int32, ok bool) { return int32(p.n), p.way == partitionNumber }

// Hash returns the hash of a PartitionHash.
func (p Partition) Hash() (hash uint32, ok bool) { return p.n, p.way == partitionHash }

// Murmur2 is the hash of org.apache.kafka.common.utils.Utils.murmur2, by whose
// lower 31 bits Java's default partitioner places keys.
func Murmur2(b []byte) uint32 {
	const (
		m    = 0x5bd1e995
		seed = 0x9747b28c
	)
	h := uint32(seed) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// Append appends what tells p from every other Partition: five bytes.
func (p Partition) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(p.way)), p.n)
}
