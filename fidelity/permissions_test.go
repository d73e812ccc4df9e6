package fidelity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The names that ghapp completes, and asks about where one is misspelled, are GitHub's.
func TestPermissionNamesAreThoseOfTheDescription(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(nodePackage(t, "@octokit/openapi"), "generated", "api.github.com.json"))
	testkit.OK(t, err)
	var file struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Enum []string }
			}
		}
	}
	testkit.OK(t, json.Unmarshal(text, &file))
	described := file.Components.Schemas["app-permissions"].Properties
	if len(described) < 50 {
		t.Fatalf("only %d permissions are described", len(described))
	}
	ours := permission.Names()
	for name, of := range described {
		if !slices.Contains(ours, name) {
			t.Errorf("%s is missing", name)
		}
		for _, level := range of.Enum {
			if !slices.Contains(permission.Levels(), level) {
				t.Errorf("%s: the level %s is missing", name, level)
			}
		}
	}
	for _, name := range ours {
		if _, ok := described[name]; !ok {
			t.Errorf("%s is none of GitHub's", name)
		}
	}
}
