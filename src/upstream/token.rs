//! Bearer tokens: kept by what they are for, fetched once for all who wait, and renewed while they are still good.
//!
//! A token is good for one realm, service, scope and account, and is never used for another. Its life is counted by our own
//! clock, from when it was received: what upstream's clock says does not matter. Whoever uses one that is near its end finds
//! that it is to be renewed, which is for one of them to do while all go on with the old one; one that nobody uses is left
//! to its end. How a token is fetched is the caller's business.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// No token is used for longer, whatever is said of it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A token is to be renewed from this long before its end, or a quarter of its life if that is less.
const EARLY: Duration = Duration::from_secs(30);

/// A token is used no more this long before its end, or an eighth of its life if that is less: a request takes its time to
/// be judged, and the token was a moment old when it came.
const SPARE: Duration = Duration::from_secs(5);

/// How long a renewal that failed is not tried again.
const RENEWAL_RESTS: Duration = Duration::from_secs(5);

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
    /// What came beside it to ask the next one with.
    pub(super) refresh: Option<Secret>,
    renew_from: Instant,
    use_until: Instant,
}

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The place of a token that is there, or on its way.
#[derive(Debug, Default)]
struct Slot {
    token: OnceCell<Result<Token, Failure>>,
    renewal: Mutex<Renewal>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Renewal {
    #[default]
    Free,
    UnderWay,
    FailedAt(Instant),
}

/// The tokens of one upstream.
#[derive(Debug)]
pub(super) struct Tokens {
    slots: Mutex<LruCache<TokenKey, Arc<Slot>>>,
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
        let got = slot.token.get_or_init(fetch).await.clone();
        if got.is_err() {
            self.remove(key, |other| Arc::ptr_eq(other, &slot));
        }
        got
    }

    /// Forgets a token that upstream rejected, unless another one has taken its place already.
    pub(super) fn reject(&self, key: &TokenKey, rejected: &HeaderValue) {
        self.remove(key, |slot| slot.holds(rejected));
    }

    /// Whether it is for the caller to renew a token that it was just given: it is near its end, and nobody else is at it.
    /// Whoever is told so calls [`Tokens::renewed`] in the end.
    pub(super) fn claim_renewal(&self, key: &TokenKey, token: &Token) -> bool {
        let now = Instant::now();
        if now < token.renew_from {
            return false;
        }
        let slots = self.lock();
        let Some(slot) = slots.peek(key).filter(|slot| slot.holds(&token.header)) else { return false };
        let mut renewal = slot.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match *renewal {
            Renewal::Free => true,
            Renewal::UnderWay => false,
            Renewal::FailedAt(failed) => now >= failed + RENEWAL_RESTS,
        };
        if free {
            *renewal = Renewal::UnderWay;
        }
        free
    }

    /// Puts a new token in the place of `old`, unless upstream rejected that meanwhile. Without a new one the old one stays
    /// in use, and is tried to be renewed again after a while.
    pub(super) fn renewed(&self, key: &TokenKey, old: &HeaderValue, new: Option<Token>) {
        let mut slots = self.lock();
        let Some(slot) = slots.peek(key).filter(|slot| slot.holds(old)) else { return };
        match new {
            Some(token) => {
                let slot = Slot { token: OnceCell::new_with(Some(Ok(token))), renewal: Mutex::default() };
                slots.put(key.clone(), Arc::new(slot));
            }
            None => {
                let mut renewal = slot.renewal.lock().unwrap_or_else(PoisonError::into_inner);
                *renewal = Renewal::FailedAt(Instant::now());
            }
        }
    }

