//go:build unix

package deploy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// gcEvery is after how many releases the stores are packed anew.
const gcEvery = 50

// drop takes a release away, its record first: without that it is half made.
func (t *Target) drop(id string) error {
	err := os.Remove(filepath.Join(t.record(id), recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, remove(t.record(id)), remove(t.tree(id)))
}

// moveToTrash takes a release out of those that are kept. Its files are removed during the next
// fetch.
func (t *Target) moveToTrash(id string) error {
	if err := os.Remove(filepath.Join(t.record(id), recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Rename(t.tree(id), filepath.Join(t.base(), trashPrefix+id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return remove(t.record(id))
}

// emptyTrash removes the files of releases that are not kept any more.
func (t *Target) emptyTrash() {
	names, err := entries(t.base())
	for _, name := range names {
		if strings.HasPrefix(name, trashPrefix) {
			err = errors.Join(err, remove(filepath.Join(t.base(), name)))
		}
	}
	if err != nil {
		t.log().Warn("files of an old release stay", "directory", t.Dir, "error", err)
	}
}

// prune takes the releases away that are not kept. What goes wrong is no failure: the
// next one takes them away.
func (t *Target) prune(ctx context.Context, r, before *Release) {
	list, err := t.list()
	if err != nil {
		t.log().Warn("old releases stay", "directory", t.Dir, "error", err)
		return
	}
	kept := map[string]bool{r.ID: true}
	if before != nil {
		kept[before.ID] = true
	}
	for _, old := range slices.Backward(list) {
		if kept[old.ID] || len(kept) < t.keep() {
			kept[old.ID] = true
			continue
		}
		if err := t.moveToTrash(old.ID); err != nil {
			t.log().Warn("an old release stays", "directory", t.Dir, "release", old.ID, "error", err)
		}
	}
	if r.number()%gcEvery != 0 || ctx.Err() != nil {
		return
	}
	t.gc(ctx, kept)
}

// gc packs the stores, and takes those away that no release needs.
func (t *Target) gc(ctx context.Context, kept map[string]bool) {
	list, err := t.list()
	if err != nil {
		return
	}
	used := map[string]*store{}
	for _, r := range list {
		for _, p := range r.Parts {
			s := t.storeOf(p)
			used[s.dir] = s
		}
	}
	names, _ := entries(t.stores())
	for _, name := range names {
		if dir := filepath.Join(t.stores(), name); used[dir] == nil {
			_ = remove(dir)
		}
	}
	for _, s := range used {
		if err := s.gc(ctx, kept); err != nil {
			t.log().Warn("what was fetched is not packed", "directory", t.Dir, "error", err)
		}
	}
}
