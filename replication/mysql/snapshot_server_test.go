package mysql

import (
	"bytes"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/secret"
)

// relay stands between a client and a server.
type relay struct {
	address string
	mu      sync.Mutex
	open    []net.Conn
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

// newRelay forwards connections to a server. The first time that a client sends
// something with text in it, f runs before the server gets it.
func newRelay(t *testing.T, server, text string, f func()) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String()}
	var wg sync.WaitGroup
	var once sync.Once
	copyAll := func(to, from net.Conn, look bool) {
		defer to.Close()
		defer from.Close()
		for b := make([]byte, 64<<10); ; {
			n, err := from.Read(b)
			if look && bytes.Contains(b[:n], []byte(text)) {
				once.Do(f)
			}
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, client, there)
			r.mu.Unlock()
			wg.Go(func() { copyAll(there, client, true) })
			wg.Go(func() { copyAll(client, there, false) })
		}
	})
	t.Cleanup(func() { l.Close(); r.cut(); wg.Wait() })
	return r
}

// TestCutOver: a table that is swapped for another one (gh-ost, pt-osc) in the
// moment in which the snapshot begins is read whole: the snapshot's transaction
// does not see rows that came to the other table after its begin.
func TestCutOver(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		address := servicetest.MySQL(t, version)
		cfg, exec := configAt(t, address, "d")
		exec("CREATE TABLE d (id INT PRIMARY KEY, a VARCHAR(10))", "INSERT INTO d VALUES (1, 'a'), (2, 'b')", "CREATE TABLE _d_gho LIKE d")
		u, err := url.Parse(cfg.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		swapped := make(chan struct{})
		u.Host = newRelay(t, u.Host, "SAVEPOINT cdc", func() {
			exec("INSERT INTO _d_gho SELECT * FROM d")
			go func() {
				defer close(swapped)
				exec("RENAME TABLE d TO _d_del, _d_gho TO d")
			}()
			awaitSwap(t, address, swapped)
		}).address
		u.RawQuery = "tls=false"
		cfg.URL = secret.New(u.String())
		r := openSource(t, cfg)
		wantRows(t, r.take(2), `read d  > 1 "a"`, `read d  > 2 "b"`)
		<-swapped
		exec("INSERT INTO d VALUES (3, 'c')")
		wantRows(t, r.take(1), `insert d  > 3 "c"`)
	})
}

// awaitSwap waits until the tables are swapped, or the swap waits for somebody.
func awaitSwap(t *testing.T, address string, swapped <-chan struct{}) {
	conn, err := servicetest.MySQLConn(t.Context(), address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-swapped:
			return
		default:
		}
		r, err := conn.Execute("SHOW FULL PROCESSLIST")
		if err != nil {
			t.Error(err)
			return
		}
		for i := range r.RowNumber() {
			info, _ := r.GetStringByName(i, "Info")
			state, _ := r.GetStringByName(i, "State")
			database, _ := r.GetStringByName(i, "db")
			if strings.HasPrefix(info, "RENAME TABLE") && strings.Contains(state, "metadata lock") && strings.HasSuffix(address, "/"+database) {
				return
			}
		}
	}
	t.Error("the swap neither ends nor waits")
}
