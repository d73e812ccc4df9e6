package credential_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestParse(t *testing.T) {
	secret := secret.New
	for _, tt := range []struct {
		name, in string
		want     credential.Credential
	}{
		{"nothing", "", credential.Credential{}},
		{"every attribute", "capability[]=authtype\ncapability[]=state\nauthtype=Basic\ncredential=Y3JlZA==\nephemeral=1\n" +
			"protocol=https\nhost=github.com\npath=acme/site.git\nusername=u\npassword=p\noauth_refresh_token=r\n" +
			"password_expiry_utc=4102444800\nwwwauth[]=Basic realm=\"GitHub\"\nwwwauth[]=Bearer\n" +
			"continue=1\nstate[]=ghapp:1\nquit=1\n",
			credential.Credential{
				Capabilities: []string{"authtype", "state"}, AuthType: "Basic", Encoded: secret("Y3JlZA=="), Ephemeral: true,
				Protocol: "https", Host: "github.com", Path: "acme/site.git", Username: "u", Password: secret("p"),
				OAuthRefreshToken: secret("r"),
				PasswordExpiry:    time.Unix(4102444800, 0), WWWAuth: []string{`Basic realm="GitHub"`, "Bearer"},
				Continue: true, State: []string{"ghapp:1"}, Quit: true,
			}},
		{"an empty line ends it", "host=a\n\nhost=b\n", credential.Credential{Host: "a"}},
		{"no newline at the end", "host=a\npath=b", credential.Credential{Host: "a", Path: "b"}},
		{"the last value counts", "host=a\nhost=b\n", credential.Credential{Host: "b"}},
		{"an empty value takes the former away", "host=a\nhost=\n", credential.Credential{}},
		{"an empty item empties the list", "wwwauth[]=a\nwwwauth[]=\nwwwauth[]=b\n",
			credential.Credential{WWWAuth: []string{"b"}}},
		{"unknown attributes, lists and capabilities",
			"ntlm=suppressed\nnew[]=1\nnew[]=\n=\ncapability[]=new\nHost=evil.example\nhost=a\n",
			credential.Credential{Capabilities: []string{"new"}, Host: "a"}},
		{"a value may have an equals sign", "path=a=b==\n", credential.Credential{Path: "a=b=="}},
		{"bytes are taken as they are", "path= \xff\x1b\t \n", credential.Credential{Path: " \xff\x1b\t "}},
		{"booleans in git's spellings", "quit=Yes\ncontinue=ON\nephemeral=-1\n",
			credential.Credential{Quit: true, Continue: true, Ephemeral: true}},
		{"false booleans", "quit=1\nquit=no\ncontinue=1\ncontinue=\nephemeral=1\nephemeral=0\n", credential.Credential{}},
		{"expiry zero is never", "password_expiry_utc=0\n", credential.Credential{}},
		{"expiry out of range is never", "password_expiry_utc=99999999999999999999\n", credential.Credential{}},
		{"expiry no calendar can write is never", "password_expiry_utc=253402300800\n", credential.Credential{}},
		{"url", "url=https://u:p@github.com:8443/acme/site.git\n",
			credential.Credential{Protocol: "https", Host: "github.com:8443", Path: "acme/site.git",
				Username: "u", Password: secret("p")}},
		{"url makes git forget what it read before",
			"capability[]=authtype\nusername=u\npath=x\nurl=https://github.com\nusername=v\n",
			credential.Credential{Protocol: "https", Host: "github.com", Username: "v"}},
		{"longest line", "x=" + strings.Repeat("a", credential.MaxLine-3) + "\nhost=a\n", credential.Credential{Host: "a"}},
		{"longest line at the end of the input", "path=" + strings.Repeat("a", credential.MaxLine-6),
			credential.Credential{Path: strings.Repeat("a", credential.MaxLine-6)}},
		{"longest description", strings.Repeat("x="+strings.Repeat("a", 1021)+"\n", 1023) + "x=" + strings.Repeat("a", 1014) +
			"\nhost=a", credential.Credential{Host: "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for mode, r := range map[string]io.Reader{
				"whole":        strings.NewReader(tt.in),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			} {
				got, err := credential.Parse(r)
				testkit.OK(t, err, "%s", mode)
				if diff := cmp.Diff(&tt.want, got, sameSecrets); diff != "" {
					t.Errorf("%s (-want +got):\n%s", mode, diff)
				}
			}
		})
	}
}

