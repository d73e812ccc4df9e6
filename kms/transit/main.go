// Command transit serves the transit secrets engine of HashiCorp Vault, its own code on
// an empty storage in memory, for the tests of ghapp-signer-kms. It asks for no token:
// the tests do, in front of it. It prints its address and ends with standard input.
//
// It is a module outside the workspace: Vault needs some hundred packages that nothing
// else here does, and it has a licence of its own (BUSL-1.1). Nothing of it is shipped.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/logical"
)

func main() {
	storage := &logical.InmemStorage{}
	engine, err := transit.Factory(context.Background(), &logical.BackendConfig{
		StorageView: storage, System: logical.TestSystemView(), Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, handler{engine, storage}))
}

// handler is the HTTP API, of which an engine sees operations, paths and data.
type handler struct {
	engine  logical.Backend
	storage logical.Storage
}

func (h handler) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	request := &logical.Request{ID: "1", Storage: h.storage, Path: strings.TrimPrefix(r.URL.Path, "/"),
		MountPoint: "transit/", Data: map[string]any{}}
	switch r.Method {
	case http.MethodGet:
		request.Operation = logical.ReadOperation
	case http.MethodPut, http.MethodPost:
		request.Operation = logical.UpdateOperation
		if err := json.NewDecoder(r.Body).Decode(&request.Data); err != nil {
			reply(out, http.StatusBadRequest, map[string]any{"errors": []string{"failed to parse JSON input: " + err.Error()}})
			return
		}
	default:
		reply(out, http.StatusMethodNotAllowed, map[string]any{"errors": []string{}})
		return
	}
	answer, err := h.engine.HandleRequest(r.Context(), request)
	if status, err := logical.RespondErrorCommon(request, answer, err); status != 0 {
		said := []string{}
		if err != nil {
			said = append(said, err.Error())
		}
		reply(out, status, map[string]any{"errors": said})
		return
	}
	if answer == nil {
		out.WriteHeader(http.StatusNoContent)
		return
	}
	reply(out, http.StatusOK, map[string]any{"data": answer.Data, "warnings": answer.Warnings})
}

func reply(out http.ResponseWriter, status int, answer any) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(answer)
}
