package gitcmd

import (
	"context"
	"strings"
)

// ambient reads git's configuration as it stands with env.
func (r *Runner) ambient(ctx context.Context, env environ) ([]setting, error) {
	out, err := r.output(ctx, env, []string{"config", "--null", "--list"})
	if err != nil {
		return nil, err
	}
	return parseConfig(string(out)), nil
}

// parseConfig reads the output of git config --null --list: key, line feed, value,
// NUL; a key alone is true. git writes section and variable in lower case.
func parseConfig(out string) []setting {
	var list []setting
	for entry := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if key, value, ok := strings.Cut(entry, "\n"); ok {
			list = append(list, setting{key, value})
		} else if entry != "" {
			list = append(list, setting{entry, "true"})
		}
	}
	return list
}

// overrides answers the entries of the machine that would win over those of
// [Scope.credentials] for repositories of Origin that were not named beforehand.
func (s Scope) overrides(ambient []setting) []setting {
	if s.Origin == "" {
		return nil
	}
	var list []setting
	for _, a := range ambient {
		section, rest, _ := strings.Cut(a.key, ".")
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 {
			continue
		}
		subsection, variable := rest[:dot], rest[dot+1:]
		switch section + "." + variable {
		case "http.extraheader":
			if path, ok := s.pathOf(subsection); ok {
				list = append(list, setting{"http." + s.Origin + path + ".extraHeader", ""})
			}
		case "http.sslverify":
			if path, ok := s.pathOf(subsection); ok {
				list = append(list, setting{"http." + s.Origin + path + ".sslVerify", "true"})
			}
		case "url.insteadof":
			list = append(list, s.overrideRewrite("insteadOf", subsection, a.value)...)
		case "url.pushinsteadof":
			list = append(list, s.overrideRewrite("pushInsteadOf", subsection, a.value)...)
		}
	}
	return list
}

// pathOf returns the path of an http.<pattern>.* that applies to Origin, where "*"
// stands for a label of the host name. To git such a pattern is as specific as the
// name if the label is one character long.
func (s Scope) pathOf(pattern string) (string, bool) {
	u, err := parseURL(pattern)
	if err != nil {
		return "", false
	}
	origin, err := parseURL(s.Origin)
	if err != nil {
		return "", false
	}
	labels := strings.Split(origin.Hostname(), ".")
	for i, label := range strings.Split(u.Hostname(), ".") {
		if label == "*" && i < len(labels) {
			labels[i] = "*"
		}
	}
	origin.Host = strings.Replace(origin.Host, origin.Hostname(), strings.Join(labels, "."), 1)
	return u.EscapedPath(), site(u) == site(origin)
}

// overrideRewrite returns rewrites that win over url.<base>.<variable> = prefix, where that
// leads away from Origin. git takes the longest prefix, and of two of one length
// the first, which is never ours: so ours are one character longer, one for each
// character that can come next in GitHub's names.
func (s Scope) overrideRewrite(variable, base, prefix string) []setting {
	const names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	for _, form := range s.forms() {
		rest, ok := strings.CutPrefix(prefix, form)
		if !ok {
			continue
		}
		ours := s.Origin + "/" + rest
		if base == ours {
			return nil
		}
		next := names + "/"
		if owner, name, _ := strings.Cut(rest, "/"); owner != "" && name != "" {
			next = "./" // a whole name, before .git or the end
		}
		var list []setting
		for _, c := range next {
			list = append(list, setting{"url." + ours + string(c) + "." + variable, prefix + string(c)})
		}
		return list
	}
	return nil
}
