package setup

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// maxTurns bounds how many browsers may look at the first page.
const maxTurns = 32

// turn is what one browser was given. Of all turns of a flow, one is taken.
type turn struct {
	state string
	sent  bool // the form has sent itself
}

// Why a code is not taken.
var (
	errForged  = errors.New("the state is not one of this setup")
	errBrowser = errors.New("the state was given to another browser")
	errUsed    = errors.New("the App has been created already")
	errExpired = errors.New("an hour has passed, and GitHub takes the code no longer")
	errCode    = errors.New("there is no code that GitHub could have made")
)

// codePattern is wider than GitHub's codes, which are 40 hexadecimal digits, and narrow
// enough for a path.
var codePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]{8,200}$`) })

// begin gives a browser without a turn one. It is called with the lock held.
func (f *Flow) begin() (cookie string, t *turn, ok bool) {
	if len(f.turns) >= maxTurns {
		return "", nil, false
	}
	cookie, t = rand.Text(), &turn{state: rand.Text()}
	f.turns[cookie] = t
	return cookie, t, true
}

// take takes a code, the first with a state that was given to the browser with this
// cookie. What is refused leaves the flow as it was.
func (f *Flow) take(cookie, state, code string) error {
	return f.takeFrom(state, code, func(owner string) bool { return owner == cookie })
}

// Paste takes the address to which GitHub sent a browser that cannot reach this
// machine, and which a person copied. Its error says what is wrong with the text.
func (f *Flow) Paste(text string) error {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Path != createdPath {
		return errors.New("this is not the address that GitHub sent the browser to; it ends with " +
			createdPath + "?code=…&state=…")
	}
	query := u.Query()
	if query.Get("state") == "" {
		return errors.New("the address has no state in it; copy all of it")
	}
	// The person at the terminal needs no cookie.
	return f.takeFrom(query.Get("state"), query.Get("code"), func(string) bool { return true })
}

func (f *Flow) takeFrom(state, code string, mine func(cookie string) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	owner := ""
	for cookie, t := range f.turns {
		if subtle.ConstantTimeCompare([]byte(t.state), []byte(state)) == 1 {
			owner = cookie
		}
	}
	switch {
	case owner == "":
		return errForged
	case !mine(owner):
		return errBrowser
	case f.phase != asking:
		return errUsed
	case time.Now().After(f.until):
		return errExpired
	case !codePattern().MatchString(code):
		return errCode
	}
	f.codes <- secret.New(code) // has room: this is the first
	f.become(registering)
	return nil
}
