package services

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PostgresExtensionsMajor is the major version of the server with extensions.
const PostgresExtensionsMajor = 18

// extensionsBin installs Debian's server with pgvector and PostGIS, which the
// npm packages do not hold, and returns the folder with postgres and initdb.
func (h *Home) extensionsBin(ctx context.Context) (string, error) {
	major := fmt.Sprint(PostgresExtensionsMajor)
	name := "postgres-" + major + "-extensions"
	bin := filepath.Join("usr/lib/postgresql", major, "bin")
	err := h.install(ctx, name, func(ctx context.Context, dir string) error {
		server := "postgresql-" + major
		if err := unpackDebs(ctx, dir, "sid", server, server+"-pgvector", server+"-postgis-3", server+"-postgis-3-scripts"); err != nil {
			return err
		}
		// What only a JIT or a screen would need is half of it.
		for _, pattern := range []string{"usr/lib/*/dri", "usr/lib/*/libLLVM*", "usr/lib/llvm*", "usr/include"} {
			found, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, f := range found {
				if err := os.RemoveAll(f); err != nil {
					return err
				}
			}
		}
		// Debian's alternatives would give the extensions their names.
		controls, _ := filepath.Glob(filepath.Join(dir, "usr/share/postgresql", major, "extension/postgis*-3.control"))
		for _, c := range controls {
			if err := os.Symlink(filepath.Base(c), strings.TrimSuffix(c, "-3.control")+".control"); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
		// initdb starts postgres by its name: in place of both stand scripts that go
		// through the loader which came with them.
		for _, program := range []string{"initdb", "postgres"} {
			path := filepath.Join(dir, bin, program)
			if err := os.Rename(path, filepath.Join(dir, bin, "."+program)); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(throughLoader, "PROGRAM", program)), 0o755); err != nil {
				return err
			}
		}
		return nil
	})
	return filepath.Join(h.Dir, "soft", name, bin), err
}

const throughLoader = `#!/bin/sh
bin=$(dirname "$0"); dir=${bin%/usr/lib/*}
for lib in "$dir"/usr/lib/*-linux-gnu; do :; done
exec "$lib"/ld-linux-*.so.* --argv0 "$0" --library-path "$lib:$lib/blas:$lib/lapack" "$bin/.PROGRAM" "$@"
`
