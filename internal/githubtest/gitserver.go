package githubtest

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// GitServer is a git service that says what it is told to, be it true or not: a host that is broken, or means harm. It
// is an [http.Handler], by itself or as the Handler of a [Fault] on the paths of one repository, and asks for no
// credential. The zero value serves one branch with one commit. What it is may be changed while nobody asks.
// https://git-scm.com/docs/protocol-v2 and https://git-scm.com/docs/pack-protocol
type GitServer struct {
	Format  string // of the names of objects; default "sha1", or "sha256"
	Version int    // the newest of the protocol that it knows: 2, 1, or Oldest; default 2

	// Refs are told in this order; default HEAD, which points to refs/heads/main, and that, at the last commit of
	// History(Format, 1).
	Refs iter.Seq[GitRef]

	// Unfiltered tells all refs, whatever prefixes are asked for.
	Unfiltered bool

	// Pack is sent whatever is wanted; default [Pack] of History(Format, 1).
	Pack PackSource

	// Sections are sent before the pack by version 2, each with its lines and a delimiter, such as "shallow-info" or
	// "packfile-uris".
	Sections [][]string

	Progress iter.Seq[string] // sent before the pack, on band 2
	Fatal    string           // sent after the pack, on band 3, in place of the end

	// Errors are ERR lines in place of the answers to "info/refs", "ls-refs" and "fetch".
	Errors map[string]string

	mu    sync.Mutex
	asked [][]string
}

// Oldest is version 0 of git's protocol.
const Oldest = -1

// GitRef is what a [GitServer] tells of a ref, in whatever words.
type GitRef struct {
	Name   string
	ID     string // "unborn" for a HEAD without a commit
	Peeled string // what a tag with a message is of; may be ""
	Target string // of a symbolic ref; may be ""
}

// Asked are the lines of each request that was posted, oldest first; "" stands for a delimiter or a flush.
func (s *GitServer) Asked() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// ServeHTTP answers a request of git's smart HTTP protocol.
func (s *GitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &pktWriter{w: bufio.NewWriterSize(w, 1<<16), controller: http.NewResponseController(w)}
	w.Header().Set("Cache-Control", "no-cache")
	var err error
	switch {
	case strings.HasSuffix(r.URL.Path, "/"+discovery):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		s.advertise(p, r)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/"+uploadPack):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		err = s.command(p, r)
	default:
		http.NotFound(w, r)
		return
	}
	if p.flushOut(); err != nil && !errors.Is(err, ErrEnd) {
		panic(http.ErrAbortHandler)
	}
}

// version is the one that is spoken with a client.
func (s *GitServer) version(r *http.Request) int {
	known := cmp.Or(s.Version, 2)
	for _, v := range []int{2, 1} {
		if known >= v && strings.Contains(r.Header.Get("Git-Protocol"), "version="+strconv.Itoa(v)) {
			return v
		}
	}
	return 0
}

func (s *GitServer) format() string { return cmp.Or(s.Format, "sha1") }

func (s *GitServer) refs() iter.Seq[GitRef] {
	if s.Refs != nil {
		return s.Refs
	}
	history := History(s.format(), 1)
	tip := history[len(history)-1].ID(s.format())
	return slices.Values([]GitRef{{Name: "HEAD", ID: tip, Target: "refs/heads/main"}, {Name: "refs/heads/main", ID: tip}})
}

func (s *GitServer) advertise(p *pktWriter, r *http.Request) {
	version := s.version(r)
	if text := s.Errors[discovery]; text != "" {
		p.line("ERR " + text)
		return
	}
	if version == 2 {
		for _, line := range []string{"version 2", "agent=git/githubtest", "ls-refs=unborn",
			"fetch=shallow wait-for-done filter", "server-option", "object-format=" + s.format()} {
			p.line(line)
		}
		p.mark(flush)
		return
	}
	p.line("# service=git-upload-pack")
	if p.mark(flush); version == 1 {
		p.line("version 1")
	}
	capabilities := "\x00multi_ack_detailed no-done side-band-64k thin-pack ofs-delta include-tag " +
		"allow-tip-sha1-in-want allow-reachable-sha1-in-want object-format=" + s.format()
	for ref := range s.refs() {
		if ref.ID == "unborn" {
			continue
		}
		if ref.Target != "" && capabilities != "" {
			capabilities += " symref=" + ref.Name + ":" + ref.Target
		}
		p.line(ref.ID + " " + ref.Name + capabilities)
		if capabilities = ""; ref.Peeled != "" {
			p.line(ref.Peeled + " " + ref.Name + "^{}")
		}
		if p.err != nil {
			return
		}
	}
	if capabilities != "" {
		p.line(strings.Repeat("0", 2*newHash(s.format()).Size()) + " capabilities^{}" + capabilities)
	}
	p.mark(flush)
}

