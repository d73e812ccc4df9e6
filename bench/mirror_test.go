package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	gogithttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/secret"
)

// atOnce is how many repositories are mirrored at a time.
const atOnce = 4

// BenchmarkMirror is the first mirror of 200 small repositories, beside `git clone --mirror`
// for each under xargs and go-git's PlainClone in one process, four at a time each, from the
// real git http-backend over loopback.
//
// What is compared is the processor's time of the client, which is a process of its own, with
// all the processes that it starts. That of the server is in none of it. The time of the clock is
// compared too, in which it is.
func BenchmarkMirror(b *testing.B) {
	const repositories = 200
	m := newMirroring(b, repositories)
	m.race(b, 3, repositories, "ghapp", "git", "go-git")
}

// BenchmarkMirrorLarge is the first mirror of one repository of a gigabyte in a thousand files, three
// quarters of which no packing makes smaller. BENCH_LARGE_MB is another size.
//
// own-MB and git-MB are the most memory that ghapp has taken, and one of the processes of git that
// it has started.
func BenchmarkMirrorLarge(b *testing.B) {
	megabytes := 1000
	if text := os.Getenv("BENCH_LARGE_MB"); text != "" {
		var err error
		if megabytes, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	m := newMirroring(b, 0)
	if err := m.addLarge(megabytes); err != nil {
		b.Fatal(err)
	}
	m.race(b, 3, 1, "ghapp", "git")
}

// addLarge adds a repository of many megabytes, a file each. Git is told to compress what can be.
func (m *mirroring) addLarge(megabytes int) error {
	const name, size = "acme/large", 1_000_000
	r := m.AddRepository(name, githubtest.RepositoryOptions{})
	if _, err := r.Commit("main", "Begin", map[string]string{"README.md": name}); err != nil {
		return err
	}
	m.job.Repositories = append(m.job.Repositories, name)
	here := filepath.Join(m.repositories, fmt.Sprintf("%d.git", r.ID))
	// The server is not to look for deltas each time: it is not what is compared.
	set := exec.CommandContext(context.Background(), "git", "--git-dir", here, "config", "core.bigFileThreshold", "100k")
	if err := set.Run(); err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	for _, part := range []struct {
		branch, compression string
		files               int
		fill                func(file int, text []byte)
	}{
		{"noise", "0", megabytes * 3 / 4, func(_ int, text []byte) { _, _ = random.Read(text) }},
		{"text", "6", megabytes / 4, func(file int, text []byte) {
			for at := 0; at < len(text); {
				at += copy(text[at:], fmt.Sprintf("line %d of file %d: %08x\n", at, file, random.Uint64()))
			}
		}},
	} {
		read, write := io.Pipe()
		go func() {
			w := bufio.NewWriterSize(write, 1<<20)
			text := make([]byte, size)
			fmt.Fprintf(w, "commit refs/heads/%s\ncommitter A <a@example.com> 1700000000 +0000\ndata 0\n", part.branch)
			for i := range part.files {
				part.fill(i, text)
				fmt.Fprintf(w, "M 100644 inline %s/%03d\ndata %d\n", part.branch, i, size)
				_, _ = w.Write(text)
				_ = w.WriteByte('\n')
			}
			_ = write.CloseWithError(w.Flush())
		}()
		cmd := exec.CommandContext(context.Background(), "git", "--git-dir", here,
			"-c", "core.compression="+part.compression, "-c", "pack.compression="+part.compression, "fast-import", "--quiet")
		cmd.Env, cmd.Stdin, cmd.Stderr = m.env, read, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}

// TestMirrorersMakeTheSame holds what BenchmarkMirror compares against each other, and counts
// their requests.
func TestMirrorersMakeTheSame(t *testing.T) {
	const repositories = 3
	m := newMirroring(t, repositories)
	var want []string
	for _, name := range []string{"git", "ghapp", "go-git"} {
		m.ResetRequests()
		dir, _, err := m.mirror(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		requests := len(m.Requests())
		var got []string
		for _, r := range m.job.Repositories {
			at := filepath.Join(dir, r+".git")
			out, err := exec.CommandContext(t.Context(), "git", "--git-dir", at, "for-each-ref").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v %s", name, err, out)
			}
			fsck := exec.CommandContext(t.Context(), "git", "--git-dir", at, "fsck", "--strict")
			if out, err := fsck.CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", name, err, out)
			}
			got = append(got, string(out))
		}
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-git +got):\n%s", name, diff)
		}
		if name == "ghapp" && requests != 2*repositories {
			t.Errorf("%d requests for %d repositories", requests, repositories)
		}
	}
}

