package githubtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The git-lfs API: batch, verification of locks, and the store of objects the batch links to. The links are signed and
// need no credential, as those to GitHub's store. https://github.com/git-lfs/git-lfs/tree/main/docs/api

const (
	lfsPrefix     = "info/lfs/"
	lfsBatch      = "info/lfs/objects/batch"
	lfsLocks      = "info/lfs/locks/verify"
	lfsObject     = "info/lfs/objects/"
	lfsVerify     = "info/lfs/verify/"
	lfsMediaType  = "application/vnd.git-lfs+json"
	lfsLinkLife   = time.Hour
	lfsNoObject   = "Object does not exist on the server or you don't have permissions to access it"
	lfsNoLocks    = "You must have push access to verify locks"
	lfsTwoMeans   = "Only one auth mechanism allowed"
	lfsBadRequest = "Unable to parse LFS request"
	lfsBadObject  = "The object does not match its oid or its size"
)

func (g gitRoute) lfs() bool { return strings.HasPrefix(g.rest, lfsPrefix) }

// object reports whether the path is that of an object's content.
func (g gitRoute) object() bool { return strings.HasPrefix(g.rest, lfsObject) && g.rest != lfsBatch }

// AddObject stores an object for git-lfs and returns the text of the pointer file that stands for it in a commit.
func (r *Repository) AddObject(content string) (pointer string) {
	sum := sha256.Sum256([]byte(content))
	oid := hex.EncodeToString(sum[:])
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	r.keep(oid, []byte(content))
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(content))
}

// Object returns the object with this SHA-256 in hex that git-lfs has uploaded, or [Repository.AddObject] stored.
func (r *Repository) Object(oid string) (content string, ok bool) {
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	text, ok := r.objects[oid]
	return string(text), ok
}

func (r *Repository) keep(oid string, content []byte) {
	if r.objects == nil {
		r.objects = map[string][]byte{}
	}
	r.objects[oid] = content
}

