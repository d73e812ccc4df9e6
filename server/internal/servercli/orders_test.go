package servercli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/control"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
	"github.com/ghapp-dev/ghapp/server/internal/servercli"
)

// command runs ghapp-server, and returns what it prints and its exit code.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = servercli.Run(t.Context(), servercli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err}, args)
	return out.String(), err.String(), code
}

func TestOrdersReachTheServerAndTheAuditTellsOfThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	records, socket := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "run", "control")
	config := filepath.Join(dir, "server.yaml")
	testkit.OK(t, os.WriteFile(config, fmt.Appendf(nil, `
listen: unix:%[1]s/door
audience: https://ghapp.example.com
issuers: [https://token.actions.githubusercontent.com]
policy: policy.yaml
audit: {file: %[2]s}
control: run/control
apps:
  acme: {app: Iv23liabcdefghij, key: key.pem}
`, dir, records), 0o600))
	_, stderr, code := command(t, "orders", "--config", config)
	testkit.Equal(t, code, 5, stderr)
	testkit.Contains(t, stderr, "no ghapp-server takes orders", "hint:")

	log := testkit.Must(audit.Open(t.Context(), audit.Options{File: records}))(t)
	e := testkit.Must(engine.Open(t.Context(), engine.Options{}))(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- (&control.Server{Orders: e, Audit: log}).Serve(ctx, socket) }()
	defer func() { stop(); testkit.OK(t, <-ended); e.Close() }()
	for code = 5; code == 5; {
		_, _, code = command(t, "orders", "--config", config)
	}

	stdout, stderr, code := command(t, "suspend", "site", "--reason", "odd", "--config", config, "--json")
	testkit.Equal(t, code, 0, stderr)
	var answer control.Answer
	testkit.OK(t, json.Unmarshal([]byte(stdout), &answer))
	stdout, _, code = command(t, "revoke", "--repository", "acme/site", "--reason", "a leak\x1b[2J", "--config", config)
	testkit.Equal(t, code, 0)
	testkit.Contains(t, stdout, "revoked  repository acme/site  a leak")
	stdout, _, _ = command(t, "orders", "--config", config)
	testkit.Equal(t, strings.Count(stdout, "\n"), 2)
	testkit.Contains(t, stdout, answer.Orders[0].ID, "suspended  rule site  odd")
	testkit.Lacks(t, stdout, "\x1b")
	_, stderr, code = command(t, "resume", answer.Orders[0].ID, "--config", config)
	testkit.Equal(t, code, 0, stderr)
	testkit.Equal(t, len(e.Orders()), 1)
	for _, wrong := range [][]string{{"revoke"}, {"revoke", "--all", "--installation", "7"}, {"suspend"}} {
		_, stderr, code = command(t, append(wrong, "--config", config)...)
		testkit.Equal(t, code, 2, stderr)
	}
	_, _, code = command(t, "resume", "none", "--config", config)
	testkit.Equal(t, code, 1)

	testkit.OK(t, log.Close())
	stdout, stderr, code = command(t, "audit", "verify", records)
	testkit.Equal(t, code, 0, stderr)
	testkit.Contains(t, stdout, "3 records read, 0 faults")
	content := testkit.Must(os.ReadFile(records))(t)
	testkit.OK(t, os.WriteFile(records, bytes.Replace(content, []byte("odd"), []byte("old"), 1), 0o600))
	stdout, stderr, code = command(t, "audit", "verify", records)
	testkit.Equal(t, code, 1, stderr)
	testkit.Contains(t, stdout, records+":1: this is no record")
	testkit.Contains(t, stderr, "1 fault", "hint:")
}