// mirroring mirrors repositories of acme in several ways.
type mirroring struct {
	*gitHub
	job          mirrorJob
	repositories string // where the stand-in has them
	base         string
	env          []string
}

// mirrorJob is what a mirrorer is told.
type mirrorJob struct {
	Origin, Token, Dir string
	Repositories       []string // acme/name
}

func newMirroring(tb testing.TB, repositories int) *mirroring {
	tb.Helper()
	here, home := tb.TempDir(), tb.TempDir()
	g := newGitHubIn(tb, here)
	m := &mirroring{gitHub: g, repositories: here, base: tb.TempDir(), job: mirrorJob{Origin: g.url}, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "TMPDIR=" + os.TempDir(),
	}}
	for i := range repositories {
		name := fmt.Sprintf("acme/small%03d", i)
		r := g.AddRepository(name, githubtest.RepositoryOptions{})
		oid, err := r.Commit("main", "files", map[string]string{
			"README.md": strings.Repeat(name+"\n", 100), "src/main.go": "package main // " + name + "\n",
		})
		if err == nil {
			_, err = r.AnnotateTag("v1.0.0", oid, "the first")
		}
		if err != nil {
			tb.Fatal(err)
		}
		m.job.Repositories = append(m.job.Repositories, name)
	}
	source := g.newApp(tb)().TokenSource(ghapp.TokenRequest{
		AllRepositories: true, Permissions: ghapp.Permissions{"contents": "read"},
		Installation: strconv.FormatInt(g.installation.ID, 10),
	})
	token, err := source.Token(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	m.job.Token = token.Secret.Reveal()
	return m
}

// race compares the processor's time of those that mirror, and the time of the clock, and reports
// how much memory the first takes.
func (m *mirroring) race(b *testing.B, rounds, ops int, names ...string) {
	b.Helper()
	contestants, walls := make([]contestant, len(names)), make([][]time.Duration, len(names))
	server := make([]time.Duration, len(names))
	var most memory
	for i, name := range names {
		contestants[i] = contestant{name, func() (time.Duration, error) {
			before := processorTime(b)
			dir, spent, err := m.mirror(name)
			server[i] += processorTime(b) - before - spent.processor
			walls[i] = append(walls[i], spent.clock)
			if i == 0 {
				most.Own, most.Children = max(most.Own, spent.Own), max(most.Children, spent.Children)
			}
			return spent.processor, errors.Join(err, os.RemoveAll(dir))
		}}
	}
	race(b, rounds, ops, contestants...)
	for unit, value := range compare(contestants, walls, ops) {
		b.ReportMetric(value, "clock-"+unit)
	}
	for i, name := range names {
		b.ReportMetric(float64(server[i])/float64(len(walls[i])*ops), name+"-server-ns/op")
	}
	b.ReportMetric(float64(most.Own)/1e6, "own-MB")
	b.ReportMetric(float64(most.Children)/1e6, "git-MB")
}

// spent is what it took to mirror.
type spent struct {
	processor, clock time.Duration
	memory
}

// memory is the most that a process has taken, and that the largest of its children has, in bytes;
// 0 where the system does not tell.
type memory struct{ Own, Children int64 }

