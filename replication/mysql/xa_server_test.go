package mysql

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"cdc/internal/servicetest"
	"cdc/secret"
)

// xaOf are the statements that prepare a distributed transaction.
func xaOf(id string, statements ...string) []string {
	all := append([]string{"XA START " + id}, statements...)
	return append(all, "XA END "+id, "XA PREPARE "+id)
}

// TestXA: the rows of a distributed transaction come when it commits, and not
// when it is rolled back, also over restarts and larger than what is kept.
func TestXA(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "x", "y")
		cfg.BatchBytes = 64 << 10
		exec("CREATE TABLE x (id INT PRIMARY KEY, s VARCHAR(3000))", "CREATE TABLE y (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
		// A transaction that is prepared belongs to its session until that ends.
		session := func(statements ...string) {
			t.Helper()
			servicetest.MySQLExec(t, strings.TrimSuffix(servicetest.MySQLServer(t, version), "/")+"/"+cfg.Tables[0].Schema, statements...)
		}
		r := openSource(t, changesOnly(cfg))
		one, two, three := "'"+cfg.Name+"','1',7", "'"+cfg.Name+"','2'", "x'00ff'"
		exec(append(xaOf(one, "INSERT INTO other VALUES (1)"), "XA COMMIT "+one, "INSERT INTO y VALUES (1)")...)
		wantRows(t, r.take(1), "insert y  > 1")
		exec("XA START "+one, "INSERT INTO x VALUES (1, 'one phase')", "INSERT INTO y VALUES (2)", "XA END "+one, "XA COMMIT "+one+" ONE PHASE")
		rows := r.take(2)
		wantRows(t, rows, `insert x  > 1 "one phase"`, "insert y  > 2")
		if rows[0].tx != rows[1].tx || rows[1].index != 1 {
			t.Errorf("one phase: %+v", rows)
		}

		session(xaOf(one, "INSERT INTO x VALUES (2, 'two')", "UPDATE x SET s = 'changed' WHERE id = 1", "DELETE FROM y WHERE id = 1")...)
		session(xaOf(two, "INSERT INTO x VALUES (3, 'never')")...)
		session("INSERT INTO y VALUES (3)")
		wantRows(t, r.take(1), "insert y  > 3")
		session("XA ROLLBACK "+two, "XA COMMIT "+one, "INSERT INTO y VALUES (4)")
		rows = r.take(4)
		wantRows(t, rows, `insert x  > 2 "two"`, `update x 1 "one phase" > 1 "changed"`, "delete y 1 > ", "insert y  > 4")
		if rows[0].tx != rows[2].tx || rows[2].index != 2 || rows[3].tx == rows[2].tx {
			t.Errorf("two phases: %+v", rows)
		}

		// They are decided after a restart, with another file of the log begun.
		session(xaOf(one, "INSERT INTO x VALUES (4, 'four')")...)
		session(xaOf(two, "INSERT INTO x VALUES (5, 'five')")...)
		const many = 1500
		var values strings.Builder
		for i := range many {
			fmt.Fprintf(&values, ",(%d,REPEAT('x',2000))", 1000+i)
		}
		session(xaOf(three, "INSERT INTO x VALUES "+values.String()[1:])...)
		session("INSERT INTO y VALUES (5)")
		wantRows(t, r.take(1), "insert y  > 5")
		r.close()
		session("FLUSH BINARY LOGS", "INSERT INTO y VALUES (6)", "XA ROLLBACK "+two)
		cfg.From = r.pos
		r = openSource(t, changesOnly(cfg))
		wantRows(t, r.take(1), "insert y  > 6")
		session("XA COMMIT " + one)
		wantRows(t, r.take(1), `insert x  > 4 "four"`)
		session("XA COMMIT "+three, "INSERT INTO y VALUES (7)")
		rows = r.take(many + 1)
		for i, c := range rows[:many] {
			if c.after[0] != fmt.Sprint(1000+i) || c.index != uint64(i) || c.tx != rows[0].tx || len(c.after[1]) != 2002 {
				t.Fatalf("row %d is %.100s, number %d of %s", i, c.String(), c.index, c.tx)
			}
		}
		wantRows(t, rows[many:], "insert y  > 7")
		if strings.Contains(string(r.pos), `"xa"`) && cfg.Flavor == MariaDB {
			t.Errorf("the position is %s", r.pos)
		}
	})
}

