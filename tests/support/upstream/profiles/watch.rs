//! What every server of a profile looks out for, and the switches and clocks that tests hold.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::images::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::support::upstream::script::{Asked, Kind};

/// What a server is for, and so what it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It may see tokens and passwords.
    Registry,
    /// It may see passwords.
    Realm,
    /// It has what it asks for in the URL.
    Storage,
    /// It belongs to the same people, and has no business with tokens and passwords.
    Elsewhere,
    /// Who comes here was led astray.
    Trap,
}

/// What the mirror did that it should not have.
#[derive(Clone, Debug, Default)]
pub struct Breaches(Arc<Mutex<(Vec<String>, Vec<String>)>>);

impl Breaches {
    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    /// From now on this is an `Authorization` that the registry and its token server may see.
    pub(super) fn allow(&self, authorization: &str) {
        self.0.lock().unwrap().1.push(authorization.to_owned());
    }

    /// Notes what is wrong with a request to a server of this role.
    pub(super) fn look_at(&self, role: Role, asked: &Asked) {
        let (noted, allowed) = &mut *self.0.lock().unwrap();
        let mut note = |what: &str| noted.push(format!("{role:?}: {} {}: {what}", asked.method, asked.path));
        if let Some(proof) = asked.header("authorization") {
            let may_see = match role {
                Role::Registry => proof.starts_with("Bearer ") || allowed.iter().any(|own| own == proof),
                Role::Realm => allowed.iter().any(|own| own == proof),
                Role::Storage | Role::Elsewhere | Role::Trap => false,
            };
            if !may_see && asked.kind != Kind::Token {
                note("it was shown an Authorization");
            }
            if asked.kind == Kind::Token && !allowed.iter().any(|own| own == proof) {
                note("a token server was shown what is not the account");
            }
        }
        if role == Role::Trap {
            note("nobody should have come");
        }
        if asked.header("accept-encoding").is_some_and(|coding| coding != "identity") {
            note("a coding was asked for");
        }
        if asked.header("range").is_some_and(|range| range.contains(',')) {
            note("several ranges at once");
        }
        if asked.header("cookie").is_some() || asked.header("referer").is_some() {
            note("it was told more than it needs");
        }
        let is_api = !matches!(asked.kind, Kind::Token | Kind::Other);
        if is_api && !matches!(asked.method.as_str(), "GET" | "HEAD") {
            note("a method that changes something");
        }
        if asked.kind == Kind::Manifest && !accepts_all(asked) {
            note("an Accept that is not the whole list");
        }
    }
}

/// Whether all types of manifests are accepted.
pub(super) fn accepts_all(asked: &Asked) -> bool {
    [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].iter().all(|kind| accepts(asked, kind))
}

/// Whether this type is accepted.
pub(super) fn accepts(asked: &Asked, kind: &str) -> bool {
    let accepts = asked.headers.iter().filter(|(name, _)| name == "accept");
    accepts.into_iter().flat_map(|(_, value)| value.split(',')).any(|have| have.trim() == kind)
}

/// Something that is so or not, as the test says.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// From now on it is, or is not.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A clock that the test moves.
#[derive(Clone, Debug, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// Lets more time pass than anything lives.
    pub fn pass(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// What time it is.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
