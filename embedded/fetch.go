package embedded

import (
	"context"
	"errors"
)

func fetchPostgres(context.Context, FetchConfig) (Programs, error) {
	return Programs{}, errors.New("fetch postgres: no library yet")
}
