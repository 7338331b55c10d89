//! Digests, names, references, routes, manifests and error codes of the OCI distribution world: plain values, no I/O.
