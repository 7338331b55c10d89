//! Tokens renewed behind the back of those who use them.
//!
//! Owns the queue of tokens that are near their end, and the work on it. What does not fit into the queue, or comes when
//! nobody works on it, is no loss: that token is fetched anew when it has come to its end.

use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderValue;
use tokio::sync::mpsc;

use super::Upstream;
use super::accounts::Login;
use super::auth::Realm;
use super::failure::Failure;
use super::refused::Account;

/// How many renewals wait.
const WAITING: usize = 256;

/// How many are under way at once.
const AT_ONCE: usize = 4;

/// A token to be renewed.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) realm: Realm,
    pub(super) login: Option<Login>,
    /// The token, as it is used.
    pub(super) old: HeaderValue,
    /// Whose refusal it is if there is no new one.
    pub(super) account: Option<Account>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Renewals {
    sender: mpsc::Sender<Due>,
    receiver: Mutex<Option<mpsc::Receiver<Due>>>,
}

impl Renewals {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// Orders a renewal; whether there was room for it.
    pub(super) fn order(&self, due: Due) -> bool {
        self.sender.try_send(due).is_ok()
    }
}

impl Upstream {
    /// Renews tokens that are in use and near their end, and watches the endpoints where that is wanted, for as long as it
    /// is polled: for a task of whoever owns this upstream. Only the first call does anything.
    pub async fn tend(&self) {
        let due = self.renewals.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(due) = due else { return };
        tokio::join!(self.renew_all(due), self.keep_watch());
    }

    async fn renew_all(&self, mut due: mpsc::Receiver<Due>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(token) = due.recv(), if running.len() < AT_ONCE => running.push(self.renew(token)),
                Some(()) = running.next() => {}
            }
        }
    }

    async fn renew(&self, due: Due) {
        let Due { realm, login, old, account } = due;
        let granted = self.gate.through(self.fetch_token(&realm, login.as_ref())).await;
        if let Err(failure) = &granted {
            tracing::debug!(upstream = %self.name, %failure, "a token could not be renewed; it stays in use");
        }
        if let (Some(account), Err(failure @ Failure::RefusedUs { .. })) = (&account, &granted) {
            self.refusals.refused(account, failure);
        }
        self.tokens.renewed(&realm.key(login.as_ref()), &old, granted.ok());
    }
}
