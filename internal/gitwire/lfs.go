package gitwire

import (
	"context"
	"io"

	"github.com/ghapp-dev/ghapp"
)

const (
	// lfsMedia is the media type of Git LFS's API
	// (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
	lfsMedia = "application/vnd.git-lfs+json"
	// maxBatch bounds an answer to a batch request: some kilobytes for each of a hundred links.
	maxBatch = 4 << 20
)

// LFSBatch asks the batch API of Git LFS about objects of a repository, and returns the answer: both
// are JSON. It is asked as for refs: with the repository's token, on its host alone. The
// errors are those of [Service.Refs], and a [*TooLargeError].
func (s *Service) LFSBatch(ctx context.Context, r ghapp.RepositoryName, asked []byte) ([]byte, error) {
	op := "ask for the large files of " + r.String()
	var answer []byte
	err := s.ask(ctx, op, r, func(q *question) error {
		_, err := q.roundTrip(ctx, request{
			path: q.path(), suffix: "/info/lfs/objects/batch", body: asked, media: lfsMedia, sends: lfsMedia,
			limits: limits{within: 2 * requestTimeout, stall: requestTimeout},
			whole: func(body io.Reader) (err error) {
				answer, err = io.ReadAll(io.LimitReader(body, maxBatch+1))
				if err == nil && len(answer) > maxBatch {
					err = &TooLargeError{Op: op, What: "bytes about large files", Limit: maxBatch}
				}
				return err
			},
		}, nil)
		return err
	})
	if err != nil && isProtocol(err) {
		err = &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: op, Err: err}
	}
	return answer, err
}
