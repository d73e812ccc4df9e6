package cli

import (
	"context"
	"net/url"
	"os/exec"
	"runtime"

	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// showPages opens the pages in a browser, or says how to.
func (c *command) showPages(ctx context.Context, noBrowser bool, address string) {
	if !noBrowser && c.openBrowser(ctx, address) {
		c.progress("Opening %s in your browser. Should that not happen, open it there.", address)
		return
	}
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	user, _ := c.lookup("USER")
	if user != "" {
		user += "@"
	}
	c.console().Tell("Open this address in a browser on this machine:\n  %s/", address)
	c.console().Tell("For a browser on another machine, make a tunnel there first:\n  ssh -L %s:%s %s%s",
		u.Port(), u.Host, user, hostname())
}

// openBrowser reports whether a program was started that opens browsers. It is given
// the bare address, since other users can read its command line, and nothing of ours
// in its environment.
func (c *command) openBrowser(ctx context.Context, address string) bool {
	argv := c.browserOpener(address + "/")
	if len(argv) == 0 {
		return false
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return false
	}
	opener := exec.Command(path, argv[1:]...) // without ctx: the browser may be the program itself, and stays
	opener.Env = childenv.Apart(c.Environ, c.apps().Own())
	detach(opener)
	if err := opener.Start(); err != nil {
		return false
	}
	go func() {
		if err := opener.Wait(); err != nil && ctx.Err() == nil {
			c.console().Tell("No browser could be opened; open %s/ in one yourself.", address)
		}
	}()
	return true
}

// browserOpener is the command line that opens an address where there is a screen to
// see it on.
func (c *command) browserOpener(address string) []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"open", address}
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler", address}
	}
	for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"} {
		if text, _ := c.lookup(name); text != "" {
			return []string{"xdg-open", address}
		}
	}
	return nil
}
