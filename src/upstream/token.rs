//! Bearer tokens: kept by what they are for, fetched once for all who wait.
//!
//! A token is good for one realm, service, scope and account, and is never used for another. It is given up a while before
//! it expires by our own clock, counted from when it was received: what upstream's clock says does not matter. How a token
//! is fetched is the caller's business.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use lru::LruCache;
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::accounts::Login;
use super::failure::Failure;

/// How many tokens are kept; beyond that the one used longest ago is fetched anew when it is needed.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// How long a token is good for when nothing is said.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token is renewed this long before its end, or a quarter of its life if that is less.
const EARLY: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: String,
    /// The account it is asked with; `None`: anonymously.
    pub(super) account: Option<Login>,
}

/// A token, as the header that carries it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Marked as sensitive, so that it does not show itself.
    pub(super) header: HeaderValue,
    use_until: Instant,
}

type Slot = Arc<OnceCell<Result<Token, Failure>>>;

/// The tokens of one upstream.
#[derive(Debug)]
pub(super) struct Tokens {
    slots: Mutex<LruCache<TokenKey, Slot>>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The token for `key`, by `fetch` if none is at hand. Of those who ask at the same time one fetches; if it leaves,
    /// the next one does; its failure is shared by those who waited, and by nobody after them.
    pub(super) async fn get<F>(&self, key: &TokenKey, fetch: impl FnOnce() -> F) -> Result<Token, Failure>
    where
        F: Future<Output = Result<Token, Failure>>,
    {
        let slot = self.slot(key);
        let got = slot.get_or_init(fetch).await.clone();
        if got.is_err() {
            self.remove(key, |other| Arc::ptr_eq(other, &slot));
        }
        got
    }

    /// Forgets a token that upstream rejected, unless another one has taken its place already.
    pub(super) fn reject(&self, key: &TokenKey, rejected: &HeaderValue) {
        self.remove(key, |slot| matches!(slot.get(), Some(Ok(token)) if token.header == *rejected));
    }

    /// The slot to wait at: a running fetch, a token that is good for a while yet, or a new one.
    fn slot(&self, key: &TokenKey) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            let usable = match slot.get() {
                None => true,
                Some(Ok(token)) => Instant::now() < token.use_until,
                Some(Err(_)) => false,
            };
            if usable {
                return Arc::clone(slot);
            }
        }
        let slot = Slot::default();
        slots.put(key.clone(), Arc::clone(&slot));
        slot
    }

    fn remove(&self, key: &TokenKey, which: impl Fn(&Slot) -> bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.peek(key).is_some_and(which) {
            slots.pop(key);
        }
    }
}

/// A token server's answer. Fields of the wrong shape count as absent.
#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: serde_json::Value,
    #[serde(default)]
    access_token: serde_json::Value,
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Token {
    /// Reads a token server's answer, received `now`.
    pub(super) fn parse(body: &[u8], now: Instant) -> Result<Self, Failure> {
        let granted: Granted = serde_json::from_slice(body)
            .map_err(|_| Failure::garbage("the token server's answer is not JSON"))?;
        let word = [&granted.token, &granted.access_token]
            .into_iter()
            .filter_map(|value| value.as_str())
            .find(|word| !word.is_empty())
            .ok_or_else(|| Failure::garbage("the token server's answer has no token"))?;
        let mut header = HeaderValue::try_from(format!("Bearer {word}"))
            .map_err(|_| Failure::garbage("the token does not fit into a header"))?;
        header.set_sensitive(true);
        let life = seconds(&granted.expires_in).unwrap_or(DEFAULT_LIFE);
        let use_until = now + life.saturating_sub(EARLY.min(life / 4)).min(Duration::from_secs(86_400));
        Ok(Self { header, use_until })
    }
}

