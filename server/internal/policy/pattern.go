package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// maxPattern is how long a pattern may be, in bytes.
const maxPattern = 1000

// pattern is a regular expression for the whole of a value.
type pattern struct {
	text    string
	slashes bool // what stands for any character stands for a slash, too
	parsed  *syntax.Regexp
	whole   *regexp.Regexp
}

// newPattern compiles a pattern. It is parsed by itself before it is anchored, so that a|b is
// anchored at both ends of both, and a)|(b ends no group of ours. What stands for any
// character, or for any but some, does not stand for a slash unless slashes says so: a name
// would run on into the next one.
func newPattern(text string, slashes bool) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("the pattern has more than %d characters", maxPattern)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, errors.New("the pattern is no regular expression: " + e.Code.String())
		}
		return nil, errors.New("the pattern is no regular expression")
	}
	if err := confine(parsed, slashes); err != nil {
		return nil, err
	}
	whole, err := regexp.Compile(`\A(?:` + parsed.String() + `)\z`)
	if err != nil {
		return nil, errors.New("the pattern is too large")
	}
	if whole.MatchString("") {
		return nil, errors.New("the pattern matches nothing at all, too, which is no rule")
	}
	return &pattern{text: text, slashes: slashes, parsed: parsed, whole: whole}, nil
}

// confine takes the slash out of what stands for any character.
func confine(re *syntax.Regexp, slashes bool) error {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine:
		return errors.New("the pattern has (?m), and is for one line")
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		re.Op, re.Rune = syntax.OpCharClass, []rune{0, unicode.MaxRune}
		fallthrough
	case syntax.OpCharClass:
		// A class that goes up to the last character there is was written as a negation.
		if n := len(re.Rune); !slashes && n > 0 && re.Rune[n-1] == unicode.MaxRune {
			re.Rune = without(re.Rune, '/')
		}
	}
	for _, sub := range re.Sub {
		if err := confine(sub, slashes); err != nil {
			return err
		}
	}
	return nil
}

// without takes a character out of a class, which is pairs of its first and last ones.
func without(class []rune, out rune) []rune {
	var kept []rune
	for pair := range slices.Chunk(class, 2) {
		first, last := pair[0], pair[1]
		if out < first || out > last {
			kept = append(kept, first, last)
			continue
		}
		if first < out {
			kept = append(kept, first, out-1)
		}
		if out < last {
			kept = append(kept, out+1, last)
		}
	}
	return kept
}

// match reports whether the pattern is that of the whole value. One with a line break, or
// another control character, is none that any pattern was written for.
func (p *pattern) match(value string) bool {
	return !strings.ContainsFunc(value, unicode.IsControl) && p.whole.MatchString(value)
}

// crossesSlash reports whether something in the pattern may stand for a slash or for another
// character, so that it matches beyond the name it was meant for.
func (p *pattern) crossesSlash() bool { return crosses(p.parsed) }

func crosses(re *syntax.Regexp) bool {
	if re.Op == syntax.OpCharClass {
		for pair := range slices.Chunk(re.Rune, 2) {
			if pair[0] <= '/' && '/' <= pair[1] {
				return true
			}
		}
	}
	return slices.ContainsFunc(re.Sub, crosses)
}

// prefix is the text with which everything begins that the pattern matches.
func (p *pattern) prefix() string {
	prefix, _ := regexp.MustCompile(p.parsed.String()).LiteralPrefix()
	return prefix
}
