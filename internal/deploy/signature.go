//go:build unix

package deploy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Signatures are what is demanded of a commit before its files are built: git verifies
// it (https://git-scm.com/docs/git-verify-commit) with the keys of the user's GnuPG, or
// with the signers of a file. Of an annotated tag only the commit counts; submodules are
// named by the commit that is verified, so theirs are not verified again.
type Signatures struct {
	// AllowedSigners is a file of ssh keys (ALLOWED SIGNERS in ssh-keygen(1)). Empty:
	// gpg.ssh.allowedSignersFile of git's configuration, and GnuPG's keyring.
	AllowedSigners string
}

// verify returns an error with the Problem [ErrSignature] for a commit without a
// signature that git accepts.
func (s *store) verify(ctx context.Context, commit string) error {
	if s.Signatures == nil {
		return nil
	}
	if file := s.Signatures.AllowedSigners; file != "" {
		if _, err := os.Stat(file); err != nil { // git would say that nobody is trusted
			return &Error{Problem: ErrSignature, Op: "verify commit " + short(commit), Err: err}
		}
	}
	var status bytes.Buffer
	git := s.git()
	if s.environs != nil {
		ambient, err := s.environs.ambient()
		if err != nil {
			return err
		}
		git.Environ = ambient.signed
	}
	git.Stderr = &status
	err := git.Run(ctx, gitcmd.Scope{}, "verify-commit", "--raw", "--", commit)
	for _, word := range []string{"EXPKEYSIG", "EXPSIG", "REVKEYSIG"} {
		// Newer versions of git accept the first of them.
		if err == nil && strings.Contains(status.String(), "[GNUPG:] "+word+" ") {
			return &Error{
				Problem: ErrSignature, Op: "verify commit " + short(commit),
				Err:    errors.New("the key or the signature has expired, or is revoked"),
				Output: status.String(),
			}
		}
	}
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && ctx.Err() == nil {
		said := strings.TrimSpace(e.Stderr)
		if said == "" {
			said = "it is not signed"
		}
		first, more, _ := strings.Cut(said, "\n")
		return &Error{Problem: ErrSignature, Op: "verify commit " + short(commit), Err: errors.New(first), Output: more}
	}
	return err
}
