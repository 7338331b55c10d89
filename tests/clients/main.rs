//! Real clients against the real binary: containerd, the docker engine, podman and skopeo pull images made on the spot
//! from Debian's docker-registry through the mirror, cold and warm.
//!
//! The programs come from Debian (`make test` installs them as root); a test whose programs are missing says so and
//! passes, except under `ROADSTEAD_CLIENTS=required`. Daemons run in namespaces of their own ([`node`]), so that these
//! tests need root, touch no daemon of the machine and leave nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![expect(clippy::print_stderr, reason = "the logs of what was running are shown when a test fails")]

mod bundles;
mod chain;
mod containerd;
mod cut_off;
mod docker;
mod handbook;
mod http;
mod image;
mod link;
mod mirror;
mod node;
mod node_setup;
mod page_machine;
#[path = "../support/pages.rs"]
mod pages;
mod podman;
mod process;
mod program;
mod registry;
mod scene;
mod secure;
mod skopeo;
mod task_pages;
mod turn;
#[path = "../support/variants.rs"]
mod variants;
