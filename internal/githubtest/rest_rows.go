package githubtest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Rows are the bodies of repositories in a listing. An installation of a hundred thousand has half a gigabyte of them,
// nearly all of it addresses that differ in a name: they are made once for all repositories of a page that are alike.

// rowPart stands in a row for what is a repository's own.
var rowPart = regexp.MustCompile(`@(?:name|node|created|pushed)@|` + partID + `|` + partSize)

const (
	partID   = "9007199254740001"
	partSize = "9007199254740002"
)

// alike is what the rows are alike of that differ in their parts alone.
type alike struct {
	owner   *Account
	push    bool
	options string
}

// row is what is around the parts, which are one fewer.
type row struct {
	around [][]byte
	parts  []string
}

// appendRows adds the rows of repositories, as the token sees them.
func (c *call) appendRows(text []byte, list []*Repository) []byte {
	made := map[alike]row{}
	for i, r := range list {
		if i > 0 {
			text = append(text, ',')
		}
		o := r.options
		o.SizeKB, o.PushedAt = 0, time.Time{}
		key := alike{r.owner, c.token.mayPush(r), fmt.Sprintf("%#v", o)}
		alikes, ok := made[key]
		if !ok && !rowPart.MatchString(key.options) {
			alikes = c.newRow(r)
		}
		made[key] = alikes
		if alikes.around == nil || strings.ContainsFunc(r.name, inWords) {
			text = append(text, encode(c.repositoryBody(r, c.token))...)
			continue
		}
		text = alikes.appendTo(text, r)
	}
	return text
}

// inWords reports whether a character stands in JSON in other words than its own.
func inWords(c rune) bool { return c < ' ' || c == '"' || c == '\\' || c > '~' }

// newRow is that of repositories like this one.
func (c *call) newRow(r *Repository) row {
	body := c.repositoryBody(&Repository{gh: r.gh, owner: r.owner, name: "@name@", options: r.options}, c.token)
	id, _ := strconv.Atoi(partID)
	body["id"], body["node_id"], body["size"] = id, "@node@", id+1
	body["created_at"], body["updated_at"], body["pushed_at"] = "@created@", "@pushed@", "@pushed@"
	body["permissions"] = permissions(c.token, r)
	text := encode(body)
	var made row
	from := 0
	for _, at := range rowPart.FindAllIndex(text, -1) {
		made.around = append(made.around, text[from:at[0]])
		made.parts = append(made.parts, string(text[at[0]:at[1]]))
		from = at[1]
	}
	made.around = append(made.around, text[from:])
	return made
}

func (w row) appendTo(text []byte, r *Repository) []byte {
	parts := map[string]string{
		"@name@": r.name, "@node@": nodeID("R", r.ID), "@created@": timestamp(r.created), "@pushed@": timestamp(r.pushed),
		partID: strconv.FormatInt(r.ID, 10), partSize: strconv.FormatInt(r.sizeKB(), 10),
	}
	for i, part := range w.parts {
		text = append(append(text, w.around[i]...), parts[part]...)
	}
	return append(text, w.around[len(w.parts)]...)
}
