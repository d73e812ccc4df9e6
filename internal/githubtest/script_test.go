package githubtest_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// scriptWorld is what the commands work on; probe reads what they changed.
type scriptWorld struct {
	t    *testing.T
	gh   *githubtest.GitHub
	app  *githubtest.App
	inst *githubtest.Installation
	dir  string
}

func newScriptWorld(t *testing.T) *scriptWorld {
	w := &scriptWorld{t: t, gh: newGitHub(t), dir: t.TempDir()}
	w.app = newApp(t, w.gh, githubtest.AppOptions{Name: "Deployer"})
	w.gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	w.gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	w.inst = w.app.Install("acme", githubtest.InstallOptions{All: true})
	return w
}

func (w *scriptWorld) get(path string) reply {
	authorization := ""
	if strings.HasPrefix(path, "/app") || strings.HasSuffix(path, "/installation") {
		authorization = bearer(w.t, w.app)
	} else if r := w.mint(""); r.status == 201 {
		authorization = "Bearer " + r.field("token").(string)
	}
	return ask(w.t, w.gh, "GET", path, authorization, "")
}

func (w *scriptWorld) mint(body string) reply {
	return ask(w.t, w.gh, "POST", mintPath(w.inst), bearer(w.t, w.app), body)
}

func status(path string, want int) func(*scriptWorld) error {
	return func(w *scriptWorld) error {
		if r := w.get(path); r.status != want {
			return fmt.Errorf("%s answers %d %s, want %d", path, r.status, r.text, want)
		}
		return nil
	}
}

func minted(want int) func(*scriptWorld) error {
	return func(w *scriptWorld) error {
		if r := w.mint(""); r.status != want {
			return fmt.Errorf("a mint answers %d %s, want %d", r.status, r.text, want)
		}
		return nil
	}
}

// that turns a question into a check.
func that(what string, holds func(w *scriptWorld) bool) func(*scriptWorld) error {
	return func(w *scriptWorld) error {
		if !holds(w) {
			return fmt.Errorf("not so: %s", what)
		}
		return nil
	}
}

