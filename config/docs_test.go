package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md and testdata/schema.json")

const docsIntro = `# Configuration

<!-- Written by "go test ./config -update" from the declarations in config/sections.go. Do not edit. -->

One YAML file says what cdc does. ` + "`cdc check --config cdc.yml`" + ` reads it, connects to everything it names and says what is
wrong. ` + "`cdc config schema`" + ` prints its JSON Schema: an editor with a YAML language server completes and checks by

    # yaml-language-server: $schema=cdc.schema.json

- The file is strict. Unknown keys, bad values and contradictions are all reported at once, each as ` + "`file:line:column: field: what is wrong`" + `.
- ` + "`${NAME}`" + ` in a value is the environment variable, ` + "`${NAME:-text}`" + ` has a default for when it is unset or empty, and ` + "`$${`" + ` is
  ` + "`${`" + ` itself. Variables are put in after YAML is parsed: no character in them can break the file.
- Each secret may be given as ` + "`<key>_file`" + `, the name of a file that holds it; a newline at its end does not count. Secrets are never printed.
- Names of files are relative to the folder of the configuration.
- Durations are written ` + "`5ms`, `10s`, `1m30s`; sizes `64MiB`, `512KiB`, `1GB`" + ` or a number of bytes.

`

// markdown renders docs/configuration.md.
func markdown(t *testing.T) []byte {
	full, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(docsIntro)
	b.WriteString("## The whole file\n\n```yaml\n")
	b.Write(full)
	b.WriteString("```\n\n## Top level\n\n")
	o := &object{}
	(&Config{}).declare(o)
	renderSection(&b, o, "")
	return b.Bytes()
}

func renderSection(b *bytes.Buffer, o *object, path string) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, f := range o.fields {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, kindText(f), defaultText(f), strings.ReplaceAll(f.doc, "|", `\|`))
	}
	b.WriteString("\n")
	for _, f := range o.fields {
		if f.shape == nil {
			continue
		}
		at := f.name
		if path != "" {
			at = path + "." + f.name
		}
		if f.many {
			at += "[]"
		}
		fmt.Fprintf(b, "## %s\n\n%s\n\n", at, f.doc)
		renderSection(b, f.shape(), at)
	}
}

func kindText(f *field) string {
	s := f.kind
	switch {
	case f.many && f.orText:
		s = "list of mappings or texts"
	case f.many:
		s = "list of mappings"
	case len(f.words) > 0 && f.shape != nil:
		s = "`" + strings.Join(f.words, "`, `") + "` or mapping"
	case len(f.words) > 0:
		s = "`" + strings.Join(f.words, "`, `") + "`"
	case f.secret:
		s = "text, or `" + f.name + "_file`"
	case f.max > 0:
		s = fmt.Sprintf("%d to %d", f.min, f.max)
	}
	return s
}

func defaultText(f *field) string {
	switch {
	case f.must:
		return "**required**"
	case f.defNote != "":
		return f.defNote
	case f.def != "":
		return "`" + f.def + "`"
	}
	return ""
}

// golden compares a file with what it should hold, or writes it.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is out of date; go test ./config -update writes it (-want +got):\n%s", name, diff)
	}
}

func TestManualIsUpToDate(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "configuration.md"), markdown(t))
	golden(t, filepath.Join("testdata", "schema.json"), JSONSchema())
}
