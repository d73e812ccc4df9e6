package servercli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// policyFlags are those of all commands about a policy.
type policyFlags struct {
	audience string
	json     bool
}

func newPolicy() *cobra.Command {
	f := &policyFlags{}
	c := &cobra.Command{
		Use:   "policy",
		Short: "Look at a policy before it is used",
		Args:  cobra.NoArgs,
	}
	c.PersistentFlags().StringVar(&f.audience, "audience", "", "the address of the door, where the policy does not"+
		" name it")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.AddCommand(newPolicyLint(f), newPolicyTest(f), newPolicyExplain(f))
	return c
}

func newPolicyLint(f *policyFlags) *cobra.Command {
	var home string
	c := &cobra.Command{
		Use:   "lint FILE",
		Short: "Report what in a policy may be more than was meant",
		Long: `Reads a policy as run does, and reports what is allowed to be there and may be more than was
meant: wildcards, names that another may have one day, rules whose holder can rewrite the
policy or change who may do what.`,
		Example: `  ghapp-server policy lint policy.yaml --kept-in acme/policies`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policy.Read(args[0], f.audience)
			if err != nil {
				return err
			}
			return f.printFindings(cmd.OutOrStdout(), p.Lint(home))
		},
	}
	c.Flags().StringVar(&home, "kept-in", "", "the repository, OWNER/NAME, that the policy is kept in")
	return c
}

func (f *policyFlags) printFindings(w io.Writer, findings []policy.Finding) error {
	if f.json {
		if err := term.JSON(w, map[string]any{"findings": append([]policy.Finding{}, findings...)}); err != nil {
			return err
		}
	} else {
		for _, found := range findings {
			of := ""
			if found.Rule != "" {
				of = found.Rule + ": "
			}
			fmt.Fprintf(w, "%s:%d: %s: %s%s\n", text.OneLine(found.File), found.Line, found.Kind, of, text.OneLine(found.Text))
		}
	}
	if len(findings) == 0 {
		return nil
	}
	return &fault.ExitError{Code: fault.Failed, Err: fmt.Errorf("the policy has %d findings", len(findings)),
		Hint: "narrow the rules, or leave what is meant so"}
}

func newPolicyTest(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE [TESTS]",
		Short: "Compare what a policy decides with a table of tests",
		Long: `Decides about each caller of the table, and compares. The table is the file beside the policy
whose name ends in _test.yaml: policy_test.yaml for policy.yaml.

  tests:
  - name: main may read
    issuer: https://token.actions.githubusercontent.com
    subject: repo:acme/site:ref:refs/heads/main
    claims: {repository: acme/site, repository_id: "42", repository_owner_id: "7"}
    ask: {repositories: [acme/site], permissions: {contents: read}}
    rule: site
  - name: nobody else does
    issuer: https://token.actions.githubusercontent.com
    subject: repo:other/site:ref:refs/heads/main
    ask: {repositories: [acme/site]}
    denied: true`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policy.Read(args[0], f.audience)
			if err != nil {
				return err
			}
			path := strings.TrimSuffix(args[0], filepath.Ext(args[0])) + "_test.yaml"
			if len(args) == 2 {
				path = args[1]
			}
			tests, err := p.ReadTests(path)
			if err != nil {
				return err
			}
			failures, untested := p.Run(tests)
			return f.printTests(cmd.OutOrStdout(), path, len(tests), failures, untested)
		},
	}
}

func (f *policyFlags) printTests(w io.Writer, path string, count int, failures []policy.Failure,
	untested []string) error {
	if f.json {
		value := map[string]any{"tests": count, "failures": append([]policy.Failure{}, failures...),
			"untested": append([]string{}, untested...)}
		if err := term.JSON(w, value); err != nil {
			return err
		}
	} else {
		for _, failure := range failures {
			fmt.Fprintf(w, "%s:%d: %s: %s\n", text.OneLine(path), failure.Line, text.OneLine(failure.Test),
				text.OneLine(failure.Text))
		}
		for _, name := range untested {
			fmt.Fprintf(w, "no test has the rule %s allow anything\n", name)
		}
		fmt.Fprintf(w, "%d tests, %d failed\n", count, len(failures))
	}
	if len(failures) == 0 {
		return nil
	}
	return &fault.ExitError{Code: fault.Failed, Err: fmt.Errorf("the policy fails %d of %d tests", len(failures), count)}
}

// explainFlags are those of explain.
type explainFlags struct {
	claims     string
	tokenStdin bool
	resources  []string
	all        string
	scopes     []string
}

