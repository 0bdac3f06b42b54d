package producer

import "time"

// gathering holds calls back for a moment while much is coming in, so that
// their records share requests: at 200,000 rows a second small requests cost
// both sides more than the rows in them. With little coming in, calls go on at
// once. It is what a linger that follows the load would be; kgo's is constant.
//
// A leaky bucket tells much from little: what comes in fills it, and it leaks at
// the rate up to which small requests are cheap.
type gathering struct {
	p      *Producer
	linger time.Duration
	timer  *time.Timer
	armed  bool

	calls []*call // held back, in order
	bytes int     // in them

	level int // of the bucket, in bytes
	last  time.Time
	now   func() time.Time
}

const (
	leak   = 8 << 20   // bytes a second
	much   = 64 << 10  // bytes in the bucket
	full   = 256 << 10 // bytes that the bucket holds: empty again after 32 ms
	enough = 256 << 10 // bytes that are worth a request of their own
)

func (g *gathering) init(p *Producer) {
	g.p, g.linger, g.now = p, p.conf.Linger, time.Now
	g.timer = time.AfterFunc(time.Hour, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		g.armed = false
		g.handOver()
	})
	g.timer.Stop()
}

// put takes a call and hands it over now or soon. Producer.mu is held.
func (g *gathering) put(c *call, bytes int) {
	g.calls = append(g.calls, c)
	g.bytes += bytes
	if g.linger == 0 {
		g.handOver()
		return
	}
	now := g.now()
	leaked := int(now.Sub(g.last).Seconds() * leak)
	g.last = now
	if g.level = max(g.level-leaked, 0) + bytes; g.level <= much || g.bytes >= enough {
		g.handOver()
	} else if !g.armed {
		g.armed = true
		g.timer.Reset(g.linger)
	}
	g.level = min(g.level, full)
}

// handOver hands all calls over. Producer.mu is held.
func (g *gathering) handOver() {
	if g.armed {
		g.armed = !g.timer.Stop() // else it finds nothing, or a little early
	}
	for i, c := range g.calls {
		c.handOver()
		g.calls[i] = nil
	}
	g.calls, g.bytes = g.calls[:0], 0
}

// stop hands over what is left and stops the timer. Calls may still come; they
// find the Producer closed.
func (g *gathering) stop() {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.handOver()
	g.linger = 0
}