// CVE-2020-5260 and CVE-2024-52006: a byte that one reader takes for a line end
// and another does not makes a URL say to git what it does not say to us.
func TestParseRefuses(t *testing.T) {
	const canary = "canary"
	for _, tt := range []struct{ name, in, want string }{
		{"carriage return at the end of a line", "host=" + canary + "\r\n", "carriage return"},
		{"carriage return within a value", "host=" + canary + "\rhost=github.com\n", "carriage return"},
		{"carriage return in a key", "host\r=" + canary + "\n", "carriage return"},
		{"carriage return in an unknown attribute", "new=" + canary + "\r\n", "carriage return"},
		{"carriage return on an empty line", "\r\n", "carriage return"},
		{"NUL within a value", "host=github.com\x00" + canary + "\n", "NUL"},
		{"newline in a URL's host", "url=https://evil.example%0ahost=github.com/" + canary + "\n", "newline"},
		{"newline in a URL's path", "url=https://evil.example/%0Ahost=github.com\n", "newline"},
		{"newline in a URL's password", "url=https://u:" + canary + "%0a@github.com\n", "newline"},
		{"carriage return in a URL's host", "url=https://evil.example%0dhost=github.com/\n", "carriage return"},
		{"URL without a scheme", "url=github.com/" + canary + "\n", "no scheme"},
		{"URL with an empty scheme", "url=://github.com/" + canary + "\n", "no scheme"},
		{"no equals sign", canary + "\n", "no equals sign"},
		{"boolean that is none", "quit=" + canary + "\n", "not a boolean"},
		{"expiry that is none", "password_expiry_utc=" + canary + "\n", "not a number"},
		{"expiry with a tail", "password_expiry_utc=12" + canary + "\n", "not a number"},
		{"line too long", "x=" + strings.Repeat("a", credential.MaxLine-2) + "\n", "longer than"},
		{"line too long at the end of the input", "x=" + strings.Repeat("a", credential.MaxLine-2), "longer than"},
		{"description too long by a byte", strings.Repeat("x="+strings.Repeat("a", 1021)+"\n", 1023) + "x=" +
			strings.Repeat("a", 991) + "\n", "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := credential.Parse(strings.NewReader("protocol=https\n" + tt.in + "host=github.com\n"))
			if err == nil {
				t.Fatalf("Parse() = %+v, want an error", got)
			}
			testkit.ErrorContains(t, err, tt.want)
			testkit.Lacks(t, err.Error(), canary)
		})
	}
}

func TestParseReportsAFailedRead(t *testing.T) {
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader("host=a\npassword=half"), iotest.ErrReader(broken))
	if c, err := credential.Parse(in); !errors.Is(err, broken) {
		t.Errorf("Parse() = %v, %v, want %v", c, err, broken)
	}
}

func TestParseLeavesTheRestToTheReader(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("host=a\n\nrest"))
	testkit.Must(credential.Parse(in))(t)
	if rest, _ := io.ReadAll(in); string(rest) != "rest" {
		t.Errorf("left %q", rest)
	}
}

