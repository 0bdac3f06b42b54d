package postgres

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"cdc/replication"
)

const (
	// spoolBlock is the size of the pieces of memory that spools fill, in bytes.
	// A larger message gets memory of its own, which is not kept.
	spoolBlock = 64 << 10
	// spoolKept is how much of that memory stays when nothing is spooled.
	spoolKept = 1 << 20
	// spoolRead is how much of a file is read at a time, in bytes.
	spoolRead = 256 << 10
	// spoolHead is the head of a message in a spool: the length of its body and
	// the xid of its subtransaction.
	spoolHead = 8
)

// spools holds the messages of the transactions that are not decided yet, each
// in a spool: in memory up to a bound for all together, then the largest goes to
// a file. A file has no name any more once it is made, so that it goes with the
// process, however that ends. Only the counters may be read from any goroutine.
type spools struct {
	dir    string // of the files
	limit  int    // of the memory, in bytes
	create func(dir string) (*os.File, error)

	open  map[uint32]*spool // by the transaction's xid
	free  [][]byte          // empty blocks
	used  int               // bytes of the blocks in use
	buf   []byte            // of the reader
	count atomic.Int64      // of open
	mem   atomic.Int64      // used
	disk  atomic.Int64      // bytes in files
	// Since the beginning: transactions, and bytes that went to files.
	begun, spilled atomic.Int64
}

// spool is one transaction in progress: what its file has comes first, then the
// blocks.
type spool struct {
	xid     uint32
	blocks  [][]byte // whole messages each
	mem     int      // bytes of the blocks
	file    *os.File // nil until it is needed
	size    int64    // of the file
	aborted map[uint32]bool
	// messages says that it has messages, unclear that it had some when a
	// subtransaction was aborted: see errWhole.
	messages, unclear bool
}

func newSpools(cfg *Config) *spools {
	return &spools{dir: cfg.spillDir(), limit: cfg.SpillMemory, create: cfg.createSpool, open: map[uint32]*spool{}}
}

// createSpool makes a file that nobody else can open.
func createSpool(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "cdc-transaction-") // mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// begin opens the spool of a transaction.
func (p *spools) begin(xid uint32) *spool {
	s := &spool{xid: xid}
	p.open[xid] = s
	p.begun.Add(1)
	p.count.Store(int64(len(p.open)))
	return s
}

// add appends a message of the subtransaction xid. The memory may be over its
// bound afterwards: then spill is due.
func (p *spools) add(s *spool, xid uint32, body []byte) {
	n := len(s.blocks) - 1
	if size := spoolHead + len(body); n < 0 || cap(s.blocks[n])-len(s.blocks[n]) < size {
		s.blocks = append(s.blocks, p.block(size))
		n++
		s.mem += cap(s.blocks[n])
		p.used += cap(s.blocks[n])
		p.mem.Store(int64(p.used))
	}
	b := binary.BigEndian.AppendUint32(s.blocks[n], uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, xid)
	s.blocks[n] = append(b, body...)
}

// block returns an empty block for a message of that size.
func (p *spools) block(size int) []byte {
	if size > spoolBlock {
		return make([]byte, 0, size)
	}
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, 0, spoolBlock)
}

// over reports whether the memory is over its bound.
func (p *spools) over() bool { return p.used > p.limit }

// spill moves spools to their files until the memory is within its bound. The
// error is a *replication.Refusal: nothing was lost, the server has it all.
func (p *spools) spill() error {
	for p.over() {
		var s *spool
		for _, o := range p.open {
			if s == nil || o.mem > s.mem {
				s = o
			}
		}
		if err := p.write(s); err != nil {
			return &replication.Refusal{
				Problem: fmt.Sprintf("transaction %d, which is not committed yet, cannot be kept in folder %s (%s of it are there)", s.xid, p.dir, bytesText(s.size)),
				Remedy:  "make room there, or name another folder with spill_dir, or leave such transactions to the server with streaming: false; then start again, nothing is lost",
				Err:     err,
			}
		}
	}
	return nil
}

// write moves the blocks of s to its file.
func (p *spools) write(s *spool) (err error) {
	if s.file == nil {
		if s.file, err = p.create(p.dir); err != nil {
			return err
		}
	}
	for _, b := range s.blocks {
		n, err := s.file.WriteAt(b, s.size)
		s.size += int64(n)
		p.disk.Add(int64(n))
		p.spilled.Add(int64(n))
		if err != nil {
			return err
		}
	}
	p.empty(s)
	return nil
}

