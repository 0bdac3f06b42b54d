package pipeline

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cdc/replication"
)

// saves is the slot between the settler and the saver: it holds the newest safe
// position that has not been saved. A newer one replaces an older one.
type saves struct {
	wake chan struct{} // holds one token after an offer
	end  chan struct{} // closed when no offer comes any more

	mu      sync.Mutex
	next    replication.Position // "" for none
	saving  bool                 // a Save is under way
	saved   replication.Position
	savedAt time.Time
}

func newSaves() *saves {
	return &saves{wake: make(chan struct{}, 1), end: make(chan struct{})}
}

func (s *saves) offer(p replication.Position) {
	s.mu.Lock()
	s.next = p
	s.mu.Unlock()
	signal(s.wake)
}

func (s *saves) close() { close(s.end) }

// begin takes the position to save, "" when there is none.
func (s *saves) begin() replication.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.next
	s.next = ""
	s.saving = p != ""
	return p
}

// finish notes that p is saved.
func (s *saves) finish(p replication.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saving, s.saved, s.savedAt = false, p, time.Now()
}

// last returns the newest saved position of this run and when it was saved, and
// whether another one is waiting or under way.
func (s *saves) last() (p replication.Position, at time.Time, pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved, s.savedAt, s.saving || s.next != ""
}

// save is the saver: one Save at a time, the newest position only, at once when
// the last Save is a while ago, else after SaveInterval. Only after Save has
// returned is the source told. A Save that fails ends the run: the store itself
// retries what is transient.
func (p *Pipeline) save(finishing context.Context) error {
	for {
		last := false
		select {
		case <-p.saves.wake:
		case <-p.saves.end:
			last = true
		}
		if position := p.saves.begin(); position != "" {
			if err := p.cfg.Checkpoints.Save(finishing, position); err != nil {
				return fmt.Errorf("save checkpoint: %w", err)
			}
			p.cfg.Source.Ack(position)
			p.saves.finish(position)
			p.advance()
		}
		if last {
			return nil
		}
		pause := time.NewTimer(p.cfg.SaveInterval)
		select {
		case <-pause.C:
		case <-p.saves.end:
			pause.Stop()
		}
	}
}