// command answers what is posted: a command of version 2, or the wants of the older ones.
func (s *GitServer) command(p *pktWriter, r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	lines, err := readPkts(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.asked = append(s.asked, lines)
	s.mu.Unlock()
	switch {
	case s.version(r) != 2:
		return s.fetchOld(p, r, lines)
	case slices.Contains(lines, "command=ls-refs"):
		return s.lsRefs(p, lines)
	case slices.Contains(lines, "command=fetch"):
		return s.fetch(p, r, lines)
	}
	p.line("ERR unknown command")
	return nil
}

func (s *GitServer) lsRefs(p *pktWriter, lines []string) error {
	if text := s.Errors["ls-refs"]; text != "" {
		p.line("ERR " + text)
		return nil
	}
	var prefixes []string
	for _, line := range lines {
		if prefix, ok := strings.CutPrefix(line, "ref-prefix "); ok && !s.Unfiltered {
			prefixes = append(prefixes, prefix)
		}
	}
	for ref := range s.refs() {
		asked := func(prefix string) bool { return strings.HasPrefix(ref.Name, prefix) }
		if prefixes != nil && !slices.ContainsFunc(prefixes, asked) {
			continue
		}
		line := ref.ID + " " + ref.Name
		if ref.Target != "" {
			line += " symref-target:" + ref.Target
		}
		if ref.Peeled != "" {
			line += " peeled:" + ref.Peeled
		}
		if p.line(line); p.err != nil {
			return p.err
		}
	}
	p.mark(flush)
	return p.err
}

func (s *GitServer) fetch(p *pktWriter, r *http.Request, lines []string) error {
	if text := s.Errors["fetch"]; text != "" {
		p.line("ERR " + text)
		return nil
	}
	if !slices.Contains(lines, "done") {
		p.line("acknowledgments")
		p.line("NAK")
		p.mark(flush)
		return p.err
	}
	for _, section := range s.Sections {
		for _, line := range section {
			p.line(line)
		}
		p.mark(delimiter)
	}
	p.line("packfile")
	return s.bands(p, r)
}

// fetchOld answers as the versions before 2.
func (s *GitServer) fetchOld(p *pktWriter, r *http.Request, lines []string) error {
	if text := s.Errors["fetch"]; text != "" {
		p.line("ERR " + text)
		return nil
	}
	p.line("NAK")
	if !slices.Contains(lines, "done") {
		return p.err
	}
	if strings.Contains(lines[0], "side-band-64k") {
		return s.bands(p, r)
	}
	return s.pack()(r.Context(), p.w)
}

func (s *GitServer) pack() PackSource {
	if s.Pack != nil {
		return s.Pack
	}
	return Pack(s.format(), History(s.format(), 1)...)
}

// bands sends the pack, and what is said beside it.
func (s *GitServer) bands(p *pktWriter, r *http.Request) error {
	if s.Progress != nil {
		for text := range s.Progress {
			if p.band(2, []byte(text)); p.err != nil {
				return p.err
			}
		}
	}
	if err := s.pack()(r.Context(), bandWriter{p}); err != nil {
		return err
	}
	if s.Fatal != "" {
		p.band(3, []byte(s.Fatal))
		return p.err
	}
	p.mark(flush)
	return p.err
}

// The lines that are not any. https://git-scm.com/docs/gitprotocol-common
const (
	flush     = "0000"
	delimiter = "0001"
	maxPkt    = 65520
)

// pktWriter writes pkt-lines.
type pktWriter struct {
	w          *bufio.Writer
	controller *http.ResponseController
	err        error
}

func (p *pktWriter) raw(head string, text ...[]byte) {
	_, err := p.w.WriteString(head)
	for _, t := range text {
		if err == nil {
			_, err = p.w.Write(t)
		}
	}
	p.err = cmp.Or(p.err, err)
}

func (p *pktWriter) line(text string) { p.raw(fmt.Sprintf("%04x%s\n", len(text)+5, text)) }

func (p *pktWriter) mark(mark string) { p.raw(mark) }

func (p *pktWriter) band(n byte, text []byte) { p.raw(fmt.Sprintf("%04x%c", len(text)+5, n), text) }

func (p *pktWriter) flushOut() {
	p.err = cmp.Or(p.err, p.w.Flush())
	_ = p.controller.Flush() // what is in memory alone has none
}

// bandWriter writes to band 1.
type bandWriter struct{ p *pktWriter }

func (b bandWriter) Write(text []byte) (n int, err error) {
	for part := range slices.Chunk(text, maxPkt-5) {
		b.p.band(1, part)
		n += len(part)
	}
	b.p.flushOut()
	return n, b.p.err
}

// readPkts reads pkt-lines to their end.
func readPkts(r io.Reader) ([]string, error) {
	in, list := bufio.NewReader(r), []string(nil)
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(in, head); err != nil {
			if errors.Is(err, io.EOF) {
				return list, nil
			}
			return nil, err
		}
		n, err := strconv.ParseUint(string(head), 16, 16)
		if err != nil {
			return nil, err
		}
		text := make([]byte, max(n, 4)-4)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		list = append(list, strings.TrimSuffix(string(text), "\n"))
	}
}
