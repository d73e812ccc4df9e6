package mirror

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// oid is the ID of some object.
func oid(digit string) string { return strings.Repeat(digit, 40) }

// twoBundles are a manifest and the heads of its bundles: main is moved by the second one.
func twoBundles(t *testing.T) (*Manifest, string) {
	t.Helper()
	dir := t.TempDir()
	first := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	m := &Manifest{Format: 1, ID: 7, Name: "acme/site", Time: first.Add(time.Hour)}
	m.Repository = barerepo.Image{Format: "sha1", Identity: "7",
		Refs: map[string]string{"refs/heads/main": oid("2"), "refs/heads/dev": oid("3")}}
	for _, head := range []struct {
		after         time.Duration
		lines         string
		prerequisites []string
	}{
		{0, oid("1") + " refs/heads/main\n" + oid("3") + " refs/heads/dev\n", nil},
		{time.Hour, "-" + oid("1") + " a commit\n" + oid("2") + " refs/heads/main\n", []string{oid("1")}},
	} {
		at := first.Add(head.after)
		part := &Part{File: at.Format("20060102T150405Z") + ".bundle"}
		m.Increments = append(m.Increments, Increment{Time: at, Bundle: part, Prerequisites: head.prerequisites})
		text := "# v3 git bundle\n@object-format=sha1\n" + head.lines + "\nPACK"
		testkit.OK(t, os.WriteFile(filepath.Join(dir, part.File), []byte(text), 0o600))
	}
	return m, dir
}

// A manifest has the refs that its bundles have, and says which is another where one is.
func TestAManifestWithOtherRefsThanItsBundlesIsRefused(t *testing.T) {
	m, dir := twoBundles(t)
	testkit.OK(t, m.agree(dir))
	for says, change := range map[string]func(*Manifest){
		"refs/heads/main is at " + oid("1") + ", and 20261101T130000Z.bundle that it is at \"" + oid("2"): func(m *Manifest) {
			m.Repository.Refs["refs/heads/main"] = oid("1")
		},
		"refs/heads/dev is at " + oid("9"): func(m *Manifest) { m.Repository.Refs["refs/heads/dev"] = oid("9") },
		"refs/heads/new is at " + oid("9") + ", and no bundle has it": func(m *Manifest) {
			m.Repository.Refs["refs/heads/new"] = oid("9")
		},
		"has \"refs/heads/main\", and the manifest does not": func(m *Manifest) {
			delete(m.Repository.Refs, "refs/heads/main")
		},
		"builds on other objects": func(m *Manifest) { m.Increments[1].Prerequisites = nil },
	} {
		changed := *m
		changed.Repository.Refs, changed.Increments = maps.Clone(m.Repository.Refs), slices.Clone(m.Increments)
		change(&changed)
		testkit.ErrorContains(t, changed.agree(dir), says)
	}
}

// A ref that went, or moved to what was there by then, needs no bundle.
func TestRefsMayMoveWithoutABundle(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"back, after the last bundle": func(m *Manifest) {
			m.Time = m.Time.Add(time.Hour)
			m.Repository.Refs["refs/heads/main"] = oid("1")
		},
		"to what only the journal tells of": func(m *Manifest) {
			m.Time = m.Time.Add(time.Hour)
			m.Repository.Refs["refs/heads/main"] = oid("4")
			m.Repository.Journal = []barerepo.Entry{{Time: m.Time, Ref: "refs/heads/main", Old: oid("2"), New: oid("4")}}
		},
		"a new name for what is there": func(m *Manifest) { m.Repository.Refs["refs/tags/v1"] = oid("2") },
		"gone before the last bundle":  func(m *Manifest) { delete(m.Repository.Refs, "refs/heads/dev") },
	} {
		m, dir := twoBundles(t)
		change(m)
		testkit.OK(t, m.agree(dir), name)
	}
}

// A directory of bundles tells of each that it has, and of those that cannot be used.
func TestBundlesWithoutAManifestAreTold(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"7", "9-wiki", "lost+found"} {
		testkit.OK(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "9-wiki", manifestName), manifestOf(t, goodPart, nil), 0o600))
	list := testkit.Must(chooseBundles(dir, nil))(t)
	testkit.Equal(t, len(list), 2)
	testkit.ErrorContains(t, list[0].Damage, "there is no manifest.json")
	testkit.ErrorContains(t, list[1].Damage, "the manifest is of the repository")
}

// Nothing is built on bundles that verify has found damaged, or that were written to since and are others now.
func TestDamagedBundlesAreNotBuiltOn(t *testing.T) {
	m, dir := twoBundles(t)
	for _, i := range m.Increments {
		is := testkit.Must(partOf(filepath.Join(dir, i.Bundle.File)))(t)
		*i.Bundle = *is
	}
	testkit.OK(t, m.write(dir))
	testkit.OK(t, m.intact(dir))
	file := filepath.Join(dir, m.Increments[0].Bundle.File)
	later := time.Now().Add(time.Hour)
	testkit.OK(t, os.Chtimes(file, later, later))
	testkit.OK(t, m.intact(dir))
	text := testkit.Must(os.ReadFile(file))(t)
	text[len(text)-1] ^= 1
	testkit.OK(t, os.WriteFile(file, text, 0o600))
	testkit.OK(t, os.Chtimes(file, later, later))
	damage := m.intact(dir)
	testkit.ErrorContains(t, damage, "its SHA-256 is not that of the manifest")
	testkit.OK(t, os.Chtimes(file, time.Unix(0, 0), time.Unix(0, 0)))
	testkit.OK(t, m.intact(dir), "only verify reads it all")
	testkit.OK(t, markBundles(dir, errors.New("no space left on device")))
	testkit.OK(t, m.intact(dir))
	testkit.OK(t, markBundles(dir, damage))
	testkit.ErrorContains(t, m.intact(dir), "verify has found it damaged")
}
