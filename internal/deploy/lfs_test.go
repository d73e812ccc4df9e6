//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// pointerTo is the pointer to an object that nobody has.
func pointerTo(digits string) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 7\n", strings.Repeat(digits, 32))
}

const tracked = "*.bin filter=lfs diff=lfs merge=lfs -text\n"

// The repository itself may say that git-lfs is to be content with a pointer.
func TestPointerInThePlaceOfALargeFileIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.LFS = true })
	list := []githubtest.Entry{
		{Path: ".gitattributes", Content: tracked}, {Path: ".lfsconfig", Content: "[lfs]\n\tskipdownloaderrors = true\n"},
		{Path: "a", Content: "1"}, {Path: "big.bin", Content: w.site.AddObject("large")},
		{Path: "pointer.txt", Content: pointerTo("cd")},
	}
	w.publish(w.entries(list...))
	testkit.Equal(t, w.file("big.bin"), "large")
	list[3].Content = pointerTo("ab")
	err := w.refused(w.entries(list...))
	testkit.Equal(t, gitcmd.ReasonOf(err), gitcmd.LFSFailed, "%v", err)
	// Whatever makes git-lfs content: a program before it, here.
	real := testkit.Program(t, "git-lfs")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git-lfs"),
		[]byte("#!/bin/sh\nGIT_LFS_SKIP_SMUDGE=1 exec "+real+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.target.Git.Environ = append(slices.Clone(w.target.Git.Environ), "PATH="+bin+":"+os.Getenv("PATH"))
	list[3].Content = w.site.AddObject("another")
	if err := w.refused(w.entries(list...)); !errors.Is(err, ErrPointer) ||
		!strings.Contains(err.Error(), `"big.bin" is a pointer; `) {
		t.Errorf("%v", err)
	}
}

// What .lfsconfig leaves out is part of "the large files instead of their pointers".
func TestLargeFilesThatTheRepositoryLeavesOutAreThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.LFS = true })
	w.publish(w.entries(
		githubtest.Entry{Path: ".gitattributes", Content: tracked},
		githubtest.Entry{Path: ".lfsconfig", Content: "[lfs]\n\tfetchexclude = *\n\tfetchinclude = other\n"},
		githubtest.Entry{Path: "big.bin", Content: w.site.AddObject("large")},
		githubtest.Entry{Path: "dir/big.bin", Content: w.site.AddObject("large too")},
	))
	testkit.Equal(t, w.file("big.bin"), "large")
	testkit.Equal(t, w.file("dir/big.bin"), "large too")
}

// A pointer that an older release shows stays in none of the next ones, and what cannot
// be had is told.
func TestPointersOfAReleaseBeforeAreNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Share = HardLink })
	list := []githubtest.Entry{
		{Path: ".gitattributes", Content: tracked}, {Path: "a", Content: "1"},
		{Path: "big.bin", Content: w.site.AddObject("large")}, {Path: "lost.bin", Content: pointerTo("ab")},
		{Path: "pointer.txt", Content: pointerTo("cd")},
	}
	w.publish(w.entries(list...))
	shows := func() {
		t.Helper()
		w.target.LFS = true
		r := w.published()
		if !strings.HasPrefix(w.file("big.bin"), "version ") {
			t.Fatalf("%q", w.file("big.bin"))
		}
		r.BuildOptions = w.target.buildOptions() // as if it had been built with the large files
		testkit.OK(t, w.target.save(r))
	}
	shows()
	list[1].Content = "2"
	commit := w.entries(list...)
	testkit.Equal(t, gitcmd.ReasonOf(w.refused(commit)), gitcmd.LFSFailed)
	list[3].Content = w.site.AddObject("found")
	w.publish(w.entries(list...))
	if w.file("big.bin") != "large" || w.file("lost.bin") != "found" ||
		!strings.HasPrefix(w.file("pointer.txt"), "version ") {
		t.Errorf("%q %q %q", w.file("big.bin"), w.file("lost.bin"), w.file("pointer.txt"))
	}
}
