package barerepo

import (
	"errors"
	"time"
)

type WireRef struct{ Name, ID, Peeled, Target string }

type WireRefs struct {
	Format   string
	List     []WireRef
	Head     string
	Requests int
}

type WireRequest struct {
	Format       string
	Wants, Haves []string
	MaxBytes     int64
	Stall        time.Duration
	Progress     func(line string)
}

var ErrUnsupported = errors.New("the git service answers in a way that only git may understand")
