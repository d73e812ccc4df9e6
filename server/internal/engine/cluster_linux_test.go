package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// node is a nats-server process of a cluster.
type node struct {
	program, config, log string
	in                   []string // what goes before the command, such as ip netns exec
	client               string   // the address for clients
	process              *exec.Cmd
}

// program builds nats-server, as go.mod requires it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nats-server")
	text, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); built.Load() && err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

var built atomic.Bool // whether the program was asked for

// newNode writes the configuration of a server, with addresses for clients and for the others.
func newNode(t testing.TB, name, client, routes string, others []string) *node {
	t.Helper()
	built.Store(true)
	path, err := program()
	testkit.OK(t, err)
	dir := t.TempDir()
	n := &node{program: path, config: filepath.Join(dir, "nats.conf"), log: filepath.Join(dir, "log"), client: client}
	testkit.OK(t, os.WriteFile(n.config, fmt.Appendf(nil, `
server_name: %s
listen: %q
jetstream { store_dir: %q, max_mem: 64MB, max_file: 64MB }
cluster { name: test, listen: %q, no_advertise: true, routes: [%s] }
`, name, client, filepath.Join(dir, "store"), routes, strings.Join(others, ", ")), 0o600))
	t.Cleanup(func() {
		n.end(syscall.SIGKILL)
		if t.Failed() {
			text, _ := os.ReadFile(n.log)
			t.Logf("%s: ...%s", name, text[max(len(text)-1500, 0):])
		}
	})
	return n
}

func (n *node) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	testkit.OK(t, err)
	defer log.Close()
	command := append(append([]string{}, n.in...), n.program, "-c", n.config)
	n.process = exec.Command(command[0], command[1:]...)
	n.process.Stdout, n.process.Stderr = log, log
	testkit.OK(t, n.process.Start())
}

func (n *node) end(signal syscall.Signal) {
	if n.process != nil {
		_ = n.process.Process.Signal(signal)
		_ = n.process.Wait()
		n.process = nil
	}
}

// freePorts are ports of this machine's that nobody listens on.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.OK(t, err)
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// cluster starts three servers on this machine.
func cluster(t testing.TB) (nodes []*node, urls string) {
	t.Helper()
	ports := freePorts(t, 6)
	var routes, clients []string
	for i := range 3 {
		routes = append(routes, "nats://127.0.0.1:"+ports[3+i])
		clients = append(clients, "nats://127.0.0.1:"+ports[i])
	}
	for i := range 3 {
		n := newNode(t, fmt.Sprintf("n%d", i), "127.0.0.1:"+ports[i], "127.0.0.1:"+ports[3+i], routes)
		n.start(t)
		nodes = append(nodes, n)
	}
	return nodes, strings.Join(clients, ",")
}

// ready waits until every server has a copy of everything.
func ready(t testing.TB, all []*Engine) {
	t.Helper()
	for i, e := range all {
		until(t, fmt.Sprintf("replica %d finds all copies current", i), func() bool { return e.Ready(t.Context()) == nil })
	}
}

// load updates entries on all replicas without a pause until it is stopped. Each is to get its value,
// from the engine or by itself, and never another's.
func load(t *testing.T, all []*Engine) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	var group sync.WaitGroup
	var updates atomic.Int64
	for i, e := range all {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				case <-time.After(10 * time.Millisecond):
				}
				key := keyOf(strconv.Itoa(50 + n%20))
				got := ""
				_ = e.Store("1").Update(t.Context(), key, func(_ context.Context, old []byte) ([]byte, error) {
					if got = string(old); got == "" || n%10 == 0 {
						got = "value of " + key
					}
					return []byte(got), nil
				})
				if got != "value of "+key {
					t.Errorf("replica %d gets %q for %s", i, got, key)
				}
				updates.Add(1)
			}
		})
	}
	return func() {
		close(end)
		group.Wait()
		if updates.Load() == 0 {
			t.Error("nothing was updated meanwhile")
		}
	}
}

// TestClusterLosesNothingWhileItsServersRestart is for a rolling restart that waits for all copies, by
// SIGTERM and by kill -9, and for the death of all at once.
func TestClusterLosesNothingWhileItsServersRestart(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	nodes, urls := cluster(t)
	one := func(o *Options) { o.Patience = time.Second }
	all := []*Engine{replica(t, urls, one), replica(t, urls, one), replica(t, urls, one)}
	ready(t, all)
	u := use("a", "acme/site")
	_, err := all[0].Give(t.Context(), Target{Identity: u.Identity}, false, "")
	testkit.OK(t, err)
	const many = 30
	entry := func(i int) (string, string) { return keyOf(strconv.Itoa(10 + i)), fmt.Sprintf("token %d", i) }
	for i := range many {
		key, value := entry(i)
		put(t, all[i%3].Store("kept"), key, value)
	}
	kept := func(when string) {
		t.Helper()
		for i := range many {
			key, value := entry(i)
			until(t, when+" the token is there", func() bool {
				got, err := all[i%3].Store("kept").Get(t.Context(), key)
				return err == nil && string(got) == value
			})
		}
		for _, e := range all {
			testkit.Fails(t, e.Held(u), when)
		}
	}
	stop := load(t, all)
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		n := nodes[i]
		n.end(signal)
		time.Sleep(100 * time.Millisecond)
		n.start(t)
		ready(t, all)
		kept(fmt.Sprintf("after restart %d, by %v", i, signal))
	}
	for _, n := range nodes {
		n.end(syscall.SIGKILL)
	}
	time.Sleep(100 * time.Millisecond)
	for _, n := range nodes {
		n.start(t)
	}
	ready(t, all)
	stop()
	// What is in memory is gone, and what was ordered is not: a replica that starts now has it from
	// the servers' disks.
	for _, e := range all {
		e.Close()
	}
	last := replica(t, urls, one)
	held(t, last, u, true)
	until(t, "tokens are shared again", func() bool {
		return last.Store("1").Update(t.Context(), keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
			return []byte("new"), nil
		}) == nil
	})
	holds(t, last.Store("1"), keyOf("0a"), "new")
}