func TestScript(t *testing.T) {
	const key = "key.pem"
	for _, test := range []struct {
		lines string // DIR stands for a directory
		check func(*scriptWorld) error
	}{
		{"fault GET /meta status=503", status("/meta", 503)},
		{"fault /meta status=503", status("/meta", 503)},
		{"fault GET /meta status=503 times=1\nclear", status("/meta", 200)},
		{"fault GET /meta status=503 skip=1", status("/meta", 200)},
		{`fault GET /meta status=200 body="{\"a\":\"b c\"}"`,
			that("the body", func(w *scriptWorld) bool { return w.get("/meta").text == `{"a":"b c"}` })},
		{`fault GET /meta status=200 body='{"a":1}' header=X-A:b "header=X-C: d"`,
			that("the headers", func(w *scriptWorld) bool {
				r := w.get("/meta")
				return r.header.Get("X-A") == "b" && r.header.Get("X-C") == "d"
			})},
		{"fault GET /meta redirect=http://evil.test", that("the Location",
			func(w *scriptWorld) bool { return w.get("/meta").header.Get("Location") == "http://evil.test/meta" })},
		{"fault GET /meta delay=1ms status=500", status("/meta", 500)},
		{"fault GET /meta html502", status("/meta", 502)},
		{"fault GET /meta secondary=30s",
			that("Retry-After", func(w *scriptWorld) bool { return w.get("/meta").header.Get("Retry-After") == "30" })},
		{"fault GET /meta secondary", status("/meta", 403)},
		{"fault GET /meta reset", that("the connection is cut", func(w *scriptWorld) bool { return w.fails("/meta") })},
		{"fault GET /meta cut=3", that("the body is cut", func(w *scriptWorld) bool { return w.fails("/meta") })},
		{"fault " + githubtest.MintPattern + " no-token",
			that("no token", func(w *scriptWorld) bool { return w.mint("").field("token") == nil })},
		{"fault " + githubtest.MintPattern + " overgrant=issues:write overgrant=all",
			that("more is granted", func(w *scriptWorld) bool {
				r := w.mint(`{"repositories":["site"]}`)
				return r.field("repository_selection") == "all" && r.field("permissions").(map[string]any)["issues"] == "write"
			})},
		{"clock +300s", that("the Date", func(w *scriptWorld) bool {
			date, err := http.ParseTime(w.get("/app").header.Get("Date"))
			return err == nil && time.Until(date) > 4*time.Minute
		})},
		{"clock -5m", status("/app", 401)},
		{"clock -5m\nclock 0", status("/app", 200)},
		{"life 5s", that("the life", func(w *scriptWorld) bool {
			w.mint("")
			first := w.gh.Tokens()[0]
			return first.Expires.Sub(first.Created) <= 5*time.Second
		})},
		{"lag 1h", status("/repos/acme/site", 401)},
		{"lag 1h 403", status("/repos/acme/site", 403)},
		{"format stateless",
			that("the format", func(w *scriptWorld) bool { return strings.Contains(w.mint("").field("token").(string), ".") })},
		{"format stateless\nformat classic",
			that("the format", func(w *scriptWorld) bool { return len(w.mint("").field("token").(string)) == 40 })},
		{"versions 2030-01-01", that("the version", func(w *scriptWorld) bool {
			return w.get("/meta").header.Get("X-GitHub-Api-Version-Selected") == "2030-01-01"
		})},
		{"limit 0", status("/repos/acme/site", 403)},
		{"limit off", status("/rate_limit", 404)},
		{"allowlist acme on", minted(403)},
		{"allowlist acme on\nallowlist acme off", minted(201)},
		{"create octo/lib\ninstall deployer octo lib", status("/repos/octo/lib/installation", 200)},
		{"create octo/lib\ninstall deployer octo", status("/repos/octo/lib/installation", 404)},
		{"create octo/lib\ninstall deployer octo all", status("/repos/octo/lib/installation", 200)},
		{"create octo/lib public", that("it is public",
			func(w *scriptWorld) bool { return ask(w.t, w.gh, "GET", "/repos/octo/lib", "", "").status == 200 })},
		{"uninstall acme", minted(404)},
		{"suspend acme", minted(403)},
		{"suspend ACME\nunsuspend acme", minted(201)},
		{"select acme acme/hidden", status("/repos/acme/site", 404)},
		{"select acme", status("/repos/acme/site", 404)},
		{"select acme\nselect acme all", status("/repos/acme/site", 200)},
		{"permit acme members=read", status("/repos/acme/site", 403)},
		{"webhook deployer http://127.0.0.1:1 s3cret https://github.example\ncommit acme/site main a=b\nredeliver deployer",
			that("two deliveries of a push", func(w *scriptWorld) bool {
				told := w.app.Deliveries()
				return len(told) == 2 && told[0].GUID == told[1].GUID && told[0].Header.Get("X-Hub-Signature-256") != "" &&
					strings.Contains(string(told[0].Payload), `"clone_url":"https://github.example/acme/site.git"`)
			})},
		{"forget", that("no requests", func(w *scriptWorld) bool { return len(w.gh.Requests()) == 0 })},
		{"remove-keys deployer", status("/app", 401)},
		{"rotate-key deployer DIR/" + key, func(w *scriptWorld) error {
			text, err := os.ReadFile(filepath.Join(w.dir, key))
			if err != nil {
				return err
			}
			block, _ := pem.Decode(text)
			private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return err
			}
			if r := ask(w.t, w.gh, "GET", "/app", "Bearer "+sign(w.t, private, "RS256", claims(w.app)), ""); r.status != 200 {
				return fmt.Errorf("the new key is refused: %s", r.text)
			}
			return status("/app", 401)(w)
		}},
		{"commit acme/site main 'a file=some text'\ncommit acme/site main b=c",
			that("there is a commit", func(w *scriptWorld) bool {
				at, err := w.gh.Repository("acme/site").Head("main")
				return err == nil && at != ""
			})},
		{"rename acme/site web", status("/repos/acme/web", 200)},
		{"transfer acme/site octo", status("/repos/acme/site", 404)},
		{"delete acme/site", status("/repos/acme/site", 404)},
		{"", status("/meta", 200)},
		{"  # clock +5m", status("/app", 200)},
	} {
		t.Run(strings.ReplaceAll(test.lines, "\n", "; "), func(t *testing.T) {
			w := newScriptWorld(t)
			for line := range strings.SplitSeq(strings.ReplaceAll(test.lines, "DIR", w.dir), "\n") {
				must(t, w.gh.Script(line))
			}
			testkit.OK(t, test.check(w))
		})
	}
}