func (gh *GitHub) serveLFS(w http.ResponseWriter, r *http.Request, g gitRoute, body []byte) {
	var a answer
	verify, isVerify := strings.CutPrefix(g.rest, lfsVerify)
	switch {
	case r.Method == http.MethodPost && g.rest == lfsBatch:
		a = gh.batch(r, g, body)
	case r.Method == http.MethodPost && g.rest == lfsLocks:
		a = gh.verifyLocks(r, g)
	case r.Method == http.MethodPost && isVerify:
		a = gh.verifyObject(r, g, verify)
	case r.Method == http.MethodGet && g.object():
		a = gh.download(r, g)
	case r.Method == http.MethodPut && g.object():
		a = gh.upload(r, g)
	default:
		a = lfsError(http.StatusNotFound, "Not Found")
	}
	if w.Header().Set("Content-Type", lfsMediaType); a.body == nil {
		w.Header().Del("Content-Type")
	}
	if _, isObject := a.body.(string); isObject {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	gh.date(w.Header())
	gh.write(w, r, a)
}

func lfsError(status int, message string) answer {
	a := answer{status: status, header: http.Header{}, body: map[string]any{
		"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	}}
	if status == http.StatusUnauthorized {
		a.header.Set("LFS-Authenticate", gitChallenge)
		a.header.Set("WWW-Authenticate", gitChallenge)
	}
	return a
}

// lfs says a refusal the way the LFS endpoints do, and denied in it for want of a permission.
func (no *refusal) lfs(denied string) answer {
	message := no.message
	switch {
	case no.status == http.StatusUnauthorized:
		message = badCredentials
	case no.status == http.StatusNotFound:
		message = "Not Found"
	case no.lacking:
		message = denied
	}
	return lfsError(no.status, message)
}

type lfsItem struct {
	OID  string `json:"oid"`
	Size int64  `json:"size"`
}

// batch answers with links to the objects asked for.
func (gh *GitHub) batch(r *http.Request, g gitRoute, body []byte) answer {
	var asked struct {
		Operation string    `json:"operation"`
		Objects   []lfsItem `json:"objects"`
	}
	upload := json.Unmarshal(body, &asked) == nil && asked.Operation == "upload"
	repo, _, no := gh.admit(r, g, upload)
	if no != nil {
		return no.lfs(notAccessible)
	}
	if !upload && asked.Operation != "download" {
		return lfsError(http.StatusUnprocessableEntity, lfsBadRequest)
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	objects := make([]any, len(asked.Objects))
	for i, item := range asked.Objects {
		_, stored := repo.objects[item.OID]
		object := map[string]any{"oid": item.OID, "size": item.Size, "authenticated": true}
		switch {
		case upload && !stored:
			object["actions"] = map[string]any{
				"upload": gh.link(r, repo, http.MethodPut, lfsObject+item.OID),
				"verify": gh.link(r, repo, http.MethodPost, lfsVerify+item.OID),
			}
		case !upload && stored:
			object["actions"] = map[string]any{"download": gh.link(r, repo, http.MethodGet, lfsObject+item.OID)}
		case !upload:
			object["error"] = map[string]any{"code": http.StatusNotFound, "message": lfsNoObject}
		}
		objects[i] = object
	}
	return answer{status: http.StatusOK, body: map[string]any{"transfer": "basic", "objects": objects}}
}

// verifyLocks answers the question git-lfs asks before a push: there are no locks.
func (gh *GitHub) verifyLocks(r *http.Request, g gitRoute) answer {
	if _, _, no := gh.admit(r, g, true); no != nil {
		return no.lfs(lfsNoLocks)
	}
	return answer{status: http.StatusOK, body: map[string]any{"ours": []any{}, "theirs": []any{}}}
}

// link is a signed link to what lies at a path below a repository.
func (gh *GitHub) link(r *http.Request, repo *Repository, method, rest string) map[string]any {
	base := gh.storage
	if base == "" {
		base = origin(r)
	}
	expires := gh.now().Add(lfsLinkLife).Truncate(time.Second)
	query := url.Values{"expires": {strconv.FormatInt(expires.Unix(), 10)}}
	query.Set("signature", gh.sign(repo, method, rest, query.Get("expires")))
	return map[string]any{
		"href":       base + "/" + repo.fullName() + ".git/" + rest + "?" + query.Encode(),
		"expires_at": timestamp(expires),
		"expires_in": int(lfsLinkLife / time.Second),
	}
}

func (gh *GitHub) sign(repo *Repository, method, rest, expires string) string {
	mac := hmac.New(sha256.New, gh.key)
	fmt.Fprintf(mac, "%d\n%s\n%s\n%s", repo.ID, method, rest, expires)
	return hex.EncodeToString(mac.Sum(nil))
}

// follow finds the repository of a signed link. A credential besides the signature is refused, as object stores do.
func (gh *GitHub) follow(r *http.Request, g gitRoute) (*Repository, *answer) {
	if r.Header.Get("Authorization") != "" {
		a := lfsError(http.StatusBadRequest, lfsTwoMeans)
		return nil, &a
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	repo, wiki, _ := gh.findGit(g.owner, g.repo)
	if wiki && repo != nil {
		repo = repo.wiki
	}
	query := r.URL.Query()
	expires, _ := strconv.ParseInt(query.Get("expires"), 10, 64)
	if repo == nil || gh.now().Unix() >= expires ||
		!hmac.Equal([]byte(query.Get("signature")), []byte(gh.sign(repo, r.Method, g.rest, query.Get("expires")))) {
		a := lfsError(http.StatusForbidden, "Forbidden")
		return nil, &a
	}
	return repo, nil
}

func (gh *GitHub) download(r *http.Request, g gitRoute) answer {
	repo, no := gh.follow(r, g)
	if no != nil {
		return *no
	}
	content, ok := repo.Object(strings.TrimPrefix(g.rest, lfsObject))
	if !ok {
		return lfsError(http.StatusNotFound, lfsNoObject)
	}
	return answer{status: http.StatusOK, body: content}
}

func (gh *GitHub) upload(r *http.Request, g gitRoute) answer {
	repo, no := gh.follow(r, g)
	if no != nil {
		return *no
	}
	content, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(content)
	oid := hex.EncodeToString(sum[:])
	if err != nil || oid != strings.TrimPrefix(g.rest, lfsObject) {
		return lfsError(http.StatusUnprocessableEntity, lfsBadObject)
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	repo.keep(oid, content)
	return answer{status: http.StatusOK}
}

// verifyObject answers whether an upload has arrived whole.
func (gh *GitHub) verifyObject(r *http.Request, g gitRoute, oid string) answer {
	repo, no := gh.follow(r, g)
	if no != nil {
		return *no
	}
	var item lfsItem
	content, ok := repo.Object(oid)
	if json.NewDecoder(r.Body).Decode(&item) != nil || item.OID != oid || !ok {
		return lfsError(http.StatusNotFound, lfsNoObject)
	}
	if int64(len(content)) != item.Size {
		return lfsError(http.StatusUnprocessableEntity, lfsBadObject)
	}
	return answer{status: http.StatusOK, body: map[string]any{}}
}
