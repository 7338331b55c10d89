// A registry in memory that supports all of pulling and content discovery, on a port of the system's choice, which it prints.
// It ends with its standard input, so that it outlives nobody who started it.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

func main() {
	yes := true
	registry := olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem, GC: config.ConfigGC{Frequency: -1}},
		API: config.ConfigAPI{
			PushEnabled:   &yes,
			DeleteEnabled: &yes,
			Blob:          config.ConfigAPIBlob{DeleteEnabled: &yes},
		},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() { log.Fatal(http.Serve(listener, named{registry})) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// named says which digest a pushed blob got, as the specification will ask for after version 1.1 and olareg does for
// manifests only.
type named struct{ http.Handler }

func (n named) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.Handler.ServeHTTP(&naming{w}, r)
}

type naming struct{ http.ResponseWriter }

func (n *naming) WriteHeader(status int) {
	const digest = "Docker-Content-Digest"
	if status == http.StatusCreated && n.Header().Get(digest) == "" {
		n.Header().Set(digest, path.Base(n.Header().Get("Location")))
	}
	n.ResponseWriter.WriteHeader(status)
}
