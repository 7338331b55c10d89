//! What operators type, beside `serve`: each command with its flags, its help, and how its answer is shown.
//!
//! A command asks a desk, and does not know whether that is a running server or a store that this process has opened
//! ([`reach`]). It prints the API's own document with `--json`, and for people otherwise.

mod authority;
mod bars;
mod bench;
mod client_config;
mod du;
mod health;
mod ls;
mod mode;
mod node_setup;
mod pin;
mod proof_bar;
mod reach;
mod refresh;
mod rm;
mod show;
mod status;
mod table;
mod tags;
mod verify;
mod warm;

pub(crate) use bench::{BenchArgs, bench};
pub(crate) use client_config::{ClientConfig, client_config};
pub(crate) use du::{Du, du};
pub(crate) use health::{Health, health};
pub(crate) use ls::{Ls, ls};
pub(crate) use mode::{Mode, mode};
pub(crate) use node_setup::{NodeSetup, node_setup};
pub(crate) use pin::{Pin, Unpin, pin, unpin};
pub(crate) use reach::{Reach, at_desk, at_desk_or_new, at_server};
pub(crate) use refresh::{Refresh, refresh};
pub(crate) use rm::{Rm, rm};
pub(crate) use show::print;
pub(crate) use status::{StatusArgs, status};
pub(crate) use tags::{Tags, tags};
pub(crate) use verify::{VerifyArgs, verify};
pub(crate) use warm::{WarmArgs, warm};
