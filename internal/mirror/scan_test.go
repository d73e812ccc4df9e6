package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// place makes what tells a mirror from something else.
func place(t *testing.T, dir, path, identity string) {
	t.Helper()
	testkit.OK(t, os.MkdirAll(filepath.Join(dir, path), 0o700))
	text := fmt.Sprintf("[core]\n\tbare = true\n[ghapp]\n\trepository = %s\n", identity)
	testkit.OK(t, os.WriteFile(filepath.Join(dir, path, "config"), []byte(text), 0o600))
}

// Where what was remembered is lost, the mirrors say themselves which they are: those who only read are not stopped.
func TestMirrorsAreFoundWhereNothingIsRemembered(t *testing.T) {
	dir := t.TempDir()
	place(t, dir, "acme/site.git", "7")
	place(t, dir, "acme/site.wiki.git", "7/wiki")
	place(t, dir, "acme/site.gone-3.git", "3")
	place(t, dir, "acme/web.git", "9")
	place(t, dir, "acme/web.gone-9.git", "9") // a copy, by which none is put out of its place
	place(t, dir, ".ghapp/moving/11.git", "11")
	testkit.OK(t, os.MkdirAll(filepath.Join(dir, "acme/other.git"), 0o700))
	for name, lose := range map[string]func() error{
		"there is none": func() error { return nil },
		"it is damaged": func() error { return os.WriteFile(StoreOf(dir).Path, []byte(strings.Repeat("x", 9000)), 0o600) },
	} {
		testkit.OK(t, lose())
		var log strings.Builder
		quiet := slog.New(slog.NewTextHandler(&log, nil))
		state := testkit.Must(Read(dir, quiet))(t)
		testkit.Equal(t, state.Scanned, true, name)
		testkit.Equal(t, len(state.Repositories), 3, name)
		testkit.Contains(t, log.String(), "is lost")
		for word, path := range map[string]string{
			"acme/site": "acme/site.git", "Acme/Site.wiki": "acme/site.wiki.git", "7": "acme/site.git",
			"3": "acme/site.gone-3.git", "9": "acme/web.git", "acme/web": "acme/web.git",
		} {
			f := testkit.Must(Find(dir, word, quiet))(t)
			testkit.Equal(t, f.Dir, filepath.Join(dir, path), "%s: %s", name, word)
		}
		all := testkit.Must(FindAll(dir, nil, quiet))(t)
		testkit.Equal(t, len(all), 4, "%s: with the wiki", name)
		testkit.Equal(t, all[0].Gone != nil, true, name)
	}
}

func TestWhatIsRememberedCountsMoreThanWhatLiesThere(t *testing.T) {
	dir := t.TempDir()
	place(t, dir, "acme/old.git", "7")
	testkit.OK(t, StoreOf(dir).write("github.com", changes{repositories: map[int64]*Record{7: {ID: 7, Name: "acme/new",
		Path: "acme/old.git"}}}))
	state := testkit.Must(Read(dir, slog.New(slog.DiscardHandler)))(t)
	testkit.Equal(t, state.Scanned, false)
	testkit.Equal(t, state.Repositories[7].Name, "acme/new")
}

// A mirror whose repository is only known by a name is compared with none: that name may be another's by now.
func TestWhatIsOnlyKnownByItsNameIsNotCompared(t *testing.T) {
	one := &Verified{record: &Record{ID: 7, Name: "acme/site"}}
	one.shot = testkit.Must((&Restore{From: &Found{Dir: emptyMirror(t)}}).snapshot(t.Context()))(t)
	calls := testkit.Must((&Verify{}).compare(t.Context(), &State{Scanned: true}, []*Verified{one}))(t)
	testkit.Equal(t, calls, int64(0))
	testkit.Equal(t, one.OK(), false)
	testkit.Equal(t, one.Unasked.(*fault.ExitError).Hint != "", true)
}

func emptyMirror(t *testing.T) string {
	dir := t.TempDir()
	place(t, dir, "x.git", "7")
	testkit.OK(t, os.Mkdir(filepath.Join(dir, "x.git/refs"), 0o700))
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "x.git/HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	return filepath.Join(dir, "x.git")
}

// A mirror that is remembered and not there is an error that says what to do.
func TestRestoringWhatIsNotThereSaysWhy(t *testing.T) {
	for f, says := range map[*Found]string{
		{Name: "acme/site", Dir: filepath.Join(t.TempDir(), "none")}:             "there is no mirror of acme/site",
		{Name: "acme/site", Dir: filepath.Join(t.TempDir(), "none"), Wiki: true}: "no mirror of the wiki of acme/site",
	} {
		_, err := (&Restore{From: f}).ToDirectory(t.Context(), Directory{Path: filepath.Join(t.TempDir(), "x")})
		testkit.ErrorContains(t, err, says)
		exit, ok := errors.AsType[*fault.ExitError](err)
		testkit.Equal(t, ok && exit.Code == fault.Usage, true)
		testkit.Equal(t, exit.Hint != "", true)
	}
}
