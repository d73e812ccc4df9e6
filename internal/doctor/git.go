package doctor

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// version is the number of a release.
type version [3]int

// readVersion finds the first number of the form 1.2 or 1.2.3 in a text.
func readVersion(text string) (v version, ok bool) {
	m := regexp.MustCompile(`(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?`).FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // digits, or nothing
	}
	return v, true
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) before(other version) bool { return slices.Compare(v[:], other[:]) < 0 }

// flaw is a way in which a program can do what a server or a repository wants, and its
// user does not.
type flaw struct {
	name  string
	can   string // what it can do
	since version
	// mended are the releases that do without it, oldest first: each one the first
	// of its series, and the last one of all series after it.
	mended []version
}

// in reports whether a release has the flaw.
func (f flaw) in(v version) bool {
	if v.before(f.since) {
		return false
	}
	last := f.mended[len(f.mended)-1]
	if !v.before(last) {
		return false
	}
	return !slices.ContainsFunc(f.mended, func(m version) bool { return v[0] == m[0] && v[1] == m[1] && !v.before(m) })
}

const leadsAway = "can lead a credential to another host"

// gitFlaws are those of git (the RelNotes of 2.40.4 and 2.43.7 in
// https://github.com/git/git/blob/master/Documentation/RelNotes).
func gitFlaws() []flaw {
	mended := []version{{2, 43, 7}, {2, 44, 4}, {2, 45, 4}, {2, 46, 4}, {2, 47, 3}, {2, 48, 2}, {2, 49, 1}, {2, 50, 1}}
	return []flaw{
		{
			name: "CVE-2024-52006", can: leadsAway,
			mended: []version{{2, 40, 4}, {2, 41, 3}, {2, 42, 4}, {2, 43, 6}, {2, 44, 3}, {2, 45, 3},
				{2, 46, 3}, {2, 47, 2}, {2, 48, 1}},
		},
		{name: "CVE-2025-48384", can: "can let a repository with submodules run a program", mended: mended},
		{name: "CVE-2025-48385", can: "can let a server write files by a bundle", mended: mended},
	}
}

// lfsFlaws are those of git-lfs
// (https://github.com/git-lfs/git-lfs/security/advisories/GHSA-q6r2-x2cc-vrp7 and
// https://github.com/git-lfs/git-lfs/security/advisories/GHSA-6pvw-g552-53c5).
func lfsFlaws() []flaw {
	return []flaw{
		{name: "CVE-2024-53263", can: leadsAway, mended: []version{{3, 6, 1}}},
		{name: "CVE-2025-26625", can: "can let a repository write files outside of its directory",
			mended: []version{{3, 7, 1}}},
	}
}

// curlFlaws are those of libcurl (https://curl.se/docs/CVE-2026-8926.html,
// https://curl.se/docs/CVE-2026-6429.html).
func curlFlaws() []flaw {
	return []flaw{
		{name: "CVE-2026-8926", can: leadsAway, since: version{8, 11, 1},
			mended: []version{{8, 14, 2}, {8, 16, 1}, {8, 20, 1}}},
		{name: "CVE-2026-6429", can: leadsAway, since: version{7, 14, 0},
			mended: []version{{8, 14, 2}, {8, 16, 1}, {8, 20, 0}}},
	}
}

// known tells of a version what is known of it. It is no warning: distributions mend
// flaws without another number.
func known(text string, flaws []flaw) Finding {
	v, numbered := readVersion(text)
	var told []string
	var mended version
	for _, f := range flaws {
		if !numbered || !f.in(v) {
			continue
		}
		told = append(told, f.name+" "+f.can)
		if last := f.mended[len(f.mended)-1]; mended.before(last) {
			mended = last
		}
	}
	if len(told) == 0 {
		return ok("%s", text)
	}
	return note("%s; %s: unless your distribution has mended it, update to %s", text, strings.Join(told, ", "), mended)
}

// programs are the versions of git and what it uses.
func (x *examination) programs() []link {
	return []link{
		{name: "git", check: x.checkGit},
		{name: "libcurl", needs: []string{"git"}, check: x.checkCurl},
		{name: "git-lfs", needs: []string{"git"}, check: x.checkLFS},
	}
}

func (x *examination) checkGit(ctx context.Context) Finding {
	v, err := x.git.Version(ctx)
	switch {
	case err != nil:
		return broken(err, "it cannot be used")
	case !v.AtLeast(2, 39):
		return warn(&diag.TroubleError{Trouble: diag.GitUnsupported,
			Text: "git " + v.Text + " may work, but is not tested with ghapp"}, "%s", v.Text)
	}
	return known(v.Text, gitFlaws())
}

// checkCurl reads the version of libcurl that git was built with, which git tells from
// 2.47 on. Which one it finds when it runs, it does not tell.
func (x *examination) checkCurl(ctx context.Context) Finding {
	out, err := x.git.Output(ctx, gitcmd.Scope{}, "version", "--build-options")
	if err != nil {
		return note("git does not tell which it uses: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if built, ok := strings.CutPrefix(line, "libcurl: "); ok {
			return known(strings.TrimSpace(built), curlFlaws())
		}
	}
	return note("this git does not tell which it uses: it does from 2.47 on")
}

func (x *examination) checkLFS(ctx context.Context) Finding {
	out, err := x.git.Output(ctx, gitcmd.Scope{}, "lfs", "version")
	if err != nil {
		return ok("not installed; only repositories with large files need it")
	}
	text, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return known(cmp.Or(strings.TrimPrefix(text, "git-lfs/"), "it does not tell its version"), lfsFlaws())
}