// namespaces makes three network namespaces with a link to this one and links to each other, and
// returns them. Where that is not possible the test is skipped, but under CI.
func namespaces(t testing.TB) (names []string, cut func(i, j int, state string)) {
	t.Helper()
	id := os.Getpid() % 10000
	run := func(args ...string) error {
		text, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, text)
		}
		return nil
	}
	must := func(args ...string) {
		t.Helper()
		testkit.OK(t, run(args...))
	}
	for i := range 3 {
		name := fmt.Sprintf("ghapp-%d-%d", id, i)
		if err := run("netns", "add", name); err != nil {
			if os.Getenv("CI") != "" && os.Geteuid() == 0 {
				t.Fatal(err)
			}
			t.Skip("no network namespaces can be made here, so there is no partition to be seen:", err)
		}
		t.Cleanup(func() { _ = run("netns", "del", name) })
		names = append(names, name)
		must("-n", name, "link", "set", "lo", "up")
		host, inside := fmt.Sprintf("gh%dh%d", id, i), fmt.Sprintf("gh%dc%d", id, i)
		must("link", "add", host, "type", "veth", "peer", "name", inside, "netns", name)
		must("addr", "add", fmt.Sprintf("169.254.%d.1/30", 100+i), "dev", host)
		must("link", "set", host, "up")
		must("-n", name, "addr", "add", fmt.Sprintf("169.254.%d.2/30", 100+i), "dev", inside)
		must("-n", name, "link", "set", inside, "up")
	}
	pair := func(i, j int) string { return fmt.Sprintf("p%d%d", i, j) }
	for _, p := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		i, j := p[0], p[1]
		must("-n", names[i], "link", "add", pair(i, j), "type", "veth", "peer", "name", pair(j, i), "netns", names[j])
		for _, end := range [][2]int{{i, j}, {j, i}} {
			address := fmt.Sprintf("10.%d.%d.%d/24", 200+min(i, j), 200+max(i, j), 1+end[0])
			must("-n", names[end[0]], "addr", "add", address, "dev", pair(end[0], end[1]))
			must("-n", names[end[0]], "link", "set", pair(end[0], end[1]), "up")
		}
	}
	return names, func(i, j int, state string) { must("-n", names[i], "link", "set", pair(i, j), state) }
}

// TestPartitionWidensNothingAndEndsByItself splits one server of three, and the replica that reaches
// no other, off.
func TestPartitionWidensNothingAndEndsByItself(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	names, link := namespaces(t)
	var all []*Engine
	for i, name := range names {
		var routes []string
		for j := range names {
			if j != i {
				routes = append(routes, fmt.Sprintf("nats://10.%d.%d.%d:6222", 200+min(i, j), 200+max(i, j), 1+j))
			}
		}
		n := newNode(t, name, "0.0.0.0:4222", "0.0.0.0:6222", routes)
		n.in = []string{"ip", "netns", "exec", name}
		n.start(t)
	}
	for i := range names {
		// A name for the address, since what is not on this machine is to be spoken to by TLS.
		way := newLink(t, fmt.Sprintf("169.254.%d.2:4222", 100+i))
		all = append(all, replica(t, way.url(), func(o *Options) { o.Patience = time.Second }))
	}
	ready(t, all)
	for _, e := range all {
		until(t, "all know each other", func() bool { return e.beat(t.Context()) == nil && e.others.present() == 3 })
	}
	put(t, all[0].Store("1"), keyOf("0a"), "before")
	majority, minority := all[:2], all[2]

	link(2, 0, "down")
	link(2, 1, "down")
	until(t, "the minority is away", func() bool {
		_ = minority.Store("1").Update(t.Context(), keyOf("1b"), func(context.Context, []byte) ([]byte, error) {
			return []byte("alone"), nil
		})
		return minority.away.Load() != nil
	})
	until(t, "the majority goes on without it", func() bool {
		for _, e := range majority {
			if e.beat(t.Context()) != nil || e.others.present() != 2 {
				return false
			}
		}
		return true
	})
	testkit.Equal(t, mintsOf(t, minority, 5), 5, "of the minority")
	put(t, majority[1].Store("1"), keyOf("0a"), "meanwhile")
	u := use("a", "acme/site")
	_, err := majority[0].Give(t.Context(), Target{Rule: u.Rule}, false, "")
	testkit.OK(t, err)
	if got := takeAll(t, day("split", 90), all...); got > 90 {
		t.Errorf("both sides take %d of 90", got)
	}

	link(2, 0, "up")
	link(2, 1, "up")
	ready(t, all)
	holds(t, minority.Store("1"), keyOf("0a"), "meanwhile")
	held(t, minority, u, true)
}