    /// The slot to wait at: a running fetch, a token that is good for a while yet, or a new one.
    fn slot(&self, key: &TokenKey) -> Arc<Slot> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(key) {
            let usable = match slot.token.get() {
                None => true,
                Some(Ok(token)) => Instant::now() < token.use_until,
                Some(Err(_)) => false,
            };
            if usable {
                return Arc::clone(slot);
            }
        }
        let slot = Arc::<Slot>::default();
        slots.put(key.clone(), Arc::clone(&slot));
        slot
    }

    fn remove(&self, key: &TokenKey, which: impl Fn(&Arc<Slot>) -> bool) {
        let mut slots = self.lock();
        if slots.peek(key).is_some_and(which) {
            slots.pop(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<TokenKey, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds(&self, header: &HeaderValue) -> bool {
        matches!(self.token.get(), Some(Ok(token)) if token.header == *header)
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
    #[serde(default)]
    refresh_token: serde_json::Value,
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
        let until = |before: Duration| now + life.saturating_sub(before).min(LONGEST);
        let refresh = granted.refresh_token.as_str().filter(|word| !word.is_empty());
        Ok(Self {
            header,
            refresh: refresh.map(|word| Secret(word.into())),
            renew_from: until(EARLY.min(life / 4)),
            use_until: until(SPARE.min(life / 8)),
        })
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
        for (body, word, renewed_from, used_for) in [
            (r#"{"token":"a"}"#, "Bearer a", 45.0, 55.0),
            (r#"{"access_token":"b","expires_in":300}"#, "Bearer b", 270.0, 295.0),
            (r#"{"token":"","access_token":"c","expires_in":"100"}"#, "Bearer c", 75.0, 95.0),
            (r#"{"token":"d","access_token":"e","expires_in":1}"#, "Bearer d", 0.75, 0.875),
            (r#"{"token":"f","expires_in":0,"issued_at":"1999-01-01T00:00:00Z"}"#, "Bearer f", 45.0, 55.0),
            (r#"{"token":"g","expires_in":-5,"scope":["x"]}"#, "Bearer g", 45.0, 55.0),
            (r#"{"token":"h","expires_in":null}"#, "Bearer h", 45.0, 55.0),
            (r#"{"token":"i","expires_in":1e9}"#, "Bearer i", 86_400.0, 86_400.0),
        ] {
            let token = Token::parse(body.as_bytes(), now).expect(body);
            assert_eq!(token.header, word, "{body}");
            let lives = [token.renew_from, token.use_until].map(|until| (until - now).as_secs_f64());
            assert_eq!(lives, [renewed_from, used_for], "{body}");
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
    async fn t60_a_token_is_renewed_ahead_of_its_end_by_one_of_those_who_use_it() {
        let tokens = Tokens::new();
        let key = key("a");
        let use_it = async |anew: &'static str| {
            let used = tokens.get(&key, || async move { Ok(token(anew, 60)) }).await.expect("a token");
            (tokens.claim_renewal(&key, &used), used.header)
        };
        let (early, one) = use_it("one").await;
        tokio::time::advance(Duration::from_secs(44)).await;
        assert_eq!((early, use_it("two").await), (false, (false, one.clone())));
        tokio::time::advance(Duration::from_secs(1)).await;
        // The first who comes has to do it, and nobody waits for that.
        assert_eq!(use_it("two").await, (true, one.clone()));
        assert_eq!(use_it("two").await, (false, one.clone()));
        tokens.renewed(&key, &one, Some(token("renewed", 60)));
        assert_eq!(use_it("two").await, (false, HeaderValue::from_static("Bearer renewed")));
        // What nobody uses is not renewed, and is no good afterwards.
        tokio::time::advance(Duration::from_secs(56)).await;
        assert_eq!(use_it("two").await, (false, HeaderValue::from_static("Bearer two")));
    }

    #[tokio::test(start_paused = true)]
    async fn t60_a_renewal_that_fails_leaves_the_old_token_in_use_and_is_not_repeated_at_once() {
        let tokens = Tokens::new();
        let key = key("a");
        let old = tokens.get(&key, || async { Ok(token("old", 60)) }).await.expect("a token");
        tokio::time::advance(Duration::from_secs(45)).await;
        assert!(tokens.claim_renewal(&key, &old));
        tokens.renewed(&key, &old.header, None);
        for (wait, claimed) in [(0, false), (4, false), (1, true), (0, false)] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            let used = tokens.get(&key, || async { Ok(token("new", 60)) }).await.expect("a token");
            assert_eq!((used.header == old.header, tokens.claim_renewal(&key, &used)), (true, claimed));
        }
        // Rejected meanwhile: what was had for it is for nobody.
        tokens.reject(&key, &old.header);
        tokens.renewed(&key, &old.header, Some(token("late", 60)));
        let used = tokens.get(&key, || async { Ok(token("new", 60)) }).await.expect("a token");
        assert_eq!(used.header, "Bearer new");
    }

    #[tokio::test(start_paused = true)]
    async fn g9_what_comes_beside_a_token_does_not_show_itself() {
        let token = Token::parse(br#"{"token":"hidden","refresh_token":"hidden"}"#, Instant::now());
        let token = token.expect("a token");
        assert!(token.refresh.is_some() && !format!("{token:?}").contains("hidden"), "{token:?}");
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
