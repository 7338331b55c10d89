//! Identity tokens that a token server replaced.
//!
//! A server may give a new one beside each token, and then the one that the operator wrote down may be good no more. The
//! newest is kept for the realm that gave it, in memory: after a restart the operator's has to do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::accounts::Login;
use super::token::Secret;

/// What each realm gave in place of a login.
#[derive(Debug)]
pub(super) struct Refreshed(Mutex<HashMap<(String, Login), Secret>>);

/// How many are kept. There are as many as there are accounts, and a few more while accounts change.
const KEPT: usize = 256;

impl Refreshed {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// What to show to this realm in place of a login.
    pub(super) fn of(&self, realm: &Url, login: &Login) -> Option<Secret> {
        self.lock().get(&(realm.to_string(), login.clone())).cloned()
    }

    pub(super) fn keep(&self, realm: &Url, login: &Login, secret: Secret) {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert((realm.to_string(), login.clone()), secret);
    }

    /// Forgets one that was refused, unless another one has taken its place already.
    pub(super) fn forget(&self, realm: &Url, login: &Login, refused: &Secret) {
        let mut kept = self.lock();
        let key = (realm.to_string(), login.clone());
        if kept.get(&key) == Some(refused) {
            kept.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Login), Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
