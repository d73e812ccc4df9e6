//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// deepest is how deep submodules may lie in each other.
const deepest = 10

// submodules checks out those of a part, which stand in its index, and theirs. Each is
// fetched by its commit, so that no server can give another.
func (b *building) submodules(ctx context.Context, s *store, part Part, list []entry, depth int) error {
	var wanted []entry
	for _, e := range list {
		if e.mode == modeSubmodule && !e.absent {
			wanted = append(wanted, e)
		}
	}
	if len(wanted) == 0 || !b.Submodules {
		return nil
	}
	if depth == deepest {
		return &Error{
			Problem: ErrSubmodule, Op: "check out " + part.Path,
			Err: fmt.Errorf("submodules lie in each other more than %d deep", deepest),
		}
	}
	urls, err := s.urls(ctx, part.Commit)
	if err != nil {
		return err
	}
	for _, e := range wanted {
		path := filepath.Join(part.Path, e.path)
		address, named := urls[e.path]
		switch {
		case !named:
			return &Error{Problem: ErrSubmodule, Op: "check out " + path, Err: errors.New(".gitmodules has no URL for it")}
		case address == "":
			continue // update = none
		}
		if address, err = resolve(part.URL, address); err != nil {
			return &Error{Problem: ErrSubmodule, Op: "check out " + path, Err: err}
		}
		address = b.https(address)
		b.log().Debug("checking out a submodule", "path", path, "url", address, "commit", e.object)
		if err := b.part(ctx, Part{Path: path, URL: address, Commit: e.object}, depth+1); err != nil {
			if failed, ok := errors.AsType[*gitcmd.Error](err); ok && failed.Submodule == "" {
				failed.Submodule = address
			}
			return err
		}
	}
	return nil
}

// urls are the addresses that .gitmodules of a commit names, by path; "" where it says
// that the submodule is not to be checked out.
func (s *store) urls(ctx context.Context, commit string) (map[string]string, error) {
	git, err := s.reaching()
	if err != nil {
		return nil, err
	}
	out, err := git.Output(ctx, s.scope(), "config", "--null", "--blob", commit+":.gitmodules",
		"--get-regexp", `^submodule\..*\.(path|url|update)$`)
	e, failed := errors.AsType[*gitcmd.Error](err)
	if failed && (e.ExitCode == 1 || strings.Contains(e.Stderr, "unable to resolve config blob")) {
		return nil, nil // there is none
	}
	if err != nil {
		return nil, err
	}
	type module struct{ path, url, update string }
	modules := map[string]*module{}
	for item := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		key, value, _ := strings.Cut(item, "\n")
		key = strings.TrimPrefix(key, "submodule.")
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			continue
		}
		m := modules[key[:dot]]
		if m == nil {
			m = &module{}
			modules[key[:dot]] = m
		}
		switch key[dot+1:] {
		case "path":
			m.path = strings.TrimSuffix(value, "/")
		case "url":
			m.url = value
		case "update":
			m.update = value
		}
	}
	urls := map[string]string{}
	for _, m := range modules {
		switch {
		case m.path == "":
		case m.update == "none":
			urls[m.path] = ""
		case m.url != "":
			urls[m.path] = m.url
		}
	}
	return urls, nil
}

// resolve is the address of a submodule, which may be relative to that of the repository
// it is in (https://git-scm.com/docs/gitmodules).
func resolve(parent, address string) (string, error) {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if strings.HasPrefix(address, "-") || strings.ContainsFunc(address, control) {
		return "", fmt.Errorf("%q is no address", address)
	}
	if !strings.HasPrefix(address, "./") && !strings.HasPrefix(address, "../") {
		return address, nil
	}
	base, err := url.Parse(parent)
	if err != nil || base.Host == "" {
		return "", fmt.Errorf("%q is relative to an address that is none of https", address)
	}
	// To git, the repository itself is a directory.
	base.Path = strings.TrimSuffix(base.Path, "/")
	for {
		if rest, ok := strings.CutPrefix(address, "./"); ok {
			address = rest
			continue
		}
		rest, ok := strings.CutPrefix(address, "../")
		if !ok {
			break
		}
		slash := strings.LastIndexByte(base.Path, '/')
		if slash < 0 {
			return "", fmt.Errorf("%q leads out of the host", address)
		}
		address, base.Path = rest, base.Path[:slash]
	}
	base.Path, base.RawPath = base.Path+"/"+address, ""
	return base.String(), nil
}

// https is the https form of an address on the target's host, whose ssh and http forms
// lead to the same repositories. A user in it is nobody that this logs in as.
func (t *Target) https(address string) string {
	schemes := []string{"https", "http", "git"}
	if u, err := url.Parse(address); err == nil && u.User != nil && slices.Contains(schemes, u.Scheme) {
		bare := *u
		bare.User = nil
		if on := t.https(bare.String()); strings.HasPrefix(on, t.Scope.Origin+"/") {
			return on
		}
	}
	for _, form := range append(t.Scope.OtherForms(), t.Scope.Origin+"/") {
		if len(address) > len(form) && strings.EqualFold(address[:len(form)], form) {
			return t.Scope.Origin + "/" + strings.TrimPrefix(address[len(form):], "/")
		}
	}
	return address
}

// directory makes sure that a submodule's directory is one, and in the release: a link
// in the way would have it checked out somewhere else.
func directory(root, path string) (string, error) {
	dir := root
	for part := range strings.SplitSeq(path, string(filepath.Separator)) {
		dir = filepath.Join(dir, part)
		info, err := os.Lstat(dir)
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%s is no directory", path)
		}
	}
	return dir, nil
}
