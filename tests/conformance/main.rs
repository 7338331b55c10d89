//! The mirror as a registry, judged by others: the conformance suite of the OCI distribution specification, and what that
//! leaves out, over a real registry (olareg) that supports all of the specification.
//!
//! Either read-only, over what the registry holds; or in full, through a router that sends what writes to the registry and
//! what reads to the mirror ([`router`]). The suite runs against the registry alone as well: nothing may fail through the
//! mirror that does not fail there, and nothing at all in pulling and content discovery.
//!
//! The suite and the registry are Go modules at fixed versions (`tools/go.mod`), built into `target` on first use. What the
//! suite does not ask is asked in [`beyond`].

#![allow(clippy::unwrap_used, reason = "in a test, what cannot go on should stop with a trace")]

#[path = "../support/go.rs"]
mod go;
#[path = "../support/mod.rs"]
mod support;

mod beyond;
mod router;
mod suite;
mod tools;
mod world;
