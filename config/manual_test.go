package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fenced = regexp.MustCompile("(?s)\n( *)```yaml\n(.*?\n) *```")

// TestManual reads every piece of configuration that the manual shows, with the
// rest from the smallest file that there is. Files that they name are absent here.
func TestManual(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	read := 0
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range fenced.FindAllStringSubmatch(string(text), -1) {
			block := strings.ReplaceAll(found[2], "\n"+found[1], "\n")[len(found[1]):]
			_, err := Parse(file, []byte(completed(block)), func(string) (string, bool) { return "secret", true })
			var invalid *Errors
			if err != nil && !errors.As(err, &invalid) {
				t.Errorf("%s: %v:\n%s", file, err, block)
				continue
			}
			if read++; err == nil {
				continue
			}
			for _, p := range invalid.Problems {
				if !strings.Contains(p.Text, "cannot read") && !strings.Contains(p.Text, "no such file") {
					t.Errorf("%s: %s: %s:\n%s", file, p.Path, p.Text, block)
				}
			}
		}
	}
	if read < 10 {
		t.Errorf("only %d pieces were found", read)
	}
}

// completed adds to a piece of a file the sections of small that it lacks.
func completed(piece string) string {
	has := func(section string) bool {
		return strings.HasPrefix(piece, section+":") || strings.Contains(piece, "\n"+section+":")
	}
	for line := range strings.Lines(small) {
		section, _, _ := strings.Cut(line, ":")
		if section == "tables" && has("outbox") || has(section) {
			continue
		}
		piece += line
	}
	return piece
}
