//! Integration tests: the real server over sockets, a scripted upstream behind it.
//!
//! One crate, so that it links once. `kit` shows that the kit itself does what the other modules take for granted.

#![allow(clippy::unwrap_used, reason = "in a test, what cannot go on should stop with a trace")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod accounts;
mod addressing;
mod admission;
mod api;
mod blobs;
mod body;
mod carry;
mod cert;
mod chains;
mod cli;
mod config;
mod connections;
mod crash;
mod crowd;
mod disk;
mod errors;
mod failover;
mod freshness;
mod gaps;
mod health;
mod kit;
mod lazy;
mod limits;
mod lists;
mod manifests;
mod members;
mod memory;
mod nodes;
mod offline;
mod once;
mod packaging;
mod parsers;
mod policies;
mod power;
mod profiles;
mod ranges;
mod relay;
mod restart;
mod scrub;
mod sending;
mod serving;
mod soak;
mod tls;
mod tmpfs;
mod tokens;
mod transport;
mod unreadable;
mod uplink;
mod verify;
mod warm;
mod watching;
mod words;
mod world;
