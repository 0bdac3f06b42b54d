package servicetest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/services"
)

// A killed PostgreSQL leaves processes behind that end when they come to it. A
// start waits for them.
func TestStartAfterKill(t *testing.T) {
	t.Parallel()
	server := OwnPostgres(t, services.Postgres{})
	busy, err := pgx.Connect(t.Context(), server.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close(context.Background())
	done := make(chan struct{})
	go func() { // it looks at nothing else meanwhile
		defer close(done)
		_, _ = busy.Exec(context.WithoutCancel(t.Context()), `SELECT count(*) FROM generate_series(1, 5000000)`)
	}()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := try(server.Address(), `DO $$ BEGIN ASSERT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%' AND pid <> pg_backend_pid()); END $$`)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	started, err := server.Start(t.Context())
	if !started || err != nil {
		t.Errorf("start after a kill: %v, %v", started, err)
	}
	<-done
}
