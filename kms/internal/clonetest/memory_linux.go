package clonetest

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// needles are the forms in which a part of a private key could lie in memory, or in a
// file: its numbers in either byte order and as text, and what is in the middle of its
// PEM.
func needles(key *rsa.PrivateKey) [][]byte {
	var forms [][]byte
	for _, n := range []*big.Int{key.Primes[0], key.Primes[1], key.D} {
		big := n.Bytes()
		little := slices.Clone(big)
		slices.Reverse(little)
		forms = append(forms, big[8:len(big)-8], little[8:len(little)-8], []byte(n.Text(10)), []byte(n.Text(16)))
	}
	text := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key))
	const line = 64
	for from := 9 * line; from+line <= len(text); from += line { // what is public of it comes first
		forms = append(forms, []byte(text[from:from+line]))
	}
	return forms
}

func contains(text []byte, forms [][]byte) bool {
	return slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(text, form) })
}

// search looks for a key in the memory of processes.
type search struct {
	t       *testing.T
	needles [][]byte
	stays   string // the directory of [Stay]

	mu  sync.Mutex
	had map[string]bool // by program: whether the key was in its memory, once
}

// staysVariable names the directory of [Stay], in the environment of a program.
const staysVariable = "CLONETEST_STAYS"

// Stay is for the end of a program in the place of ghapp-signer-kms: where a test searches
// memory, it returns when that of this process was searched. A program that signs is too soon
// over to be met by chance.
func Stay() {
	dir := os.Getenv(staysVariable)
	if dir == "" {
		return
	}
	path := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	if os.WriteFile(path, nil, 0o600) != nil {
		return
	}
	// Not for longer than who asks the program waits for its answer.
	const most = 8 * time.Second
	for until := time.Now().Add(most); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(path); err != nil {
			return
		}
	}
}

// everybody searches a process and all that it has started, or of them only those that
// run one program.
func (s *search) everybody(root int, only string) {
	if s.needles == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range family(root) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(line) == 0 {
			continue
		}
		program, _, _ := bytes.Cut(line, []byte{0})
		name := filepath.Base(string(program))
		if only != "" && name != only {
			continue
		}
		stays := filepath.Join(s.stays, strconv.Itoa(pid))
		_, atEnd := os.Stat(stays)
		if found, searched := s.process(pid); searched {
			s.had[name] = s.had[name] || found
			if atEnd == nil {
				_ = os.Remove(stays)
			}
		}
	}
}

// process reports whether the key is in the memory of a process, which may end or turn
// into another meanwhile.
func (s *search) process(pid int) (found, searched bool) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, false
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, false
	}
	defer memory.Close()
	read := 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil ||
			!strings.HasPrefix(mode, "rw") || to-from > 1<<30 {
			continue // what cannot be written holds no key
		}
		text, _ := io.ReadAll(io.NewSectionReader(memory, int64(from), int64(to-from)))
		read += len(text)
		found = found || contains(text, s.needles)
	}
	return found, read > 64<<10
}

// family is a process and all that come from it.
func family(root int) []int {
	parents := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[parent] = append(parents[parent], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, parents[all[i]]...)
	}
	return all
}
