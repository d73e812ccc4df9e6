package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// gitHostLink is the way of git's own, with its own proxy and certificates.
func (h *hostChain) gitHostLink() link {
	needs := []string{"git", "CA file"}
	if h.probe != nil && (h.probe.proxy != nil || h.probe.target.Scheme+"://"+h.probe.target.Host == h.host.Origin) {
		// What is broken on the way to the API is broken for git as well.
		needs = append(needs, linkHost)
	}
	return link{name: "git host", needs: needs, check: h.checkGitHost}
}

// checkGitHost has git ask for a repository without a credential. To be refused is all
// that is wanted.
func (h *hostChain) checkGitHost(ctx context.Context) Finding {
	if proxy := h.gitSetting(ctx, "http.proxy", h.host.Origin); proxy != "" && !api.ReadableProxy(proxy) {
		// Part of the password may be what git takes for the host, and shows.
		err := &api.NetworkError{Host: h.host.Name, Err: &api.ProxyError{Setting: "http.proxy"}}
		return broken(err, "http.proxy in git's configuration names none")
	}
	name := "ghapp/ghapp"
	if r := h.x.Repository; r.Name != "" {
		name = r.String()
	}
	// The address is not in the scope, where git would want a credential for it first.
	scope := gitcmd.Scope{Origin: h.host.Origin, CAFile: h.settings.CAFile.Text}
	address := h.host.Origin + "/" + name + ".git"
	git := *h.x.git
	git.Environ = configured(h.x.Environ, "url."+address+".insteadOf", address)
	_, err := git.Output(ctx, scope, "ls-remote", "--", address, "HEAD")
	failed, ok := errors.AsType[*gitcmd.Error](err)
	text := "git reaches " + h.host.Origin + h.gitsProxy(ctx)
	switch {
	case err == nil, ok && slices.Contains([]gitcmd.Reason{gitcmd.Unauthorized, gitcmd.PromptDisabled, gitcmd.Forbidden,
		gitcmd.RepositoryNotFound}, failed.Reason):
		return Finding{State: OK, Text: text}
	case ok && slices.Contains([]gitcmd.Reason{gitcmd.Unknown, gitcmd.Redirected, gitcmd.Rewritten,
		gitcmd.ProtocolNotAllowed}, failed.Reason):
		return note("whether git reaches %s is not known: %v", h.host.Origin, err)
	}
	return broken(err, "git does not reach %s%s", h.host.Origin, h.gitsProxy(ctx))
}

// configured adds to the configuration of git that an environment carries
// (https://git-scm.com/docs/git-config#ENVIRONMENT).
func configured(environ []string, key, value string) []string {
	count := 0
	for _, entry := range environ {
		if text, ok := strings.CutPrefix(entry, "GIT_CONFIG_COUNT="); ok {
			count, _ = strconv.Atoi(text) // what is no number, git says itself
		}
	}
	return append(slices.Clone(environ), fmt.Sprintf("GIT_CONFIG_COUNT=%d", count+1),
		fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, value))
}

// gitsProxy names the proxy that git's configuration has for the host, or is empty.
func (h *hostChain) gitsProxy(ctx context.Context) string {
	proxy := h.gitSetting(ctx, "http.proxy", h.host.Origin)
	if proxy == "" {
		return ""
	}
	scheme, rest, ok := strings.Cut(proxy, "://")
	if !ok {
		scheme, rest = "http", proxy
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	return " through " + scheme + "://" + strings.TrimSuffix(rest, "/") + " (http.proxy)"
}

// gitSetting is what git has configured for an address, or "".
func (h *hostChain) gitSetting(ctx context.Context, key, address string) string {
	out, err := h.x.git.Output(ctx, gitcmd.Scope{}, "config", "--get-urlmatch", key, address)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// authorityOfGit is the file with which git, and not ghapp, trusts the API's
// certificate, or "".
func (h *hostChain) authorityOfGit(ctx context.Context) string {
	origin := h.probe.target.Scheme + "://" + h.probe.target.Host
	for _, path := range []string{h.x.variable("GIT_SSL_CAINFO"), h.gitSetting(ctx, "http.sslCAInfo", origin)} {
		text, err := os.ReadFile(path)
		if path == "" || err != nil {
			continue
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(text)
		reach := h.reach
		reach.Transport = api.NewTransport(roots)
		if newProbe(ctx, reach, h.host).err == nil {
			return path
		}
	}
	return ""
}
