package arena

import "testing"

// item is a batch as a source has it.
type item struct {
	Batch

	mark int
}

func (i *item) Clear() { i.mark = 0 }

// TestPool lends a bounded number of batches and keeps no large memory.
func TestPool(t *testing.T) {
	p := NewPool[item](1<<20, 2)
	a, b := p.TryGet(), p.TryGet()
	if p.TryGet() != nil {
		t.Fatal("a third batch of two")
	}
	huge := a.Alloc(64 << 20)
	huge[0] = 1
	for range 40 {
		a.Alloc(byteBlock / 8)
		a.Values(valueBlock / 8)
	}
	if !a.Full() || b.Full() {
		t.Error("full is wrong")
	}
	a.Position, a.mark = "p", 1
	a.Release()
	a.Release() // a second time does nothing
	<-p.Freed()
	if got := p.TryGet(); got != a || p.TryGet() != nil {
		t.Fatal("the batch does not come back")
	}
	if n := a.Size(); n != 0 || a.mark != 0 || a.Position != "" {
		t.Errorf("a recycled batch has size %d, mark %d, Position %q", n, a.mark, a.Position)
	}
	kept := 0
	for _, block := range a.bytes.all {
		kept += len(block)
	}
	if kept > 3<<20 {
		t.Errorf("%d bytes stay", kept)
	}
}
