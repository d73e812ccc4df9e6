package policy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

func TestExamplesOfTheDocumentAreRead(t *testing.T) {
	t.Parallel()
	text := string(testkit.Must(os.ReadFile("../../../docs/policy.md"))(t))
	blocks := strings.Split(text, "```yaml\n")
	testkit.Equal(t, len(blocks), 3, "examples, and what is before them")
	example := func(i int) []byte {
		block, _, _ := strings.Cut(blocks[i], "```")
		return []byte(block)
	}
	p := testkit.Must(policy.Parse("docs/policy.md", example(1), ""))(t)
	for _, found := range p.Lint("acme/policies") {
		if found.Kind != "self-edit" || found.Rule == "mirror" {
			t.Errorf("the example is not careful: %+v", found)
		}
	}
	testkit.Must(policy.ParseRepositoryFile("docs/policy.md", example(2)))(t)
}
