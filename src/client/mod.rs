//! A client of the admin API: a [`Desk`] that is somewhere else.
//!
//! Owns where a server can be ([`Server`]), and the wire to it: one connection a call, HTTP/1.1, the token where there is
//! one. Guarantees that a call ends: connecting and the head of an answer have their limits. Leaves to others what is
//! asked, and what to do where nobody answers.

mod bytes;
mod content;
mod desk;
mod server;
mod wire;

pub use server::{NoServer, Server};
pub use wire::{Connecting, Remote};
