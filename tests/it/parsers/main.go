// Reads what is written for clients with the parsers of those clients, and tells what they understand.
//
//	parsers rancher FILE IMAGE   pulls an image as the registries.yaml of k3s and RKE2 says; prints the digests that came
//	parsers containers DIR IMAGE prints where podman and CRI-O look for an image by a registries.conf.d, in their order
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/types"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/rancher/wharfie/pkg/registries"
	"gopkg.in/yaml.v2"
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: parsers rancher|containers WHERE IMAGE"))
	}
	read := containers
	if os.Args[1] == "rancher" {
		read = rancher
	}
	if err := read(os.Args[2], os.Args[3]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func rancher(file, image string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// Their own reading passes over keys that it does not know.
	if err := yaml.UnmarshalStrict(text, &registries.Registry{}); err != nil {
		return err
	}
	known, err := registries.GetPrivateRegistries(file)
	if err != nil {
		return err
	}
	reference, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	pulled, err := known.Image(reference)
	if err != nil {
		return err
	}
	digest, err := pulled.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	manifest, err := pulled.Manifest()
	if err != nil {
		return err
	}
	for _, described := range manifest.Layers {
		layer, err := pulled.LayerByDigest(described.Digest)
		if err != nil {
			return err
		}
		bytes, err := layer.Compressed()
		if err != nil {
			return err
		}
		// It is compared with its digest where it is read.
		if _, err := io.Copy(io.Discard, bytes); err != nil {
			return err
		}
		fmt.Println(described.Digest)
	}
	return nil
}

func containers(directory, image string) error {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return err
	}
	system := &types.SystemContext{SystemRegistriesConfPath: os.DevNull, SystemRegistriesConfDirPath: directory}
	registry, err := sysregistriesv2.FindRegistry(system, named.Name())
	if err != nil {
		return err
	}
	if registry == nil {
		return fmt.Errorf("nothing is said of %s", named)
	}
	sources, err := registry.PullSourcesFromReference(named)
	if err != nil {
		return err
	}
	for _, source := range sources {
		fmt.Printf("%s insecure=%t\n", source.Reference, source.Endpoint.Insecure)
	}
	return nil
}
