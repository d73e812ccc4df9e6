package cli

import (
	"bytes"
	"context"
	"os"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/answer"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/signer"
)

// restsOn are the files that an answer for these settings rests on, as they are now. It
// is false where a change could go unnoticed: of a key that is in no file, or of a file
// that has just changed.
func (c *command) restsOn(settings config.AppSettings) ([]answer.File, bool) {
	loaded, err := c.load()
	if err != nil {
		return nil, false
	}
	var files []answer.File
	if path, _ := loaded.Path(); path.Text != "" {
		file, ok := answer.FileOf(path.Text, loaded.Info())
		if !ok {
			return nil, false
		}
		files = append(files, file)
	}
	paths := []string{signer.FilePath(settings.Key.Text)}
	if previous := settings.PreviousKey.Text; previous != "" {
		paths = append(paths, signer.FilePath(previous))
	}
	if authorities := settings.CAFile.Text; authorities != "" {
		paths = append(paths, authorities)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, false
		}
		file, ok := answer.FileOf(path, info)
		if !ok {
			return nil, false
		}
		files = append(files, file)
	}
	return files, true
}

// granted is a token that git was answered with, and the repository that it is for.
type granted struct {
	token      *ghapp.Token
	repository string
}

// keepAnswer leaves what git is told for git-credential-ghapp, which then need not
// start this program for the same question. Where that cannot be, nobody misses it.
func (c *command) keepAnswer(ctx context.Context, s *session, asked, found *credential.Credential, g granted, files []answer.File) {
	store, ok := s.store.(*cache.Files)
	key, from, until := g.token.Kept(g.repository)
	// As git-credential-ghapp starts this program: credential FLAG... get.
	if !ok || c.args[0] != "credential" {
		return
	}
	question, ok := answer.Ask(c.args[1:len(c.args)-1], c.Environ, asked)
	if !ok {
		return
	}
	holds := func(entry []byte) bool { return bytes.Contains(entry, []byte(g.token.Secret.Reveal())) }
	err := store.KeepAnswer(ctx, key, holds, answer.Answer{Question: question, From: from, Until: until, Files: files, Credential: found})
	if err != nil {
		c.log().Debug("the answer is not kept for the next question", "error", err)
	}
}

// dropAnswers ends all answers that were kept, since git says of one that it was
// refused.
func (c *command) dropAnswers(s *session) {
	store, ok := s.store.(*cache.Files)
	if !ok {
		return
	}
	if err := store.DropAnswers(); err != nil {
		c.log().Warn("a refused answer stays in the cache", "error", err)
	}
}
