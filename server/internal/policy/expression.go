package policy

import (
	"errors"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

const (
	maxExpression = 4096    // characters
	maxCost       = 100_000 // in CEL's units; comparing two words is one or two
)

// expression is a condition in the Common Expression Language, https://cel.dev, about issuer,
// subject and claims of a caller.
type expression struct {
	text    string
	program cel.Program
}

// language is what expressions are written in.
func language() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("issuer", cel.StringType),
		cel.Variable("subject", cel.StringType),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(50),
	)
}

func newExpression(env *cel.Env, source string) (*expression, error) {
	checked, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, errors.New(text.Shorten(text.OneLine(err.Error()), 300))
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, errors.New("it is not true or false; compare what it gives with something")
	}
	program, err := env.Program(checked, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, errors.New(text.Shorten(text.OneLine(err.Error()), 300))
	}
	return &expression{source, program}, nil
}

// refuses says why the expression is not true of a caller. One that fails, for a claim that
// is missing or for its cost, is not true.
func (e *expression) refuses(c caller.Caller) string {
	claims := c.Claims
	if claims == nil {
		claims = map[string]any{}
	}
	result, _, err := e.program.Eval(map[string]any{"issuer": c.Issuer, "subject": c.Subject, "claims": claims})
	switch {
	case err != nil:
		return "when fails: " + text.Shorten(text.OneLine(err.Error()), 200)
	case result.Value() != true:
		return "when is not true"
	}
	return ""
}

// names reports whether the expression speaks of a claim.
func (e *expression) names(claim string) bool { return strings.Contains(e.text, claim) }

var matchesCall = regexp.MustCompile(`\bmatches\s*\(`)

// unanchored reports whether the expression has a pattern that matches parts of a text.
func (e *expression) unanchored() bool { return matchesCall.MatchString(e.text) }
