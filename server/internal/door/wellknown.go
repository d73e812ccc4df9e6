package door

import (
	"encoding/json"
	"net/http"
)

// wellKnown is what a client needs to know before it can prove anything.
func wellKnown(c Config) []byte {
	issuers := c.Issuers
	if issuers == nil {
		issuers = []string{}
	}
	body, err := json.Marshal(struct {
		Audience string   `json:"audience"`
		Issuers  []string `json:"issuers"`
		Version  string   `json:"version"`
	}{c.Audience, issuers, c.Version})
	if err != nil {
		panic(err)
	}
	return body
}

// serveWellKnown answers GET /.well-known/ghapp.
func (d *Door) serveWellKnown(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(d.wellKnown)
}