/// A number of seconds, also where it was written as a fraction or a string.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(number).ok().filter(|life| !life.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key(scope: &str) -> TokenKey {
        TokenKey {
            realm: "https://auth.example/token".into(),
            service: None,
            scope: scope.into(),
            account: None,
        }
    }

    fn token(word: &str, life: u64) -> Token {
        let body = format!(r#"{{"token":"{word}","expires_in":{life}}}"#);
        Token::parse(body.as_bytes(), Instant::now()).expect("a token")
    }

    #[tokio::test(start_paused = true)]
    async fn t60_every_shape_of_a_token_answer_is_read() {
        let now = Instant::now();
        for (body, word, used_for) in [
            (r#"{"token":"a"}"#, "Bearer a", 45.0),
            (r#"{"access_token":"b","expires_in":300}"#, "Bearer b", 270.0),
            (r#"{"token":"","access_token":"c","expires_in":"100"}"#, "Bearer c", 75.0),
            (r#"{"token":"d","access_token":"e","expires_in":1}"#, "Bearer d", 0.75),
            (r#"{"token":"f","expires_in":0,"issued_at":"1999-01-01T00:00:00Z"}"#, "Bearer f", 45.0),
            (r#"{"token":"g","expires_in":-5,"scope":["x"]}"#, "Bearer g", 45.0),
            (r#"{"token":"h","expires_in":null}"#, "Bearer h", 45.0),
        ] {
            let token = Token::parse(body.as_bytes(), now).expect(body);
            assert_eq!(token.header, word, "{body}");
            assert_eq!((token.use_until - now).as_secs_f64(), used_for, "{body}");
            assert!(!format!("{token:?}").contains(word), "{body}");
        }
        for body in ["", "<html>", "{}", r#"{"token":5}"#, r#"{"token":"a\nb"}"#, "[]"] {
            assert!(Token::parse(body.as_bytes(), now).is_err(), "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t59_a_token_is_for_its_scope_and_its_account_only() {
        let tokens = Tokens::new();
        let other = TokenKey { account: Some(Login::new("robot", "hidden")), ..key("a") };
        for (key, word) in [(key("a"), "one"), (key("b"), "two"), (other, "three")] {
            let got = tokens.get(&key, || async { Ok(token(word, 60)) }).await.expect("a token");
            assert_eq!(got.header, format!("Bearer {word}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_one_fetch() {
        let tokens = Tokens::new();
        let fetched = AtomicUsize::new(0);
        let key = key("a");
        let fetch = || async {
            fetched.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(token("one", 60))
        };
        let (one, two, three) =
            tokio::join!(tokens.get(&key, fetch), tokens.get(&key, fetch), tokens.get(&key, fetch));
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetcher_that_leaves_hands_over_to_one_who_waits() {
        let tokens = Tokens::new();
        let key = key("a");
        let never = tokens.get(&key, std::future::pending);
        let mut never = Box::pin(never);
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut never).await.is_err());
        let waiting = tokens.get(&key, || async { Ok(token("one", 60)) });
        let (got, ()) = tokio::join!(waiting, async { drop(never) });
        assert_eq!(got.expect("a token").header, "Bearer one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_who_waited_and_by_nobody_after_them() {
        let tokens = Tokens::new();
        let key = key("a");
        let fail = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(Failure::RefusedUs { status: 401 })
        };
        let (one, two) = tokio::join!(tokens.get(&key, fail), tokens.get(&key, fail));
        assert!(one.is_err() && two.is_err());
        assert!(tokens.get(&key, || async { Ok(token("one", 60)) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn t60_a_token_is_renewed_ahead_of_its_end() {
        let tokens = Tokens::new();
        let key = key("a");
        let first = tokens.get(&key, || async { Ok(token("one", 60)) }).await.expect("a token");
        tokio::time::advance(Duration::from_secs(44)).await;
        let again = tokens.get(&key, || async { Ok(token("two", 60)) }).await.expect("a token");
        assert_eq!(again.header, first.header);
        tokio::time::advance(Duration::from_secs(2)).await;
        let renewed = tokens.get(&key, || async { Ok(token("three", 60)) }).await.expect("a token");
        assert_eq!(renewed.header, "Bearer three");
    }

    #[tokio::test(start_paused = true)]
    async fn t61_a_rejected_token_is_dropped_but_not_its_successor() {
        let tokens = Tokens::new();
        let key = key("a");
        let old = tokens.get(&key, || async { Ok(token("old", 60)) }).await.expect("a token");
        tokens.reject(&key, &old.header);
        let new = tokens.get(&key, || async { Ok(token("new", 60)) }).await.expect("a token");
        assert_eq!(new.header, "Bearer new");
        tokens.reject(&key, &old.header);
        let kept = tokens.get(&key, || async { Ok(token("other", 60)) }).await.expect("a token");
        assert_eq!(kept.header, "Bearer new");
    }
}
