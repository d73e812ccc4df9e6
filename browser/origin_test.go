package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// evil is a page that tries all that a page can against the setup, which it knows the
// address of.
const evil = `<!DOCTYPE html><title>evil</title><body>
<p id="log"></p>
<iframe name="first" src="%[1]s/"></iframe>
<iframe name="second" src="%[1]s/created?code=0123456789abcdef&state=x"></iframe>
<img src="%[1]s/created?code=0123456789abcdef&state=x">
<form id="form" method="post" action="%[1]s/created?code=0123456789abcdef&state=x" target="second"></form>
<script>
(async () => {
	const told = [];
	for (const path of ["/", "/installed", "/created?code=0123456789abcdef&state=x"]) {
		for (const mode of ["cors", "no-cors"]) {
			try {
				const answer = await fetch("%[1]s" + path, {mode, credentials: "include"});
				told.push(answer.type + " " + (await answer.text()).length);
			} catch (e) { told.push("failed"); }
		}
	}
	document.getElementById("form").submit();
	document.getElementById("log").textContent = "tried: " + told.join(", ");
})();
</script>`

// Neither the page of another host nor that of another port of this one gets anything
// of a setup that this browser takes part in, or moves it.
func TestPagesOfOtherOriginsAchieveNothing(t *testing.T) {
	for _, host := range []string{"localhost", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			f, b := newFlow(t, github, nil), newTab(t)
			b.scripts(false)
			b.open(f.address) // takes part
			b.await("Continue on")
			state := eval[string](b, `document.forms[0].action`)
			b.scripts(true)

			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				switch r.URL.Path {
				case "/link":
					fmt.Fprintf(w, `<a href="%s/created?code=0123456789abcdef&state=guessed">win a prize</a>`, f.address)
				case "/start":
					fmt.Fprintf(w, `<a href="%s/">start here</a>`, f.address)
				default:
					fmt.Fprintf(w, evil, f.address)
				}
			}))
			t.Cleanup(other.Close)
			address := strings.Replace(other.URL, "127.0.0.1", host, 1)
			b.open(address)
			b.await("tried: failed, failed, failed, failed, failed, failed")

			b.open(address + "/link")
			b.click("link", "win a prize")
			b.await("This is not an answer to this setup")

			// A browser that takes no part does not begin to by a link.
			stranger := newTab(t)
			stranger.open(address + "/start")
			stranger.click("link", "start here")
			stranger.await("A link on another page led here")
			stranger.scripts(false)
			stranger.click("link", "Go on with the setup") // the person does
			stranger.await("Continue on")

			if n := f.traded.Load(); n != 0 {
				t.Errorf("%d codes were traded", n)
			}
			b.scripts(false)
			b.open(f.address)
			b.await("Continue on")
			if now := eval[string](b, `document.forms[0].action`); now != state {
				t.Errorf("the form goes to %q, and went to %q", now, state)
			}
		})
	}
}

// GitHub's answer counts once, in the browser that asked.
func TestACodeCountsOnceAndInItsOwnBrowser(t *testing.T) {
	f, b, other := newFlow(t, github, nil), newTab(t), newTab(t)
	for _, browser := range []*tab{b, other} {
		browser.scripts(false)
		browser.open(f.address)
		browser.await("Continue on")
	}
	state := eval[string](b, `new URL(document.forms[0].action).searchParams.get("state")`)
	answer := f.address + "/created?code=0123456789abcdef0123456789abcdef01234567&state=" + state

	other.open(answer)
	other.await("This setup was begun in another browser")
	if n := f.traded.Load(); n != 0 {
		t.Errorf("%d codes were traded", n)
	}
	// It leads on to GitHub, which is not there.
	_ = chromedp.Do(b.ctx, chromedp.Navigate(answer))
	b.open(answer)
	b.await("This answer has been used")
	b.click("link", "Show the setup")
	b.await("Install ghapp build1")
	if n := f.traded.Load(); n != 1 {
		t.Errorf("%d codes were traded", n)
	}
}