// mirror mirrors all repositories into a new directory.
func (m *mirroring) mirror(name string) (dir string, took spent, err error) {
	dir, err = os.MkdirTemp(m.base, "mirror")
	if err != nil {
		return dir, took, err
	}
	var cmd *exec.Cmd
	if name == "git" {
		address := strings.Replace(m.url, "://", "://x-access-token:"+m.job.Token+"@", 1)
		cmd = exec.CommandContext(context.Background(), "xargs", "-P", fmt.Sprint(atOnce), "-I", "{}",
			"git", "clone", "--quiet", "--mirror", address+"/{}.git", dir+"/{}.git")
		cmd.Env = m.env
		cmd.Stdin = strings.NewReader(strings.Join(m.job.Repositories, "\n"))
	} else {
		job := m.job
		job.Dir = dir
		told, err := json.Marshal(job)
		if err != nil {
			return dir, took, err
		}
		self, err := os.Executable()
		if err != nil {
			return dir, took, err
		}
		cmd = exec.CommandContext(context.Background(), self)
		cmd.Env = append(m.env[:len(m.env):len(m.env)], mirrorerVariable+"="+name)
		cmd.Stdin = bytes.NewReader(told)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	apart(cmd)
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return dir, took, err
	}
	took.clock = time.Since(began)
	took.processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if name != "git" {
		err = json.Unmarshal(out.Bytes(), &took.memory)
	}
	return dir, took, err
}

// mirrorerVariable has this program be one of those that are compared.
const mirrorerVariable = "GHAPP_BENCH_MIRRORER"

// mirrorer is how one repository is mirrored into a directory that is not there.
type mirrorer func(ctx context.Context, job mirrorJob, repository, dir string) error

// mirrorers are those that are compared, by their names. Each begins with nothing kept.
func mirrorers() map[string]func() mirrorer {
	return map[string]func() mirrorer{"ghapp": ghappMirrorer, "go-git": func() mirrorer { return goGitMirror }}
}

// runMirrorer mirrors what standard input asks for, in a process of its own.
func runMirrorer(name string) int {
	begin, ok := mirrorers()[name]
	var job mirrorJob
	err := json.NewDecoder(os.Stdin).Decode(&job)
	if err == nil && !ok {
		err = errors.New("there is no mirrorer " + name)
	}
	if err == nil {
		mirror := begin()
		group, ctx := errgroup.WithContext(context.Background())
		group.SetLimit(atOnce)
		for _, r := range job.Repositories {
			group.Go(func() error { return mirror(ctx, job, r, filepath.Join(job.Dir, r+".git")) })
		}
		err = group.Wait()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(memoryTaken())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

func goGitMirror(ctx context.Context, job mirrorJob, repository, dir string) error {
	_, err := gogit.PlainCloneContext(ctx, dir, true, &gogit.CloneOptions{
		URL: job.Origin + "/" + repository + ".git", Mirror: true,
		Auth: &gogithttp.BasicAuth{Username: "x-access-token", Password: job.Token},
	})
	return err
}

// ghappMirrorer has each repository followed as `ghapp mirror` has it, on connections that are kept.
func ghappMirrorer() mirrorer {
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce}
	return func(ctx context.Context, job mirrorJob, repository, dir string) error {
		r, err := ghapp.ParseRepository(repository)
		if err != nil {
			return err
		}
		token := &ghapp.Token{Secret: secret.New(job.Token), MintedAt: time.Now().Add(-time.Minute),
			ExpiresAt: time.Now().Add(time.Hour), API: job.Origin + "/api/v3"}
		from := remote{name: r, service: &gitwire.Service{Origin: job.Origin, Transport: transport,
			Token: func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return token, nil }}}
		here := &barerepo.Repository{Dir: dir, Git: gitcmd.Runner{Environ: os.Environ()}}
		_, err = here.Update(ctx, from, barerepo.Options{})
		return err
	}
}

// remote is a repository of a service, which no git is to ask.
type remote struct {
	service *gitwire.Service
	name    ghapp.RepositoryName
}

func (r remote) Refs(ctx context.Context, prefixes ...string) (*gitwire.Refs, error) {
	return r.service.Refs(ctx, r.name, prefixes...)
}

func (r remote) Fetch(ctx context.Context, q gitwire.Request, w io.Writer) (int64, error) {
	return r.service.Fetch(ctx, r.name, q, w)
}

func (r remote) ByGit(context.Context, string, ...string) error { return errors.ErrUnsupported }
