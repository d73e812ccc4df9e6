package diag_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// constants reads the texts of the constants of a type from a file of Go.
func constants(t *testing.T, path, name string, least int) []string {
	t.Helper()
	file := testkit.Must(parser.ParseFile(token.NewFileSet(), path, nil, 0))(t)
	var list []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == name {
			literal := spec.Values[0].(*ast.BasicLit)
			list = append(list, constant.StringVal(constant.MakeFromLiteral(literal.Value, token.STRING, 0)))
		}
		return true
	})
	if len(list) < least {
		t.Fatalf("only %d constants of %s were found in %s", len(list), name, path)
	}
	return list
}

func TestEveryTroubleHasAHintAndAnExitCode(t *testing.T) {
	all := constants(t, "causes.go", "Trouble", 20)
	for _, text := range all {
		trouble := diag.Trouble(text)
		report := diag.Explain(fmt.Errorf("wrapped: %w",
			&diag.TroubleError{Trouble: trouble, Text: "seen", Subject: "SUBJECT"}))
		if report.Kind != text || report.Hint == "" || report.ExitCode == fault.Done || report.Message != "wrapped: seen" {
			t.Errorf("%s: %+v", trouble, report)
		}
		own := diag.Explain(&diag.TroubleError{Trouble: trouble, Text: "seen", Hint: "do this"})
		testkit.Equal(t, own.Hint, "do this", "%s with a hint of its own", trouble)
		testkit.Equal(t, own.ExitCode, report.ExitCode, "%s with a hint of its own", trouble)
	}
}
