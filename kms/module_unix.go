//go:build cgo && unix

package kms

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// loadable returns NULL if the library is a PKCS#11 module, and else why not. It stays
// loaded, since it is wanted next.
static const char *loadable(const char *path) {
	void *library = dlopen(path, RTLD_LAZY);
	if (library == NULL) {
		return dlerror();
	}
	unsigned long (*list)(void **) = (unsigned long (*)(void **))dlsym(library, "C_GetFunctionList");
	if (list == NULL) {
		return "it is no PKCS#11 module: it has no C_GetFunctionList";
	}
	void *functions = NULL;
	if (list(&functions) != 0 || functions == NULL) {
		return "it is no PKCS#11 module: C_GetFunctionList gives nothing";
	}
	return NULL;
}

static int last_fd = 1;
static char last_words[1024];

// crashed may use only what signal-safety(7) lists.
static void crashed(int number) {
	size_t length = strlen(last_words);
	_exit(write(last_fd, last_words, length) == (ssize_t)length ? 1 : 2);
}

// keep_stdout gives the number of a descriptor that has standard output from now on, and
// standard output to whom standard error is.
static int keep_stdout(void) {
	int fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0 && dup2(2, 1) >= 0) {
		last_fd = fd;
	}
	return last_fd;
}

static void on_crash(const char *words) {
	snprintf(last_words, sizeof last_words, "%s", words);
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = crashed;
	action.sa_flags = SA_ONSTACK; // the stack of goroutines is too small (package os/signal)
	sigfillset(&action.sa_mask);
	int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		sigaction(numbers[i], &action, NULL);
	}
}
*/
import "C"

import (
	"encoding/json"
	"errors"
	"os"
	"unsafe"

	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// loadModule loads a library, or says why it is no PKCS#11 module.
func loadModule(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if reason := C.loadable(name); reason != nil {
		return errors.New(C.GoString(reason))
	}
	return nil
}

// guard has an answer of the protocol written if this process crashes from here on: what a
// module of somebody else's does to it is told in one line, and not by a dump of registers.
func guard(message string) {
	answer, err := json.Marshal(execsigner.Response{Version: execsigner.ProtocolVersion,
		Error: &execsigner.Failure{Kind: "failed", Message: message}})
	if err != nil {
		return // a string is always JSON
	}
	text := C.CString(string(answer) + "\n")
	defer C.free(unsafe.Pointer(text))
	C.on_crash(text)
}

// Stdout returns the standard output of this process. From here on it is nobody else's:
// what a module of somebody else's prints goes to standard error.
func Stdout() *os.File { return os.NewFile(uintptr(C.keep_stdout()), "/dev/stdout") }
