package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// mostListed is how many installations are told one by one.
const mostListed = 10

func (a *appChain) checkInstallation(ctx context.Context) Finding {
	given, owner := a.settings.Installation, a.repository.Owner
	of := given.Text
	if of == "" {
		of = owner
	}
	found, err := a.app.FindInstallation(ctx, of)
	switch {
	case errors.Is(err, ghapp.ErrNotInstalled) && given.Text != "":
		return a.missing(ctx, err)
	case errors.Is(err, ghapp.ErrNotInstalled):
		// A repository that was transferred is found by its old name.
		moved, lookErr := a.app.FindInstallation(ctx, a.repository.String())
		if lookErr != nil {
			return broken(err, "the App is not installed on %s%s", owner, a.elsewhere(ctx))
		}
		found = moved
	case err != nil:
		return broken(err, "that of %s cannot be found", of)
	case given.Text != "" && !strings.EqualFold(found.Account, owner):
		a.x.names.owner(found.Account)
		return broken(&diag.TroubleError{Trouble: diag.InstallationOfAnother,
			Text: fmt.Sprintf("installation %d is that of %s, and the repository is one of %s", found.ID, found.Account, owner)},
			"%s (%s)", given.Text, given.Source)
	}
	a.x.names.installation(found)
	if err := unusable(found); err != nil {
		return broken(err, "%s", described(found))
	}
	a.installation = found
	return ok("%s", described(found))
}

// missing says what an ID stands for that no installation of the App has.
func (a *appChain) missing(ctx context.Context, err error) Finding {
	given := a.settings.Installation
	trouble := &diag.TroubleError{}
	if given.Text == strconv.FormatInt(a.info.ID, 10) {
		trouble.Trouble, trouble.Text = diag.InstallationIsApp, given.Text+" is the App's own ID, and no installation's, "+
			"which is the number at the end of its settings page's address"
	} else if now, lookErr := a.app.FindInstallation(ctx, a.repository.Owner); lookErr == nil {
		a.x.names.installation(now)
		trouble.Trouble = diag.InstallationReplaced
		trouble.Text = fmt.Sprintf("there is none of this ID any more, and on %s the App is installed as %d",
			now.Account, now.ID)
	} else {
		return broken(err, "there is none of the ID %s (%s)%s", given.Text, given.Source, a.elsewhere(ctx))
	}
	found := broken(trouble, "%s (%s)", given.Text, given.Source)
	found.Request = diag.Explain(err).Request
	return found
}

// elsewhere says where else the App is installed.
func (a *appChain) elsewhere(ctx context.Context) string {
	var accounts []string
	for found, err := range a.app.Installations(ctx) {
		if err != nil {
			return ""
		}
		a.x.names.installation(found)
		if len(accounts) == mostListed {
			accounts = append(accounts, "others")
			break
		}
		accounts = append(accounts, found.Account)
	}
	if len(accounts) == 0 {
		return ", nor anywhere else"
	}
	return ", but on " + strings.Join(accounts, ", ")
}