func newPolicyExplain(f *policyFlags) *cobra.Command {
	var e explainFlags
	c := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say which rule allows an identity something, and why the others do not",
		Long: `Decides about one identity: that of a file of claims, as JSON, or that of a token on standard
input, whose signature is not looked at here. It is for who has written the policy: callers
are never told any of it.`,
		Example: `  ghapp-server policy explain policy.yaml --claims claims.json --resource acme/site --scope contents:write`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policy.Read(args[0], f.audience)
			if err != nil {
				return err
			}
			c, err := e.caller(cmd.InOrStdin())
			if err != nil {
				return err
			}
			ask, err := e.ask()
			if err != nil {
				return err
			}
			return f.printOutcomes(cmd.OutOrStdout(), p, c, ask)
		},
	}
	c.Flags().StringVar(&e.claims, "claims", "", "a file with the claims of a token, as JSON")
	c.Flags().BoolVar(&e.tokenStdin, "token-stdin", false, "read a token from standard input")
	c.Flags().StringArrayVar(&e.resources, "resource", nil, "a repository that is asked for, OWNER/NAME; several times")
	c.Flags().StringVar(&e.all, "all-of", "", "the owner all of whose repositories are asked for")
	c.Flags().StringArrayVar(&e.scopes, "scope", nil, "permissions that are asked for, as contents:read; several times")
	return c
}

// mostClaims bounds what is read of claims, or of a token with them.
const mostClaims = 64 << 10

// caller is the one of the claims that are given.
func (e explainFlags) caller(stdin io.Reader) (caller.Caller, error) {
	usage := func(format string, args ...any) (caller.Caller, error) {
		return caller.Caller{}, &fault.UsageError{Err: fmt.Errorf(format, args...)}
	}
	if (e.claims == "") == !e.tokenStdin {
		return usage("whose identity it is about is not clear: give --claims FILE or --token-stdin")
	}
	source := stdin
	if e.claims != "" {
		file, err := os.Open(e.claims)
		if err != nil {
			return usage("read the claims: %w", err)
		}
		defer file.Close()
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, mostClaims+1))
	if err != nil {
		return usage("read the claims: %w", err)
	}
	if len(data) > mostClaims {
		return usage("the claims have more than %d bytes", mostClaims)
	}
	if e.tokenStdin {
		parts := strings.Split(string(bytes.TrimSpace(data)), ".")
		if len(parts) != 3 {
			return usage("what came on standard input is no token: that has three parts with dots between them")
		}
		if data, err = base64.RawURLEncoding.DecodeString(parts[1]); err != nil {
			return usage("what came on standard input is no token")
		}
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		return usage("the claims are not an object of JSON") // and not why, which could repeat them
	}
	c := caller.Caller{Claims: claims, Expires: time.Now().Add(time.Hour)}
	c.Issuer, _ = claims["iss"].(string)
	c.Subject, _ = claims["sub"].(string)
	c.ID, _ = claims["jti"].(string)
	return c, nil
}

func (e explainFlags) ask() (policy.Ask, error) {
	a := policy.Ask{Owner: e.all, All: e.all != "", Repositories: e.resources}
	if len(e.resources) > 0 {
		a.Owner, _, _ = strings.Cut(e.resources[0], "/")
	}
	if e.all != "" && len(e.resources) > 0 || e.all == "" && len(e.resources) == 0 {
		return a, &fault.UsageError{Err: errors.New("what is asked for is not clear: give --resource OWNER/NAME, or" +
			" --all-of OWNER")}
	}
	var list []string
	for _, scope := range e.scopes {
		list = append(list, strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' || r == ',' })...)
	}
	permissions, _, err := config.ParsePermissions(list)
	if err != nil {
		return a, &fault.UsageError{Err: fmt.Errorf("--scope: %w", err)}
	}
	a.Permissions = permissions
	return a, nil
}

func (f *policyFlags) printOutcomes(w io.Writer, p *policy.Policy, c caller.Caller, a policy.Ask) error {
	outcomes := p.Explain(c, a)
	grant, err := p.Decide(c, a)
	if f.json {
		value := map[string]any{"allowed": err == nil, "rules": outcomes}
		if err == nil {
			value["rule"] = grant.Rule
		}
		if err := term.JSON(w, value); err != nil {
			return err
		}
	} else {
		for _, o := range outcomes {
			switch {
			case o.Reason != "":
				fmt.Fprintf(w, "%s: no: %s\n", o.Rule, text.OneLine(o.Reason))
			case err == nil && o.Rule == grant.Rule:
				fmt.Fprintf(w, "%s: allows it\n", o.Rule)
			default:
				fmt.Fprintf(w, "%s: would allow it, too\n", o.Rule)
			}
		}
	}
	if err != nil {
		return &fault.ExitError{Code: fault.Failed, Err: err}
	}
	return nil
}
