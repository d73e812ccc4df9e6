package engine

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkOpen is from nothing to ready, in this process.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		e, err := Open(b.Context(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		e.Close()
		b.StartTimer()
	}
}

// BenchmarkGet reads an entry as long as a token's is, sealed.
func BenchmarkGet(b *testing.B) {
	s := replica(b, "", calm).Store("1")
	put(b, s, keyOf("0a"), strings.Repeat("x", 900))
	for b.Loop() {
		if _, err := s.Get(b.Context(), keyOf("0a")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate writes an entry under its lock.
func BenchmarkUpdate(b *testing.B) {
	s := replica(b, "", calm).Store("1")
	n := 0
	for b.Loop() {
		n++
		value := []byte(strings.Repeat("x", 900) + strconv.Itoa(n))
		if err := s.Update(b.Context(), keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
			return value, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTake counts a caller's request against a limit of all replicas.
func BenchmarkTake(b *testing.B) {
	e := replica(b, "", calm)
	l := day("x", 1<<30)
	for b.Loop() {
		if _, ok := e.take(b.Context(), l); !ok {
			b.Fatal("nothing is left")
		}
	}
}

// BenchmarkResident is the memory of a process with an engine that has nothing to do; see RSS-MB.
func BenchmarkResident(b *testing.B) {
	e := replica(b, "")
	for b.Loop() {
		if err := e.beat(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(pages*os.Getpagesize())/1e6, "RSS-MB")
}
