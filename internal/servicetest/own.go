package servicetest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"testing"

	"cdc/internal/services"
)

// Server is a server that a test may start and stop as it likes.
type Server interface {
	Start(context.Context) (started bool, err error)
	Remove(context.Context) error
}

// Start starts a server that nobody else has, and removes it when t ends.
func Start(t testing.TB, s Server) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// OwnPostgres starts a server that nobody else has, and removes it when t ends.
// It does not wait for the disk: a crash of the machine may cost it data, one of
// the server not.
func OwnPostgres(t testing.TB, p services.Postgres) *services.Server {
	t.Helper()
	settings := map[string]string{"fsync": "off"}
	maps.Copy(settings, p.Settings)
	p.Settings = settings
	s := find(t).Postgres(Name(t, fmt.Sprintf("test-%d", p.Major)), p)
	Start(t, s)
	return s
}

// OwnMySQL starts a server of that version that nobody else has, and removes it
// when t ends.
func OwnMySQL(t testing.TB, version string, settings map[string]string) *services.Server {
	t.Helper()
	s := find(t).MySQL(Name(t, "own-"+version), services.MySQL{Version: version, Settings: settings})
	Start(t, s)
	return s
}

func find(t testing.TB) *services.Home {
	t.Helper()
	home, err := services.Find(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return home
}
