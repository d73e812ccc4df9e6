package githubtest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/githubtest"
)

// A private repository, an App that may read it, and the requests a client made.
func Example() {
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gh.Close()
	server := httptest.NewServer(gh)
	defer server.Close()

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	app := gh.AddApp(githubtest.AppOptions{Permissions: map[string]string{"contents": "read"}})
	app.AddKey(&key.PublicKey)
	repo := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	if _, err := repo.Commit("main", "first", map[string]string{"index.html": "hello\n"}); err != nil {
		log.Fatal(err)
	}
	app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})

	// What is under test would clone server.URL + "/acme/site" with a token it minted. This one has none.
	cmd := exec.Command("git", "ls-remote", server.URL+"/acme/site")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(os.TempDir(), "nowhere"),
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",
	}
	if err := cmd.Run(); err == nil {
		log.Fatal("a private repository was read without a token")
	}
	for _, r := range gh.Requests() {
		fmt.Println(r.Method, r.Path, r.Status)
	}
	// Output:
	// GET /acme/site/info/refs 401
}

// Faults make GitHub behave as it does on a bad day.
func ExampleGitHub_Fault() {
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gh.Close()
	if err := gh.Fault(githubtest.Fault{Match: "GET /meta", Status: http.StatusBadGateway, Times: 1}); err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: gh.RoundTripper()}
	for range 2 {
		res, err := client.Get("https://api.github.com/meta")
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
		fmt.Println(res.Status)
	}
	// Output:
	// 502 Bad Gateway
	// 200 OK
}
