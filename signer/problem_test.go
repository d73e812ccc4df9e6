package signer

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// problems returns every Problem that problem.go declares.
func problems(t testing.TB) []Problem {
	t.Helper()
	file := testkit.Must(parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0))(t)
	var found []Problem
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Problem" {
			text := constant.MakeFromLiteral(spec.Values[0].(*ast.BasicLit).Value, token.STRING, 0)
			found = append(found, Problem(constant.StringVal(text)))
		}
		return true
	})
	if len(found) == 0 {
		t.Fatal("there are no problems")
	}
	return found
}

func TestEveryProblemHasAHintAndACode(t *testing.T) {
	short := regexp.MustCompile(`^[a-z]+(-[a-z]+){0,4}$`)
	seen := map[Problem]bool{}
	for _, p := range problems(t) {
		if seen[p] {
			t.Errorf("two problems are called %q", p)
		}
		seen[p] = true
		if code := p.Code(); !short.MatchString(code) || len(code) > 32 {
			t.Errorf("%q has the code %q: give it a short one", p, code)
		}
		for _, path := range []string{"", "/etc/app.pem"} {
			e := &KeyError{Problem: p, path: path}
			if hint := e.Hint(); hint == "" || strings.ContainsAny(hint, "\r\n") {
				t.Errorf("hint of %q is %q", p, hint)
			}
		}
	}
	testkit.Equal(t, len(meanings()), len(seen), "problems that have a meaning")
}

func TestHintNamesTheFile(t *testing.T) {
	for path, want := range map[string]string{
		"":                 "openssl pkey -in KEY -out KEY.new   # asks for the passphrase",
		"/etc/app.pem":     "openssl pkey -in /etc/app.pem -out /etc/app.pem.new   # asks for the passphrase",
		"/my keys/a'b.pem": `openssl pkey -in '/my keys/a'\''b.pem' -out '/my keys/a'\''b.pem.new'   # asks for the passphrase`,
	} {
		testkit.Equal(t, (&KeyError{Problem: ErrEncrypted, path: path}).Hint(), want, "hint for %q", path)
	}
}

func TestKeyErrorIs(t *testing.T) {
	var err error = &KeyError{Problem: ErrMissing, Source: "file app.pem", Err: fs.ErrNotExist}
	if !errors.Is(err, ErrMissing) || errors.Is(err, errEmpty) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("errors.Is does not follow %v", err)
	}
	if want := "cannot use the private key in file app.pem: missing: " + fs.ErrNotExist.Error(); err.Error() != want {
		t.Errorf("error %s, want %s", strconv.Quote(err.Error()), strconv.Quote(want))
	}
	if slices.Contains(problems(t), Problem("")) {
		t.Error("a problem has no words")
	}
}