// empty takes the blocks of s back.
func (p *spools) empty(s *spool) {
	for i, b := range s.blocks {
		if cap(b) == spoolBlock {
			p.free = append(p.free, b[:0])
		}
		s.blocks[i] = nil
	}
	s.blocks = s.blocks[:0]
	p.used -= s.mem
	p.mem.Store(int64(p.used))
	s.mem = 0
}

// abort drops what belongs to the subtransaction xid: here nothing is taken out
// yet, reading passes over it.
func (s *spool) abort(xid uint32) {
	if s.aborted == nil {
		s.aborted = map[uint32]bool{}
	}
	s.aborted[xid] = true
	s.unclear = s.unclear || s.messages
}

// end drops s with all that it holds.
func (p *spools) end(s *spool) {
	p.empty(s)
	if s.file != nil {
		s.file.Close() // its errors are those of writes that nobody will read
		p.disk.Add(-s.size)
	}
	delete(p.open, s.xid)
	p.count.Store(int64(len(p.open)))
	if len(p.open) == 0 && len(p.free) > spoolKept/spoolBlock {
		clear(p.free[spoolKept/spoolBlock:])
		p.free = p.free[:spoolKept/spoolBlock]
	}
}

// clear drops all spools.
func (p *spools) clear() {
	for _, s := range p.open {
		p.end(s)
	}
}

// spooled returns the number of the transactions in progress that are held, and
// how many bytes of them are in memory and in files.
func (p *spools) spooled() (open, mem, disk int64) {
	return p.count.Load(), p.mem.Load(), p.disk.Load()
}

// spoolReader reads a spool from its beginning, piece by piece: fill gets a
// piece, next takes the messages in it.
type spoolReader struct {
	s     *spool
	buf   []byte
	off   int64  // in the file
	block int    // of s.blocks
	piece []byte // what is left of the piece
	owned bool   // it is never reused
}

func (p *spools) reader(s *spool) *spoolReader {
	if p.buf == nil && s.file != nil {
		p.buf = make([]byte, spoolRead)
	}
	return &spoolReader{s: s, buf: p.buf}
}

// fill gets the next piece, once next has no more of the last one. It returns
// io.EOF at the end.
func (r *spoolReader) fill() error {
	if r.off < r.s.size {
		return r.read()
	}
	if len(r.piece) > 0 {
		return fmt.Errorf("read transaction %d: a message is cut short", r.s.xid)
	}
	if r.block == len(r.s.blocks) {
		return io.EOF
	}
	r.piece = r.s.blocks[r.block]
	r.owned = cap(r.piece) > spoolBlock
	r.block++
	return nil
}

// read reads from the file what fits into buf, or one message that does not.
func (r *spoolReader) read() error {
	n := copy(r.buf, r.piece) // a message in part
	into := r.buf[:min(int64(len(r.buf)), int64(n)+r.s.size-r.off)]
	if r.owned = false; n >= spoolHead {
		if size := spoolHead + int(binary.BigEndian.Uint32(r.buf)); size > len(r.buf) {
			into = make([]byte, size)
			copy(into, r.buf[:n])
			r.owned = true
		}
	}
	m, err := r.s.file.ReadAt(into[n:], r.off)
	r.off += int64(m)
	if n+m < len(into) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read transaction %d from its file: %w", r.s.xid, err)
	}
	r.piece = into
	return nil
}

// next returns the next message of the piece that was not aborted. The body is
// valid until fill; with owned it is the caller's for good.
func (r *spoolReader) next() (body []byte, owned, ok bool) {
	for {
		if len(r.piece) < spoolHead {
			return nil, false, false
		}
		end := spoolHead + int(binary.BigEndian.Uint32(r.piece))
		if end > len(r.piece) {
			return nil, false, false
		}
		xid := binary.BigEndian.Uint32(r.piece[4:])
		body, r.piece = r.piece[spoolHead:end:end], r.piece[end:]
		if len(r.s.aborted) == 0 || !r.s.aborted[xid] {
			return body, r.owned, true
		}
	}
}
