//! Identity tokens that a token server replaced.
//!
//! A server may give a new one beside each token, and then the one that the operator wrote down, and each that came before,
//! may be good no more. The newest is kept for the realm that gave it, in memory, also when upstreams take the place of
//! others; after a restart the operator's has to do. Where a realm is known to replace them they are shown one after the
//! other, because the same one shown twice may be taken for a stolen one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;
use url::Url;

use super::accounts::Login;
use super::token::Secret;

/// What token servers gave in place of logins. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Refreshed(Arc<Mutex<ByLogin>>);

/// By realm and login.
type ByLogin = HashMap<(String, Login), Arc<Replaced>>;

/// How many are kept. There are as many as there are accounts, and a few more while accounts change.
const KEPT: usize = 256;

/// What one realm gave in place of one login.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    newest: Mutex<Option<Secret>>,
    /// Shared by those who show what the operator wrote; who shows what came later is alone.
    pub(super) turn: RwLock<()>,
}

impl Refreshed {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What this realm gave in place of this login.
    pub(super) fn of(&self, realm: &Url, login: &Login) -> Arc<Replaced> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (realm.to_string(), login.clone());
        if kept.len() >= KEPT && !kept.contains_key(&key) {
            kept.clear();
        }
        Arc::clone(kept.entry(key).or_default())
    }
}

impl Replaced {
    /// What to show in place of the login, if something came.
    pub(super) fn newest(&self) -> Option<Secret> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something came, or what came is good no more.
    pub(super) fn keep(&self, newest: Option<Secret>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }
}