// unusable is why an installation gives no token for repositories, as the commands say
// it, or nil.
func unusable(i *ghapp.InstallationInfo) error {
	op := "use the installation of " + i.Account
	switch {
	case i.AccountType == "Enterprise":
		return &ghapp.Error{Kind: ghapp.ErrEnterprise, Op: op,
			Err: errors.New("it is on an enterprise, and such an installation reaches no repositories")}
	case !i.SuspendedAt.IsZero():
		return &ghapp.Error{Kind: ghapp.ErrSuspended, Op: op,
			Err: errors.New("it has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly))}
	}
	return nil
}

// described is an installation in a few words.
func described(i *ghapp.InstallationInfo) string {
	reach := "selected repositories"
	if i.AllRepositories {
		reach = "all repositories"
	}
	return fmt.Sprintf("%d on %s, %s", i.ID, i.Account, reach)
}

// wanted are the permissions that git is to have.
func (a *appChain) wanted() ghapp.Permissions {
	if p := a.settings.GitPermissions(a.repository); p != nil {
		return p
	}
	return ghapp.Permissions{"contents": "read"}
}

func (a *appChain) checkPermissions(context.Context) Finding {
	wanted, granted := a.wanted(), a.installation.Permissions
	text := fmt.Sprintf("%s wanted, %s granted", wanted, listed(granted))
	switch {
	case granted.Covers(wanted) && !granted.Covers(a.info.Permissions):
		return note("%s; the App asks for more than %s has accepted: %s", text, a.installation.Account,
			lacking(granted, a.info.Permissions))
	case granted.Covers(wanted):
		return ok("%s", text)
	case a.info.Permissions.Covers(wanted):
		return broken(&diag.TroubleError{Trouble: diag.PermissionNotAccepted, Subject: a.installation.URL,
			Text: fmt.Sprintf("the App asks for %s, and %s has not accepted that yet", lacking(granted, wanted),
				a.installation.Account)}, "%s", text)
	}
	return broken(&ghapp.Error{Kind: ghapp.ErrPermission, Op: "read " + a.repository.String(),
		Detail: &ghapp.PermissionError{Wanted: wanted, Granted: granted},
		Err:    fmt.Errorf("the App does not ask for %s", lacking(a.info.Permissions, wanted))}, "%s", text)
}

// lacking are the permissions that have does not cover.
func lacking(have, wanted ghapp.Permissions) ghapp.Permissions {
	rest := ghapp.Permissions{}
	for name, value := range wanted {
		if !have.Covers(ghapp.Permissions{name: value}) {
			rest[name] = value
		}
	}
	return rest
}

func (a *appChain) checkRepository(ctx context.Context) Finding {
	name := a.repository.String()
	found, err := a.app.FindInstallation(ctx, name)
	if errors.Is(err, ghapp.ErrNotInstalled) {
		seen := "is not among those selected, or does not exist"
		if a.installation.AllRepositories {
			seen = "does not exist, or belongs to somebody else by now"
		}
		return broken(notSelected(err, name), "%s %s", name, seen)
	}
	if err != nil {
		return broken(err, "%s cannot be looked up", name)
	}
	a.x.names.installation(found)
	if !a.installation.Permissions.Covers(a.wanted()) {
		return ok("%s is reached", name)
	}
	// By the token GitHub tells the name that the repository has now. Where there is
	// none, the link after this says why.
	token, err := a.token(ctx)
	if err != nil || len(token.Repositories) != 1 || strings.EqualFold(token.Repositories[0], name) {
		return ok("%s is reached", name)
	}
	now := token.Repositories[0]
	a.x.names.repository(now)
	return warn(&diag.TroubleError{Trouble: diag.RepositoryMoved, Subject: a.host.host.Origin + "/" + now + ".git",
		Text: name + " was renamed or transferred, and is " + now + " now"}, "%s is %s", name, now)
}

// notSelected is the 404 for a repository of an owner whose installation is there.
func notSelected(err error, name string) error {
	e := &ghapp.Error{Kind: ghapp.ErrRepositoryNotSelected,
		Op: "find " + name + " in the installation", Status: http.StatusNotFound,
		Detail: &ghapp.RepositoryError{Repositories: []string{name}}}
	if answer, ok := errors.AsType[*ghapp.Error](err); ok {
		e.Message, e.RequestID = answer.Message, answer.RequestID
	}
	return e
}

// checkInstallations is for an App without a repository in hand. Where the current
// directory has one, what is wrong with its installation the next link says.
func (a *appChain) checkInstallations(ctx context.Context) Finding {
	var shown, unused, lack []string
	total, usable := 0, 0
	for found, err := range a.app.Installations(ctx) {
		if err != nil {
			return broken(err, "they cannot be listed")
		}
		a.x.names.installation(found)
		total++
		text := described(found)
		switch {
		case unusable(found) != nil:
			unused = append(unused, found.Account)
			text = found.Account + " (suspended, or an enterprise)"
		case !found.Permissions.Covers(a.wanted()):
			lack = append(lack, found.Account)
			fallthrough
		default:
			usable++
			if a.installation == nil {
				a.installation = found
			}
		}
		if total <= mostListed {
			shown = append(shown, text)
		}
	}
	text := strings.Join(shown, "; ")
	if more := total - len(shown); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	app, some := "use App "+a.settings.App.Text, func(accounts []string) string {
		return strings.Join(accounts[:min(len(accounts), mostListed)], ", ")
	}
	switch {
	case total == 0:
		return broken(&ghapp.Error{Kind: ghapp.ErrNotInstalled, Op: app,
			Err: errors.New("it is installed nowhere yet")}, "none")
	case a.atOrigin:
		return ok("%s", text)
	case usable == 0:
		return broken(&ghapp.Error{Kind: ghapp.ErrSuspended, Op: app,
			Err: errors.New("none of its installations can be used: " + some(unused))}, "%s", text)
	case len(unused) > 0:
		return warn(&ghapp.Error{Kind: ghapp.ErrSuspended, Op: "use the installation of " + some(unused),
			Err: errors.New("it is suspended, or on an enterprise")}, "%s", text)
	case len(lack) > 0:
		return warn(&ghapp.Error{Kind: ghapp.ErrPermission, Op: "read repositories of " + some(lack),
			Detail: &ghapp.PermissionError{Wanted: a.wanted()}, Err: fmt.Errorf("%s is wanted", a.wanted())}, "%s", text)
	}
	return ok("%s", text)
}
