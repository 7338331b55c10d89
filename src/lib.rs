//! A pull-through caching mirror for OCI and Docker registries.
//!
//! The library holds everything; the binary only parses the command line. `ARCHITECTURE.md` is the map: which module
//! owns what, and which way the arrows between them go.

pub mod admission;
pub mod api;
pub mod app;
pub mod bench;
pub mod bundle;
pub mod client;
pub mod clock;
pub mod config;
pub mod demo;
pub mod desk;
pub mod http;
pub mod listed;
pub mod load;
pub mod mirror;
pub mod nodes;
pub mod oci;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod x509;