func (w *scriptWorld) fails(path string) bool {
	req := testkit.Must(http.NewRequest("GET", "https://github.test"+path, nil))(w.t)
	res, err := w.gh.RoundTripper().RoundTrip(req)
	if err != nil {
		return true
	}
	defer res.Body.Close()
	_, err = res.Body.Read(make([]byte, 1000))
	for err == nil {
		_, err = res.Body.Read(make([]byte, 1000))
	}
	return err.Error() != "EOF"
}

func TestScriptRevoke(t *testing.T) {
	w := newScriptWorld(t)
	secret := "Bearer " + w.mint("").field("token").(string)
	must(t, w.gh.Script("revoke"))
	testkit.Equal(t, ask(t, w.gh, "GET", "/repos/acme/site", secret, "").status, 401, "after revoke")
}

func TestScriptCommitOrphan(t *testing.T) {
	w := newScriptWorld(t)
	repo := w.gh.Repository("acme/site")
	must(t, w.gh.Script("commit acme/site main a=1"), w.gh.Script("commit acme/site main orphan a=1"))
	head, err := repo.Head("main")
	must(t, err)
	// The second commit of another repository, made as a first one, differs by its date alone.
	other := w.gh.AddRepository("acme/other", githubtest.RepositoryOptions{})
	must(t, w.gh.Script("commit acme/other x"), w.gh.Script("commit acme/other main orphan a=1"))
	testkit.Equal(t, testkit.Must(other.Head("main"))(t), head, "an orphan")
}

func TestScriptErrors(t *testing.T) {
	w := newScriptWorld(t)
	for _, line := range []string{
		"explode", "clock", "clock tomorrow", "clock 1s 2s", "lag 1s 404", "lag 1s x", "life x", "format jwt",
		"versions", "limit many", "limit -2",
		"allowlist acme perhaps", "allowlist nobody on", "install nobody acme",
		"install deployer acme nowhere", "suspend nobody",
		"select acme nowhere", "select nobody all", "permit acme contents", "permit acme contents=all", "permit nobody",
		"rotate-key nobody", "remove-keys nobody",
		"create site", "create a/b/c", "create a/b private", "commit acme/nowhere main",
		"commit acme/site main x", "commit acme/site main =x",
		"rename acme/nowhere x", "rename acme/site", "transfer acme/nowhere octo", "delete acme/nowhere",
		"fault", "fault GET", "fault GET /meta", "fault GET /meta explode", "fault GET /meta status=x",
		"fault GET /meta status=-1", "fault GET meta status=500",
		"fault GET /meta delay=soon", "fault GET /meta header=x", "fault GET /meta reset=1",
		"fault GET /meta overgrant=contents", "fault GET /meta secondary=x",
		`fault GET /meta body="open`, "fault GET /meta body='open", `fault GET /meta body="\q"`,
	} {
		if err := w.gh.Script(line); err == nil {
			t.Errorf("%q was accepted", line)
		} else if !strings.Contains(err.Error(), "script line") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestScriptDocNamesEveryWord(t *testing.T) {
	f := testkit.Must(parser.ParseFile(token.NewFileSet(), "script.go", nil, parser.ParseComments))(t)
	var doc string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "Script" {
			doc = fn.Doc.Text()
		}
	}
	var commands, faults []string
	for line := range strings.Lines(doc) {
		switch {
		case strings.HasPrefix(line, "\t    "):
			for word := range strings.FieldsSeq(line) {
				name, _, _ := strings.Cut(strings.TrimSuffix(word, "[=DURATION]"), "=")
				faults = append(faults, name)
			}
		case strings.HasPrefix(line, "\t"):
			commands = append(commands, strings.Fields(line)[0])
		}
	}
	slices.Sort(commands)
	slices.Sort(faults)
	testkit.Diff(t, commands, githubtest.ScriptCommands())
	testkit.Diff(t, slices.Compact(faults), githubtest.ScriptFaults())
}

func FuzzScript(f *testing.F) {
	for _, line := range []string{"clock +5m", `fault GET /meta status=503 body="a b"`, "# x", "select acme 'site'",
		"fault * /** reset times=2"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "commit") || strings.Contains(line, "rotate-key") {
			return // these start processes or make files
		}
		gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
		defer gh.Close()
		gh.AddApp(githubtest.AppOptions{}).Install("acme", githubtest.InstallOptions{All: true})
		gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
		gh.Script(line)
		gh.ClearFaults()
		if r := ask(t, gh, "GET", "/meta", "", ""); r.status >= 500 {
			t.Errorf("after %q: %d", line, r.status)
		}
	})
}
