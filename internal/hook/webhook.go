package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// webhook answers a delivery of GitHub.
func (h *Handler) webhook(w http.ResponseWriter, r *http.Request) answer {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != jsonType && kind != formType || r.Header.Get("Content-Encoding") != "" {
		return say(http.StatusUnsupportedMediaType,
			"GitHub's webhooks are application/json, or application/x-www-form-urlencoded, and not compressed")
	}
	body, s, release, refusal := h.authenticate(w, r)
	defer release()
	if refusal != nil {
		return *refusal
	}
	event, guid := one(r.Header, "X-GitHub-Event"), one(r.Header, "X-GitHub-Delivery")
	if !isEvent(event) {
		return say(http.StatusBadRequest, "the header X-GitHub-Event names no event")
	}
	guid, ok := parseGUID(guid)
	if !ok {
		return say(http.StatusBadRequest, "the header X-GitHub-Delivery is not a GUID")
	}
	payload, err := parse(kind, body)
	if err != nil {
		return say(http.StatusBadRequest, err.Error())
	}
	return h.dispatch(r.Context(), event, payload, identity{guid, s})
}

// authenticate reads the body of a delivery, and refuses one that no secret has signed. The caller
// has to call release when it needs the body no longer.
func (h *Handler) authenticate(
	w http.ResponseWriter, r *http.Request,
) (body []byte, s signature, release func(), refusal *answer) {
	refuse := func(a answer) ([]byte, signature, func(), *answer) {
		if release == nil {
			release = func() {}
		}
		return nil, s, release, &a
	}
	s, ok := parseSignature(one(r.Header, signatureHeader))
	if !ok {
		return refuse(unsigned())
	}
	body, release, err := h.read(w, r)
	switch {
	case errors.Is(err, errNoRoom):
		return refuse(busy("too many large deliveries at once; send this one again"))
	case err != nil:
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return refuse(say(http.StatusRequestEntityTooLarge, "GitHub's webhooks have 25 MB at most"))
		}
		return refuse(say(http.StatusBadRequest, "the request came to no end"))
	case !s.signed(body, h.Secrets):
		return refuse(unsigned())
	}
	return body, s, release, nil
}

// dispatch answers an event that GitHub has signed.
func (h *Handler) dispatch(ctx context.Context, event string, p *payload, id identity) answer {
	log := h.Log.With("event", event, "delivery", id.guid)
	switch {
	case event == "ping":
		log.Info("GitHub's webhook is connected")
		return ignore(p.pong(h.OnEvent != nil))
	case h.OnEvent != nil && isKind(event):
		return h.event(ctx, log, Kind(event), p, id)
	case event != string(PushKind):
		if text := p.lifecycle(event); text != "" {
			log.Warn(text)
			return ignore("noted: " + text)
		}
		return ignore("ignored: events of the kind " + event + " cause nothing here")
	}
	push, deleted, err := p.push()
	if err != nil {
		return say(http.StatusBadRequest, err.Error())
	}
	if deleted {
		return ignore(fmt.Sprintf("ignored: %s of %s was deleted, so there is nothing to publish", push.Ref, push.Repository))
	}
	push.Delivery = id.guid
	log = log.With("repository", push.Repository.String(), "ref", push.Ref)
	what := fmt.Sprintf("%s of %s", push.Ref, push.Repository)
	a := h.take(id, func(done func(error)) bool { return h.OnPush(push, done) },
		what+" is at "+push.After, "no target follows "+what)
	log.Log(ctx, a.level(), "a push was told",
		"before", push.Before, "after", push.After, "forced", push.Forced, "answer", a.text)
	return a
}

// event gives an event to the watcher of all of them.
func (h *Handler) event(ctx context.Context, log *slog.Logger, kind Kind, p *payload, id identity) answer {
	e, err := p.event(kind)
	if err != nil {
		return say(http.StatusBadRequest, err.Error())
	}
	e.Delivery = id.guid
	a := h.take(id, func(done func(error)) bool { return h.OnEvent(e, done) },
		e.String(), "nothing here follows from "+e.String())
	log.Log(ctx, a.level(), "an event was told", "of", e.String(), "answer", a.text)
	return a
}

