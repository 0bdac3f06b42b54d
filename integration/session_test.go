package integration

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
)

// session is a connection to a database of one of the families; one of the two is set.
type session struct {
	pg *pgx.Conn
	my *client.Conn
}

// family is the kind of database that a URL names: postgres, mysql or mariadb.
func family(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return err.Error()
	}
	return u.Scheme
}

// dialSession connects to a server that may just be on its way up or down.
func dialSession(ctx context.Context, address string) (*session, error) {
	if family(address) == "postgres" {
		conn, err := dial(ctx, address)
		return &session{pg: conn}, err
	}
	conn, err := servicetest.MySQLConn(ctx, address)
	return &session{my: conn}, err
}

func (s *session) close() {
	if s.pg != nil {
		s.pg.Close(context.Background())
	} else {
		s.my.Close()
	}
}

// do runs one statement, whatever becomes of the test's context meanwhile, and
// returns how many rows it changed.
func (s *session) do(sql string) (affected int64, err error) {
	if s.pg != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		tag, err := s.pg.Exec(ctx, sql)
		return tag.RowsAffected(), err
	}
	r, err := s.my.Execute(sql)
	if err != nil {
		return 0, err
	}
	return int64(r.AffectedRows), nil
}

// query returns rows of texts; NULL is "<null>".
func (s *session) query(ctx context.Context, sql string) ([][]string, error) {
	var out [][]string
	if s.pg != nil {
		results, err := s.pg.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return nil, err
		}
		for _, r := range results[0].Rows {
			row := make([]string, len(r))
			for i, c := range r {
				if row[i] = string(c); c == nil {
					row[i] = "<null>"
				}
			}
			out = append(out, row)
		}
		return out, nil
	}
	r, err := s.my.Execute(sql)
	if err != nil {
		return nil, err
	}
	for i := range r.RowNumber() {
		row := make([]string, r.ColumnNumber())
		for j := range row {
			if null, _ := r.IsNull(i, j); null {
				row[j] = "<null>"
			} else if row[j], err = r.GetString(i, j); err != nil {
				return nil, err
			}
		}
		out = append(out, row)
	}
	return out, nil
}

// number returns the only value of a query's only row, 0 for NULL.
func (s *session) number(ctx context.Context, sql string) (int64, error) {
	rows, err := s.query(ctx, sql)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, fmt.Errorf("%s: not one value", sql)
	}
	if rows[0][0] == "<null>" {
		return 0, nil
	}
	return strconv.ParseInt(rows[0][0], 10, 64)
}

// ask is number on a connection of its own.
func ask(ctx context.Context, address, sql string) (int64, error) {
	a := &asker{url: address}
	defer a.close()
	return a.number(ctx, sql)
}

// asker asks for numbers, and connects anew after an error: the server may have
// restarted.
type asker struct {
	url  string
	conn *session
}

func (a *asker) number(ctx context.Context, sql string) (n int64, err error) {
	if a.conn == nil {
		conn, err := dialSession(ctx, a.url)
		if err != nil {
			return 0, err
		}
		a.conn = conn
	}
	if n, err = a.conn.number(ctx, sql); err != nil {
		a.close()
	}
	return n, err
}

func (a *asker) close() {
	if a.conn != nil {
		a.conn.close()
		a.conn = nil
	}
}
