package api

import (
	"errors"
	"net/http"
	"strings"
)

// IsStatus reports whether err is GitHub's answer with that status.
func IsStatus(err error, status int) bool {
	answer, ok := errors.AsType[*Error](err)
	return ok && answer.Status == status
}

// nextPage returns the path below the API root of the page after answer, or ""
// after the last one. A page on another host, or outside the API root, is an
// error: it would be asked for with our credential.
func (c *Client) nextPage(answer *response) (string, error) {
	target := link(answer.Header, "next")
	if target == "" {
		return "", nil
	}
	next, err := answer.URL.Parse(target)
	if err != nil {
		return "", &BodyError{http.MethodGet, answer.URL.EscapedPath(), "its Link header is unreadable"}
	}
	if origin(next) != origin(c.base) {
		return "", &RedirectError{From: origin(c.base), To: printable(origin(next), 200), Status: http.StatusOK}
	}
	path, below := strings.CutPrefix(next.EscapedPath(), c.base.EscapedPath())
	if !below || !strings.HasPrefix(path, "/") {
		return "", &BodyError{http.MethodGet, answer.URL.EscapedPath(), "its Link header leads out of the API"}
	}
	if next.RawQuery != "" {
		path += "?" + next.RawQuery
	}
	return path, nil
}

// link finds the target with a relation in the Link headers (RFC 8288 section 3), or "".
func link(header http.Header, rel string) string {
	for _, line := range header.Values("Link") {
		for line != "" {
			start := strings.IndexByte(line, '<')
			if start < 0 {
				break
			}
			end := strings.IndexByte(line[start:], '>')
			if end < 0 {
				break
			}
			target := line[start+1 : start+end]
			params := line[start+end+1:]
			// The parameters end where the next target begins.
			rest := ""
			if i := strings.IndexByte(params, '<'); i >= 0 {
				params, rest = params[:i], params[i:]
			}
			for param := range strings.SplitSeq(strings.TrimRight(params, ", \t"), ";") {
				name, value, _ := strings.Cut(param, "=")
				if strings.EqualFold(strings.TrimSpace(name), "rel") && hasWord(strings.Trim(value, " \t\""), rel) {
					return target
				}
			}
			line = rest
		}
	}
	return ""
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