// TestXACut: a connection that breaks while the rows of a prepared transaction
// are read again loses none and brings none twice.
func TestXACut(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "x")
		exec("CREATE TABLE x (id INT PRIMARY KEY, s VARCHAR(3000))")
		u, err := url.Parse(cfg.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		between := newRelay(t, u.Host, "nothing of this", func() {})
		u.Host, u.RawQuery = between.address, "tls=false"
		cfg.URL, cfg.BatchBytes = secret.New(u.String()), 32<<10
		r := openSource(t, changesOnly(cfg))
		const many = 3000 // more than all batches hold
		var values strings.Builder
		for i := range many {
			fmt.Fprintf(&values, ",(%d,REPEAT('x',2000))", i)
		}
		exec(xaOf("'cut'", "INSERT INTO x VALUES "+values.String()[1:])...)
		exec("XA COMMIT 'cut'")
		got := 0
		for got < many {
			b, err := r.s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Changes {
				if id := b.Changes[i].After[0].Int(); id != int64(got) || b.Changes[i].Index != uint64(got) {
					t.Fatalf("after %d rows comes row %d, number %d", got, id, b.Changes[i].Index)
				}
				got++
			}
			if n := len(b.Changes); n > 0 && got == n { // the first of them
				between.cut()
			}
			b.Release()
		}
		exec("INSERT INTO x VALUES (-1, '')")
		wantRows(t, r.take(1), `insert x  > -1 ""`)
	})
}

// TestXABefore: what was prepared before the capture began is waited for, or
// refused; nothing of it is left out without a word.
func TestXABefore(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		address := servicetest.MySQL(t, version)
		cfg, exec := configAt(t, address, "x")
		exec("CREATE TABLE x (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
		id := "'" + cfg.Name + "'"
		servicetest.MySQLExec(t, address, xaOf(id, "INSERT INTO x VALUES (1)")...)
		if cfg.Flavor == MariaDB {
			_, err := Open(t.Context(), impatient(cfg))
			wantRefusal(t, err, "are prepared and not decided", "XA COMMIT or XA ROLLBACK")
			exec("XA COMMIT " + id)
			wantRows(t, openSource(t, cfg).take(1), "read x  > 1")
			return
		}
		// The tables cannot be locked, and the user may not ask.
		r := openSource(t, cfg)
		exec("INSERT INTO x VALUES (2)")
		wantRows(t, r.take(1), "insert x  > 2")
		exec("XA COMMIT " + id)
		wantRefusal(t, r.fails(), "was prepared before the capture began", "XA_RECOVER_ADMIN")
		r.close()
		// Of other tables they are no matter.
		servicetest.MySQLExec(t, address, xaOf(id, "INSERT INTO other VALUES (1)")...)
		r = openSource(t, cfg)
		wantRows(t, r.take(2), "read x  > 1", "read x  > 2")
		exec("XA COMMIT "+id, "INSERT INTO x VALUES (3)")
		wantRows(t, r.take(1), "insert x  > 3")
		r.close()
		user := "'x" + cfg.Tables[0].Schema[2:] + "'@'%'"
		exec("CREATE USER "+user+" IDENTIFIED BY 'pw'", "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.* TO "+user)
		t.Cleanup(func() { servicetest.MySQLExec(t, address, "DROP USER "+user) })
		cfg.URL = withUser(t, cfg.URL, strings.Split(user, "'")[1], "pw")
		servicetest.MySQLExec(t, address, xaOf(id, "INSERT INTO x VALUES (4)")...)
		_, err := Open(t.Context(), impatient(cfg))
		wantRefusal(t, err, "are prepared and not decided", "XA COMMIT or XA ROLLBACK")
		exec("XA ROLLBACK " + id)
	})
}
