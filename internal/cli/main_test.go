package cli_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/cli"
	"github.com/ghapp-dev/ghapp/internal/demo"
	"github.com/ghapp-dev/ghapp/internal/tracer"
)

// coverVariable names the directory in which programs that are built for it leave what of
// them was reached (make cover).
const coverVariable = "GHAPP_TEST_COVER"

// binaries is where [build] puts ghapp and git-credential-ghapp, as users get them.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if part := os.Getenv(signerPart); part != "" {
		return playSigner(part)
	}
	if program := os.Getenv(tracedVariable); program != "" {
		return becomeTraced(program)
	}
	dir, err := os.MkdirTemp("", "ghapp-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	flag.Parse()
	if signal.Ignored(os.Interrupt) || signal.Ignored(syscall.SIGHUP) {
		// The programs that the tests interrupt would have it ignored from them.
		signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGHUP)
	}
	if err := moreParallel(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// tracedVariable names a program that this one is to become, under a tracer.
const tracedVariable = "GHAPP_TEST_TRACED"

// becomeTraced becomes a program, in the directory and with the environment that it has.
func becomeTraced(program string) int {
	err := tracer.Ask()
	if err == nil {
		err = os.Chdir(os.Getenv("PWD"))
	}
	if err == nil {
		args := strings.Fields(os.Getenv(tracedVariable + "_ARGS"))
		err = syscall.Exec(program, append([]string{program}, args...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// moreParallel lets more tests run at once than there are processors, unless the
// command line says how many: most of the time they wait for a program.
func moreParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
}

// build makes the programs.
//
// go test gives an old result again while neither this program nor a file that it
// has read is another, and does not know what a program that it starts depends on. So
// the code of both programs is linked here too, and the directories of what is not in
// packages are read.
var build = sync.OnceValue(func() error {
	runtime.KeepAlive(cli.Main)
	runtime.KeepAlive(demo.Run)
	sources := []string{"../../cmd/ghapp", "../../cmd/git-credential-ghapp"}
	for _, dir := range sources {
		if _, err := os.ReadDir(dir); err != nil {
			return err
		}
	}
	args := []string{"build", "-o", binaries + string(filepath.Separator)}
	if os.Getenv(coverVariable) != "" {
		args = append(args, "-cover", "-coverpkg=github.com/ghapp-dev/ghapp/...")
	}
	build := exec.Command("go", append(args, sources...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, output)
	}
	return nil
})
