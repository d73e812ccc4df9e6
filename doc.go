// Package ghapp turns a GitHub App's private key into installation access tokens:
// for the repositories and permissions in hand, cached, merged, renewed before
// they expire, and revoked.
//
//	key, err := signer.File("app.pem")
//	app, err := ghapp.New(ghapp.Config{Issuer: "Iv23li…", Signer: key})
//	token, err := app.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}})
//
// A token is asked for the least that does the job: the repositories named, and
// contents: read where no permission is named. What came back is compared with
// what was asked; more is refused and revoked.
//
// # Time
//
// GitHub's clock decides. The offset of the local clock is measured from the Date
// header of GitHub's answers and used for the JSON Web Token and for expiry. A clock more
// than 15 hours off is not followed: it is an [ErrClockOff].
//
// # Errors
//
// Everything GitHub refuses comes as an [*Error] whose [Kind] callers branch on:
//
//	if errors.Is(err, ghapp.ErrSuspended) { … }
//
// # Secrets
//
// Tokens and JSON Web Tokens are of type [secret.Text], which cannot be printed, logged
// or encoded by accident. They are sent to the API of the App's own host and
// nowhere else, on no hop of a redirect.
package ghapp