// level is that of the log: most of what causes nothing is about something else.
func (a answer) level() slog.Level {
	if a.status == http.StatusAccepted {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// take gives what a delivery tells to the watcher, by a function that returns false where nothing follows, unless
// that has had it. The texts say what it is about.
func (h *Handler) take(id identity, give func(done func(error)) bool, took, ignored string) answer {
	e, known, done := h.deliveries.begin(id)
	switch {
	case done:
		return say(http.StatusOK, "already done")
	case known:
		return say(http.StatusAccepted, "already under way")
	}
	select {
	case h.calls <- struct{}{}:
	default:
		h.deliveries.forget(e)
		return busy("the watcher is busy; send this delivery again")
	}
	taken := make(chan bool, 1)
	go func() {
		defer func() { <-h.calls }()
		ok := give(func(err error) { h.deliveries.end(e, err) })
		if !ok {
			h.deliveries.forget(e)
		}
		taken <- ok
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case ok := <-taken:
		if !ok {
			return ignore("ignored: " + ignored)
		}
		return say(http.StatusAccepted, "taken: "+took)
	case <-late.C:
		return busy("the watcher does not answer; send this delivery again")
	}
}

// unsigned is one answer for every way in which a signature can be wrong.
func unsigned() answer {
	return say(http.StatusUnauthorized,
		"the signature is missing or wrong; compare the webhook's secret at GitHub with the one here")
}

func busy(text string) answer {
	a := say(http.StatusServiceUnavailable, text)
	a.header = http.Header{"Retry-After": {"10"}}
	return a
}

// one returns the value of a header that is there once, and else "".
func one(header http.Header, name string) string {
	if values := header.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// isEvent reports whether GitHub could have an event of that name.
func isEvent(name string) bool {
	return name != "" && len(name) <= 100 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// parseGUID reads a GUID in the form GitHub writes them (RFC 9562, section 4), and returns it in lower case.
func parseGUID(text string) (string, bool) {
	groups := strings.Split(text, "-")
	lengths := []int{8, 4, 4, 4, 12}
	ok := slices.EqualFunc(groups, lengths, func(group string, length int) bool {
		return len(group) == length && isHex(group)
	})
	return strings.ToLower(text), ok
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdefABCDEF") == "" }

// pong is what a new webhook is told, on whose page it can be read. all says that more than pushes is taken. GitHub
// tells every App of its installations, whatever it is subscribed to.
func (p *payload) pong(all bool) string {
	wanted := []string{"push"}
	if all {
		wanted = append(wanted, "create", "delete", "repository")
	}
	missing := slices.DeleteFunc(wanted, func(event string) bool { return slices.Contains(p.Hook.Events, event) })
	switch {
	case len(p.Hook.Events) == 0, len(missing) == 0, slices.Contains(p.Hook.Events, "*"):
		if all {
			return "the secret is right, and events will be taken"
		}
		return "the secret is right, and pushes will be taken"
	}
	for i, event := range missing {
		missing[i] = strings.ToUpper(event[:1]) + event[1:]
	}
	names := strings.Join(missing, ", ")
	return "the secret is right, but this webhook does not send " + strings.ToLower(names) + " events: choose them " +
		"(for an App: Permissions & events, Subscribe to events, " + names + ")"
}

// lifecycle says in plain words what happened to the App or a repository, or "" if nothing did that stops a watcher.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation
func (p *payload) lifecycle(event string) string {
	account := cmp.Or(clean(p.Installation.Account.Login), "an account")
	repository := cmp.Or(clean(p.Repository.FullName), "a repository")
	switch event + " " + p.Action {
	case "installation deleted":
		return "the App was uninstalled from " + account + "; its repositories cannot be fetched any more"
	case "installation suspend":
		return "the App was suspended on " + account + "; its repositories cannot be fetched until that is lifted"
	case "installation unsuspend":
		return "the App's suspension on " + account + " was lifted"
	case "installation_repositories removed":
		var names []string
		for _, r := range p.Removed[:min(len(p.Removed), 10)] {
			names = append(names, clean(r.FullName))
		}
		if more := len(p.Removed) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		return "the App may no longer read these repositories of " + account + ": " + strings.Join(names, ", ")
	case "repository renamed":
		return "a repository was renamed to " + repository +
			"; GitHub redirects from the old name until another repository takes it"
	case "repository transferred":
		return "a repository was transferred, and is " + repository + " now; the App has to be installed there"
	case "repository deleted":
		return repository + " was deleted"
	}
	return ""
}
