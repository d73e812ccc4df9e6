package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/agentserver"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/term"
)

const (
	// agentAnswers is how long an agent may take for its status, or to stop.
	agentAnswers = 5 * time.Second
	// agentStarts is how long another agent may take from holding the socket's lock
	// to listening.
	agentStarts = time.Second
)

func (c *command) agent() *cobra.Command {
	parent := &cobra.Command{
		Use:   "agent",
		Short: "Hold keys and tokens for all git processes of this user",
		Long: `Answers the credential helpers of all git processes of this user, until it is
stopped: keys are read once, and tokens that are in use are renewed early. Without an
agent the helper works as well, and shares tokens through files.

It listens on ghapp/agent.sock in $XDG_RUNTIME_DIR (or /run/user/UID, or else the
cache directory), where the helper looks for it, or where GHAPP_AGENT_SOCK says.
systemd starts it when git first asks: copy ghapp-agent.socket and ghapp-agent.service
from the docs directory of ghapp to ~/.config/systemd/user, and enable the socket.

A config file that changes is read anew before the next answer, as SIGHUP has it done;
one that is wrong is told, and changes nothing. A key file that changes is read by itself
too; the key before it is used until GitHub has taken the new one. SIGTERM, like ghapp agent
stop, ends it at once for whoever comes next; those who are being answered have five
seconds, and then their helpers ask ghapp itself.`,
		Example: `  ghapp agent
  systemctl --user enable --now ghapp-agent.socket
  ghapp agent status`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runAgent(cmd.Context()) },
	}
	parent.AddCommand(
		&cobra.Command{
			Use:   "status",
			Short: "Show what the agent holds and has done",
			Args:  noArguments,
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.agentStatus(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "stop",
			Short: "End the agent",
			Args:  noArguments,
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.agentStop(cmd.Context()) },
		},
	)
	return parent
}

func (c *command) runAgent(ctx context.Context) error {
	c.followed = true
	server, err := agentserver.New(ctx, c.apps(), agentserver.Options{Version: c.release(), Notify: c.notify})
	if err != nil {
		return err
	}
	defer server.Close()
	// From here on a hang-up is a request, and not the end.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)

	listener, err := c.listenAsAgent(ctx)
	if err != nil {
		return err
	}
	defer listener.Close()
	c.progress("The agent (process %d) listens on %s.", os.Getpid(), listener.Path())
	if c.identityGiven() {
		c.progress("Its App was named by a flag or a variable, so git asks it only where GHAPP_AGENT_SOCK=%s is set; "+
			"an App in the config file needs nothing.", listener.Path())
	}
	return server.Run(ctx, listener, hangUps)
}

// identityGiven reports whether flags or variables say which App is meant. A helper
// that finds such variables asks no agent but the one that is named.
func (c *command) identityGiven() bool {
	flags := c.givenFlags()
	return slices.ContainsFunc(config.Settings(), func(s config.Setting) bool {
		_, flag := flags[s.Flag]
		variable, _ := c.lookup(s.Env)
		return flag || variable != ""
	})
}

// notify tells the service manager, for which a missing one is no failure.
func (c *command) notify(state string) {
	if err := agent.Notify(c.lookup, state); err != nil {
		c.log().Warn(err.Error())
	}
}

// agentSocket is where the user's agent listens.
func (c *command) agentSocket() (string, error) {
	if path, _ := c.lookup("GHAPP_AGENT_SOCK"); path != "" {
		return path, nil
	}
	if path := agent.SocketPath(c.lookup); path != "" {
		return path, nil
	}
	return "", &fault.SettingError{
		Err:  errors.New("there is no place for the agent's socket: the environment has no home directory"),
		Hint: "set XDG_RUNTIME_DIR or HOME, or name the socket with GHAPP_AGENT_SOCK",
	}
}

// listenAsAgent takes the socket that a service manager hands over, or else makes it.
func (c *command) listenAsAgent(ctx context.Context) (*agent.Listener, error) {
	listener, err := agent.Inherited(c.lookup)
	if listener != nil {
		return listener, nil
	}
	path := ""
	if err == nil {
		if path, err = c.agentSocket(); err != nil {
			return nil, err
		}
		listener, err = agent.ListenAt(path)
	}
	if _, occupied := errors.AsType[*agent.OccupiedError](err); occupied {
		return nil, occupiedBy(ctx, path)
	}
	if _, open := errors.AsType[*agent.DirError](err); open {
		return nil, &fault.SettingError{Err: err, Hint: fault.Hint(err)}
	}
	return listener, err
}

