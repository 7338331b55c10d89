//go:build suite

// Names the conformance suite, which is built as a test of its own module, so that go.mod and go.sum keep its version.
package main

import _ "github.com/opencontainers/distribution-spec/conformance"
