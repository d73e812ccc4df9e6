package mirror

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// said is what the sources of the program say, with strings in one piece that go on in the next line.
func said(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"../../*.go", "../*/*.go"} {
		for _, path := range testkit.Must(filepath.Glob(pattern))(t) {
			if !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "githubtest") {
				all.Write(testkit.Must(os.ReadFile(path))(t))
			}
		}
	}
	testkit.Equal(t, all.Len() > 0, true)
	return regexp.MustCompile(`"\s*\+\n\s*"`).ReplaceAllString(all.String(), "")
}

// The documentation's table of troubles has the words that the program says, and its exit codes.
func TestDocsTellOfTroublesInTheWordsOfTheProgram(t *testing.T) {
	text := string(testkit.Must(os.ReadFile("../../docs/mirror.md"))(t))
	_, table, _ := strings.Cut(text, "| what is said | why, and what to do |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	source := said(t) + syscall.ENOSPC.Error()
	rows := 0
	for row := range strings.Lines(table) {
		rows++
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			for _, words := range regexp.MustCompile(`DIR|…|\(process 17 on …\)`).Split(m[1], -1) {
				if words = strings.TrimSpace(words); len(words) > 3 && !strings.Contains(source, words) {
					t.Errorf("nothing says %q:\n%s", words, row)
				}
			}
		}
	}
	testkit.Equal(t, rows > 10, true)
	open := t.TempDir()
	testkit.OK(t, os.Chmod(open, 0o777))
	b := budget{leave: 1000}
	b.note(header(5000, 1000, time.Now().Add(time.Hour)))
	for words, err := range map[string]error{
		"is kept by another process, or something": busy(t.TempDir()),
		"lets other users write to it":             occupy(open),
		"of its hourly budget":                     b.spare(),
	} {
		testkit.ErrorContains(t, err, words)
		code := strconv.Itoa(diag.Explain(err).ExitCode)
		row := regexp.MustCompile(`(?m)^.*` + regexp.QuoteMeta(words) + `.*$`).FindString(table)
		testkit.Contains(t, row, "`, exit "+code+" |")
	}
}