// occupiedBy says who has the socket.
func occupiedBy(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, agentAnswers)
	defer cancel()
	starting := time.Now()
	status, err := agentserver.AskStatus(ctx, path)
	for errors.Is(err, agentproto.ErrUnavailable) && time.Since(starting) < agentStarts && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		status, err = agentserver.AskStatus(ctx, path)
	}
	if err != nil {
		return &fault.ExitError{
			Code: fault.Failed,
			Err:  fmt.Errorf("another process has the agent's socket %s, and does not say what it is: %w", path, err),
			Hint: "end that process, or name another socket with GHAPP_AGENT_SOCK",
		}
	}
	return &fault.ExitError{
		Code: fault.Failed,
		Err:  fmt.Errorf("an agent listens on %s already: %s", path, status),
		Hint: "nothing needs to be done; `ghapp agent status` shows it, `ghapp agent stop` ends it",
	}
}

func (c *command) agentStatus(ctx context.Context) error {
	path, err := c.agentSocket()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, agentAnswers)
	defer cancel()
	status, err := agentserver.AskStatus(ctx, path)
	if errors.Is(err, agentproto.ErrUnavailable) {
		return &fault.ExitError{
			Code: fault.Failed, Err: fmt.Errorf("no agent listens on %s", path),
			Hint: "git works without one; to start it, run `ghapp agent`, or `systemctl --user enable --now ghapp-agent.socket`",
		}
	}
	if err != nil {
		return err
	}
	if c.json {
		return term.JSON(c.Stdout, status)
	}
	return printAgentStatus(c.Stdout, status)
}

func (c *command) agentStop(ctx context.Context) error {
	path, err := c.agentSocket()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, agentAnswers)
	defer cancel()
	client, err := agent.Dial(path)
	none := errors.Is(err, agentproto.ErrUnavailable)
	if err == nil {
		err = client.Stop(ctx)
	}
	switch {
	case err != nil && !none:
		return err
	case c.json:
		return term.JSON(c.Stdout, map[string]any{"socket": path, "ended": !none})
	case none:
		c.progress("No agent listens on %s.", path)
	default:
		c.progress("The agent ends.")
	}
	return nil
}

// printAgentStatus shows it to people.
func printAgentStatus(w io.Writer, s *agentserver.Status) error {
	r := s.Requests
	facts := [][]string{
		{"agent", fmt.Sprintf("process %d since %s, ghapp %s", s.PID, s.Since.Local().Format(time.DateTime), s.Version)},
		{"socket", s.Socket},
		{"requests", fmt.Sprintf("%d answered, %d refused, %d for other hosts, %d tokens erased, %d minted", r.Answered,
			r.Refused, r.Others, r.Erased, r.Minted)},
	}
	if err := term.Table(w, facts); err != nil {
		return err
	}
	apps := [][]string{{"\nAPP", "ID", "HOST", "KEY"}}
	for _, a := range s.Apps {
		key := a.Fingerprint
		if a.Next != "" {
			key += " (next: " + a.Next + ")"
		}
		apps = append(apps, []string{term.OrDash(a.Name), a.App, a.Host, key})
	}
	if err := term.Table(w, apps); err != nil || len(s.Tokens) == 0 {
		return err
	}
	tokens := [][]string{{"\nREPOSITORY", "HOST", "PERMISSIONS", "LEFT", "LAST USED", "USES"}}
	for _, t := range s.Tokens {
		left := time.Duration(t.Left) * time.Second
		tokens = append(tokens, []string{t.Repository, t.Host, t.Permissions.String(), left.String(),
			t.LastUsed.Local().Format(time.TimeOnly), strconv.FormatInt(t.Uses, 10)})
	}
	if err := term.Table(w, tokens); err != nil {
		return err
	}
	if more := s.TokensHeld - len(s.Tokens); more > 0 {
		_, err := fmt.Fprintf(w, "and %d more\n", more)
		return err
	}
	return nil
}
