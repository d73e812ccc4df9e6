package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// handlerFunc is a Handler that is one function.
type handlerFunc func(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error)

func (f handlerFunc) Credential(ctx context.Context, operation credential.Operation,
	request *credential.Credential) (*credential.Credential, error) {
	return f(ctx, operation, request)
}

var sameSecrets = cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() })

var request = &credential.Credential{Protocol: "https", Host: "github.com", Path: "acme/site.git"}

// start serves h on a real socket until the test ends.
func start(t *testing.T, h Handler) *Listener {
	t.Helper()
	l := testkit.Must(Listen(t.TempDir()))(t)
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), l, h) }()
	t.Cleanup(func() {
		testkit.OK(t, errors.Join(l.Close(), <-served))
	})
	return l
}

func TestExchange(t *testing.T) {
	full := &credential.Credential{
		Capabilities: []string{"authtype"}, AuthType: "Basic", Encoded: secret.New("eDp5"), Ephemeral: true,
		Username: "u", Password: secret.New("p"), PasswordExpiry: time.Unix(4102444800, 0),
	}
	for _, tt := range []struct {
		name    string
		answer  *credential.Credential
		err     error
		want    *credential.Credential
		refused string
	}{
		{"a credential", full, nil, full, ""},
		{"not mine", nil, nil, &credential.Credential{}, ""},
		{"nothing to say", &credential.Credential{}, nil, &credential.Credential{}, ""},
		{"refused", nil, errors.New(`acme/site: GitHub answered "Not Found"`), nil, `acme/site: GitHub answered "Not Found"`},
		{"refused in several lines", nil, errors.New("one\ntwo\x1b[31m"), nil, `one two\x1b[31m`},
		{"refused although there is an answer", full, errors.New("no"), nil, "no"},
		{"an answer that cannot be written", &credential.Credential{Username: "a\nb"}, nil, nil,
			"credential: attribute username: newline, carriage return or NUL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, operation := range []credential.Operation{credential.Get, credential.Store, credential.Erase} {
				l := start(t, handlerFunc(func(_ context.Context, got credential.Operation,
					about *credential.Credential) (*credential.Credential, error) {
					testkit.Equal(t, got, operation, "operation")
					testkit.Diff(t, about, request, sameSecrets)
					return tt.answer, tt.err
				}))
				got, err := Ask(t.Context(), l.Path(), operation, request)
				var refused *agentproto.RefusedError
				switch {
				case tt.refused != "":
					if !errors.As(err, &refused) || refused.Reason != tt.refused {
						t.Errorf("Ask() = %v, %v, want the refusal %q", got, err, tt.refused)
					}
				case err != nil:
					t.Error(err)
				default:
					testkit.Diff(t, got, tt.want, sameSecrets)
				}
			}
		})
	}
}

func TestManyAskAtOnce(t *testing.T) {
	l := start(t, handlerFunc(func(_ context.Context, _ credential.Operation,
		about *credential.Credential) (*credential.Credential, error) {
		return &credential.Credential{Username: about.Path}, nil
	}))
	var asking sync.WaitGroup
	for i := range 4 * maxCredentials {
		asking.Go(func() {
			path := fmt.Sprint("acme/", i)
			got, err := Ask(t.Context(), l.Path(), credential.Get, &credential.Credential{Path: path})
			if err != nil || got.Username != path {
				t.Errorf("%s was answered %v, %v", path, got, err)
			}
		})
	}
	asking.Wait()
}

// TestServerAnswersRawBytes holds the server to the protocol as documented,
// without our client.
func TestServerAnswersRawBytes(t *testing.T) {
	l := start(t, handlerFunc(func(_ context.Context, _ credential.Operation,
		about *credential.Credential) (*credential.Credential, error) {
		if about.Path != "" {
			return nil, errors.New(about.Path + ": no\nnot at all")
		}
		return &credential.Credential{Username: "u"}, nil
	}))
	for _, tt := range []struct{ name, in, word, body string }{
		{"get", "ghapp-agent/1 get 31\nprotocol=https\nhost=github.com\n", "ok", "username=u\n"},
		{"unknown attributes", "ghapp-agent/1 get 7\nnew=xy\n", "ok", "username=u\n"},
		{"a refusal is one line", "ghapp-agent/1 get 9\npath=a/b\n", "refused", `a/b: no not at all`},
		{"unknown operation", "ghapp-agent/1 status 0\n", "refused", "unknown operation"},
		{"capability is git's, not ours", "ghapp-agent/1 capability 0\n", "refused", "unknown operation"},
		{"another version", "ghapp-agent/2 get 0\n", "refused", "not the protocol ghapp-agent/1"},
		{"no frame", "ghapp-agent/1 get\n", "refused", "malformed frame"},
		{"no description", "ghapp-agent/1 get 3\nabc", "refused", "credential: line 1: no equals sign"},
		{"carriage return", "ghapp-agent/1 get 8\nhost=a\r\n", "refused", "credential: line 1: carriage return or NUL"},
		{"too long", "ghapp-agent/1 get 9999999\n", "refused", "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := testkit.Must(net.Dial("unix", l.Path()))(t)
			defer conn.Close()
			testkit.Must(io.WriteString(conn, tt.in))(t)
			got := testkit.Must(io.ReadAll(conn))(t)
			if want := fmt.Sprintf("ghapp-agent/1 %s %d\n%s", tt.word, len(tt.body), tt.body); string(got) != want {
				t.Errorf("answered %q, want %q", got, want)
			}
		})
	}
}

// TestClientTakesNoGarbage feeds the client what no agent of ours says.
func TestClientTakesNoGarbage(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"nothing", "", "agent: hung up before it answered"},
		{"half a frame", "ghapp-agent/1 ok 20\nusername=", "agent: hung up before it answered"},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n", "agent: not the protocol ghapp-agent/1"},
		{"an unknown word", "ghapp-agent/1 maybe 0\n", "agent: malformed frame"},
		{"no length", "ghapp-agent/1 ok\n", "agent: malformed frame"},
		{"no description", "ghapp-agent/1 ok 10\nno-equals\n", "agent: credential: line 1: no equals sign"},
		{"a carriage return", "ghapp-agent/1 ok 10\npassword\r\n", "agent: credential: line 1: carriage return or NUL"},
		{"too much", "ghapp-agent/1 ok 1048577\n", "agent: more than 1048576 bytes"},
		{"a refusal that moves the cursor", "ghapp-agent/1 refused 6\nno\x1b[2J", `agent: no\x1b[2J`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				io.CopyN(io.Discard, theirs, int64(len("ghapp-agent/1 get 50\n")+50))
				io.WriteString(theirs, tt.answer)
			}()
			got, err := (&Client{ours}).Ask(t.Context(), credential.Get, request)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Ask() = %v, %v, want the error %q", got, err, tt.want)
			}
		})
	}
}

func TestClientSendsNothingItCannotWrite(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	_, err := (&Client{ours}).Ask(t.Context(), credential.Get, &credential.Credential{Host: "a\nb"})
	testkit.ErrorContains(t, err, "attribute host")
}

func TestClientWaitsAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		asked := time.Now()
		_, err := (&Client{ours}).Ask(ctx, credential.Get, request)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(asked) != time.Hour {
			t.Errorf("Ask() = %v after %v", err, time.Since(asked))
		}
		testkit.ErrorIs(t, testkit.ErrorOf(theirs.Write([]byte("x"))), io.ErrClosedPipe, "the connection is still open")
	})
}

// pipes is a listener whose connections live in memory, for tests in which time
// passes.
// A request may take longer than it takes to be sent: only sending is timed.