func TestEncodeRefuses(t *testing.T) {
	const canary = "canary"
	long := strings.Repeat("a", credential.MaxLine-len("path=\n"))
	for _, tt := range []struct {
		name string
		c    credential.Credential
		want string
	}{
		{"newline", credential.Credential{Host: canary + "\nhost=github.com"}, "attribute host: newline"},
		{"carriage return", credential.Credential{Path: canary + "\r"}, "attribute path: newline"},
		{"NUL", credential.Credential{Username: canary + "\x00"}, "attribute username: newline"},
		{"newline in a secret", credential.Credential{Password: secret.New(canary + "\n")}, "attribute password: newline"},
		{"newline in a list", credential.Credential{WWWAuth: []string{"a", canary + "\nb"}}, "attribute wwwauth[]: newline"},
		{"empty item", credential.Credential{State: []string{canary, ""}}, "attribute state[]: empty item"},
		{"line too long", credential.Credential{Path: long + "a"}, "attribute path: longer than"},
		{"description too long",
			credential.Credential{WWWAuth: strings.Fields(strings.Repeat(long[10:]+" ", 17))}, "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := tt.c.Encode(&out)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Encode() = %v, want %q", err, tt.want)
			}
			testkit.Lacks(t, err.Error(), canary)
			testkit.Equal(t, out.Len(), 0, "wrote %q before it refused", &out)
		})
	}
	testkit.Equal(t, len(encode(t, &credential.Credential{Path: long})), credential.MaxLine, "longest line")
}

func TestEncodeNeverTurnsAPastExpiryIntoNever(t *testing.T) {
	for _, expiry := range []time.Time{time.Unix(0, 0), time.Unix(-5, 0), time.Unix(0, 1)} {
		if got := encode(t, &credential.Credential{PasswordExpiry: expiry}); got != "password_expiry_utc=1\n" {
			t.Errorf("%v gives %q", expiry, got)
		}
	}
}

// fromGit returns what git wrote to its helpers, captured from git 2.39.5,
// 2.47.3 and 2.55.0, by file name.
func fromGit(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/git/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captured requests: %v", err)
	}
	captured := make(map[string][]byte, len(names))
	for _, name := range names {
		data := testkit.Must(os.ReadFile(name))(t)
		captured[filepath.Base(name)] = data
	}
	return captured
}

// Encode writes in git's order, so what git wrote comes out as it was.
func TestGitsOwnBytesComeOutUnchanged(t *testing.T) {
	for name, data := range fromGit(t) {
		t.Run(name, func(t *testing.T) {
			c := testkit.Must(credential.Parse(bytes.NewReader(data)))(t)
			testkit.OK(t, c.CheckOrigin(), "CheckOrigin()")
			testkit.Diff(t, encode(t, c), string(data))
			username, password := c.Login()
			switch _, operation, _ := strings.Cut(name, "-"); {
			case strings.Contains(operation, "-get-"):
				if !password.IsZero() {
					t.Errorf("a get carries a password")
				}
			case username != "x-access-token", !strings.HasSuffix(password.Reveal(), "_token_of_no_value"):
				t.Errorf("Login() = %q, %q", username, password.Reveal())
			}
		})
	}
}

func FuzzParseEncodeParse(f *testing.F) {
	for _, data := range fromGit(f) {
		f.Add(data)
	}
	for _, seed := range []string{
		"url=https://u%40x:p%3aq@h%41:80/a%2fb//?q#f\n", "url=cert:///path\n", "password_expiry_utc=4102444800\nquit=0x1\n",
		"capability[]=\nstate[]=a\nstate[]=\nstate[]=b\ncontinue=true\n\nhost=b", "=\nhost==\n",
		"host=a\r\n", "host=a\x00\n", "x\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := credential.Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		text := encode(t, first)
		second, err := credential.Parse(strings.NewReader(text))
		testkit.OK(t, err, "%q was printed as %q, which does not parse", data, text)
		if diff := cmp.Diff(first, second, sameSecrets); diff != "" {
			t.Errorf("%q was printed as %q (-first +second):\n%s", data, text, diff)
		}
		testkit.Equal(t, encode(t, second), text, "printed as")
	})
}
