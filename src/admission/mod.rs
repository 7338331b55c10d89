//! Who may have what: an operator's rules, and one decision over them.
//!
//! Everything here is a value and a pure function of values: who asks ([`Who`]), what is asked for ([`What`]), what the
//! rules say of it ([`Rules::decide`]) and why. How somebody came to be known, by a password or a certificate, is for
//! others; a further way to be known is a further part of [`Who`].
//!
//! The first rule that matches decides. Where there are rules and none matches, it is denied: a rule that was forgotten
//! shows itself and opens nothing. Where there are none, everybody may have everything, or everybody who is known, if there
//! is a way to be.

mod name;
mod network;
mod rules;
mod users;

use std::net::IpAddr;

pub use name::Name;
pub use network::{Network, any_contains};
pub use rules::{By, Decision, Rule, Rules, Verb};
pub use users::{MOST_COST, UserError, Users};

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// As whom it has logged in.
    pub user: Option<&'a str>,
    /// The names on the certificate that it has shown.
    pub certificate: Option<&'a [String]>,
    /// From where it comes; `None`: by a socket in the file system.
    pub address: Option<IpAddr>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct What<'a> {
    /// The upstream, by its own name.
    pub upstream: &'a str,
    /// The repository, as it is called there.
    pub repository: &'a str,
}
