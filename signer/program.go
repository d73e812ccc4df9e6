package signer

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// KMSProgram is the program that reaches key services and devices, by the exec
// protocol. It is looked for beside this program, and then on PATH.
const KMSProgram = "ghapp-signer-kms"

func (o Options) openProgram(ctx context.Context, uri string) (Signer, error) {
	p, err := o.program(uri)
	if err != nil {
		return nil, err
	}
	return o.openRemote(ctx, uri, p)
}

// findBeside finds a program beside this one, or else on PATH.
func findBeside(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(self); err == nil {
			self = resolved
		}
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

// cause leaves out the name of the program, which the key URI has.
func cause(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return err
}

// program is a [device] behind the exec protocol.
type program struct {
	Options
	path    string
	key     secret.Text // the key URI
	secrets *scrub.Scrubber
}

// program finds the program that a key URI asks for.
func (o Options) program(uri string) (*program, error) {
	_, secrets := keyuri.SplitSecrets(uri)
	p := &program{o, "", secret.New(uri), scrub.New(secrets...)}
	if keyuri.Scheme(uri) != "exec" {
		path, err := findBeside(KMSProgram)
		if err != nil {
			return nil, &KeyError{
				Problem: errNoProgram, Source: keyuri.Shown(uri),
				Err:  fmt.Errorf("%s is neither beside this program nor on PATH", KMSProgram),
				hint: "make install-kms, in the source of ghapp, builds and installs it; docs/key-services.md says what it does",
			}
		}
		p.path = path
		return p, nil
	}
	name, _, err := keyuri.Parts(uri)
	if err != nil {
		return nil, badURI(uri, err)
	}
	if p.path, err = exec.LookPath(name); err != nil {
		return nil, &KeyError{Problem: errNoProgram, Source: keyuri.Shown(uri), Err: cause(err)}
	}
	return p, nil
}

func (p *program) public(ctx context.Context) (*rsa.PublicKey, error) {
	der, err := p.call(ctx, question{Request: execsigner.Request{Operation: execsigner.OperationPublicKey}})
	if err != nil {
		return nil, err
	}
	return publicKey(der)
}

func (p *program) sign(ctx context.Context, _ *rsa.PublicKey, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return p.call(ctx, question{Request: execsigner.Request{Operation: execsigner.OperationSign, Algorithm: "RS256",
		Message: message, Digest: digest[:]}})
}

// put has the program take a key in. What it says of that is shown without the key.
func (p *program) put(ctx context.Context, key *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	_, secrets := keyuri.SplitSecrets(p.key.Reveal())
	p.secrets = scrub.New(append(secrets, secret.New(base64.StdEncoding.EncodeToString(der)))...)
	answer, err := p.call(ctx, question{execsigner.Request{Operation: execsigner.OperationImport}, der})
	if err != nil {
		return err
	}
	if public, err := publicKey(answer); err != nil {
		return err
	} else if !key.PublicKey.Equal(public) {
		return &KeyError{Problem: errProtocol,
			Err: errors.New("the program tells of another key than the one that it was given")}
	}
	return nil
}

// call runs the program for one request.
func (p *program) call(ctx context.Context, q question) ([]byte, error) {
	q.Version, q.Key, q.Seconds = execsigner.ProtocolVersion, p.key.Reveal(), max(int(p.timeout()/time.Second), 1)
	line, err := q.line()
	if err != nil {
		return nil, err
	}
	answer, err := p.run(ctx, line, p.path)
	clear(line)
	value, problem := parseResponse(answer.output, q.Operation)
	garbled := errors.Is(problem, errProtocol)
	switch e, _ := errors.AsType[*KeyError](problem); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && garbled:
		return nil, p.stopped(err, answer)
	case e != nil && e.Err != nil && !garbled:
		e.Err = errors.New(p.printable(e.Err.Error()))
	}
	return value, problem
}

// stopped is the error of a program that ended without an answer.
func (p *program) stopped(err error, a answer) error {
	if e, exited := errors.AsType[*exec.ExitError](err); exited {
		if a.last != "" {
			return &KeyError{Problem: errFailed,
				Err: fmt.Errorf("the program ended with %s and no answer: %s", e.ProcessState, a.last)}
		}
		return &KeyError{Problem: errProtocol, Err: fmt.Errorf("the program ended with %s and no answer", e.ProcessState)}
	}
	if errors.Is(err, errTooMuch) {
		return &KeyError{Problem: errProtocol, Err: err}
	}
	return &KeyError{Problem: errNoProgram, Err: cause(err)}
}

const (
	mostLine  = 300             // bytes that are shown of a line of a program's
	mostLines = 100             // of them
	afterlife = 2 * time.Second // how long what a program leaves behind may hold its output open
)

var errTooMuch = errors.New("the program said more than 64 KiB") // maxResponse

// answer is what a program wrote.
type answer struct {
	output []byte // at most maxResponse and one byte
	last   string // the last line of standard error, made printable
}

// run runs a program to its end, or to that of ctx. It gets no terminal: what it wants
// to know it must find elsewhere, and not wait for somebody to type it.
func (p *program) run(ctx context.Context, input []byte, path string, args ...string) (answer, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = p.environ()
	cmd.Stdin = bytes.NewReader(input)
	output := &bounded{full: func() { stop(errTooMuch) }}
	notices := &lines{clean: p.printable, tell: p.Notice}
	cmd.Stdout, cmd.Stderr = output, notices
	cmd.WaitDelay = afterlife
	err := supervise(cmd)
	notices.flush()
	if errors.Is(context.Cause(ctx), errTooMuch) {
		err = errTooMuch
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended, and what it started is its own affair
	}
	return answer{output.text, notices.last}, err
}

// environ is the environment of a program. What ghapp's other secrets are is none of its
// business.
func (o Options) environ() []string {
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	return childenv.For(environ, childenv.Own{})
}

// printable makes a line of a program's fit to be shown.
func (p *program) printable(s string) string {
	return text.Shorten(text.OneLine(p.secrets.String(s)), mostLine)
}

// bounded holds what a program writes, up to one byte more than is taken.
type bounded struct {
	text []byte
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxResponse + 1 - len(b.text); len(p) >= room {
		b.text = append(b.text, p[:room]...)
		b.full()
		return 0, io.ErrShortWrite
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// lines tells of each line that is written, and keeps the last one.
type lines struct {
	clean func(string) string
	tell  func(string) // may be nil
	rest  []byte
	told  int
	last  string
}

// A line may be longer than what is shown of it, so that a secret at that place is
// still seen whole.
const longestLine = 8 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexAny(l.rest, "\r\n")
		if end < 0 && len(l.rest) < longestLine {
			return len(p), nil
		}
		if end < 0 {
			end = len(l.rest) - 1
		}
		l.line(string(l.rest[:end+1]))
		l.rest = l.rest[end+1:]
	}
}

func (l *lines) flush() { l.line(string(l.rest)) }

func (l *lines) line(text string) {
	if l.told++; l.told > mostLines {
		return
	}
	if text = l.clean(text); text == "" {
		return
	}
	l.last = text
	if l.tell != nil {
		l.tell(text)
	}
}
