//! Logins: whether what a client shows as user and password is right.
//!
//! A password is compared by bcrypt, which is slow on purpose, so it is done once for each and remembered by a keyed hash
//! whose key this process alone has, and which no file or log ever sees. It is done on threads for blocking work, a few at a
//! time; who finds too many waiting is told to come back. What was remembered ends with the users that it was about.
//!
//! Guarantees: where there are no users nothing is looked at, whatever clients show (T77); passwords are neither kept nor
//! told; a wrong one that is shown again and again costs one comparison.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::available_parallelism;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::admission::Users;
use crate::telemetry::{LoginResult, Metrics};

/// How many logins are remembered, the right ones and the wrong ones each for themselves, so that who guesses pushes out
/// nobody.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("more than none");

/// How many may wait to be compared.
const MOST_WAITING: usize = 256;

/// A user and a password as a client shows them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shown {
    user: String,
    password: String,
}

/// What came of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// There was none, or there are no users.
    None,
    /// As this user.
    As(Arc<str>),
    /// Of nobody.
    Wrong,
    /// It could not be compared now.
    Busy,
}

/// Compares logins, and remembers them. Clones are the same.
#[derive(Clone)]
pub(super) struct Logins {
    inner: Arc<Inner>,
}

struct Inner {
    /// How often the users were others, and who they are now; `None`: there are none, and nobody logs in.
    users: RwLock<(u64, Option<Arc<Users>>)>,
    /// `None` where the system has no randomness: then nothing is remembered. Made when there are users for the first time:
    /// to draw the first number a process measures the jitter of its processor for tens of milliseconds, which is more than
    /// all else that a start over an empty store takes.
    key: OnceLock<Option<hmac::Key>>,
    right: Mutex<LruCache<[u8; 32], ()>>,
    wrong: Mutex<LruCache<[u8; 32], ()>>,
    /// What is being compared.
    turns: Semaphore,
    waiting: AtomicUsize,
    metrics: Metrics,
}

impl Shown {
    /// What stands behind `Authorization`, if it is a user and a password. A user without a name and without a password is
    /// what some clients send that have none (podman after a challenge).
    pub(super) fn of(header: &[u8]) -> Option<Self> {
        let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let unreadable = || Self { user: String::new(), password: "?".to_owned() };
        let text = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let shown = text.as_deref().and_then(|text| text.split_once(':'));
        let shown =
            shown.map(|(user, password)| Self { user: user.to_owned(), password: password.to_owned() });
        Some(shown.unwrap_or_else(unreadable))
            .filter(|shown| !(shown.user.is_empty() && shown.password.is_empty()))
    }
}

impl Logins {
    pub(super) fn new(users: Option<Users>, metrics: Metrics) -> Self {
        // Half of the processor at the most: there is other work, and who logs in is known for long.
        let turns = available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        let inner = Inner {
            users: RwLock::new((0, None)),
            key: OnceLock::new(),
            right: Mutex::new(LruCache::new(REMEMBERED)),
            wrong: Mutex::new(LruCache::new(REMEMBERED)),
            turns: Semaphore::new(turns),
            waiting: AtomicUsize::new(0),
            metrics,
        };
        let logins = Self { inner: Arc::new(inner) };
        logins.replace(users);
        logins
    }

    /// Does ahead what the first users cost; blocks for that.
    pub(super) fn prepare(&self) {
        self.inner.key();
    }

    /// These are the users from now on; nobody else is one. Blocks for the first ones, if they were not prepared for.
    pub(super) fn replace(&self, users: Option<Users>) {
        if users.is_some() {
            self.prepare();
        }
        let mut now = self.inner.users.write().unwrap_or_else(PoisonError::into_inner);
        // Counted when there are none, too: what was remembered of some is not to count for those who come after.
        *now = (now.0 + 1, users.map(Arc::new));
    }

    /// Whether what is shown is right.
    pub(super) async fn check(&self, shown: Option<Shown>) -> Login {
        let inner = &self.inner;
        let now = inner.users.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ((number, Some(users)), Some(shown)) = (now, shown) else { return Login::None };
        let known_as = inner.key().map(|key| known_as(key, number, &shown));
        if let Some(login) = known_as.and_then(|known_as| inner.remembered(&known_as, &shown)) {
            return login;
        }
        let login = inner.compare(users, shown, known_as).await;
        inner.metrics.login(match login {
            Login::As(_) => LoginResult::Right,
            Login::Busy => LoginResult::Busy,
            Login::None | Login::Wrong => LoginResult::Wrong,
        });
        login
    }
}

impl Inner {
    fn key(&self) -> Option<&hmac::Key> {
        self.key.get_or_init(|| hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()).as_ref()
    }

    fn remembered(&self, known_as: &[u8; 32], shown: &Shown) -> Option<Login> {
        let has = |cache: &Mutex<LruCache<[u8; 32], ()>>| {
            cache.lock().unwrap_or_else(PoisonError::into_inner).get(known_as).is_some()
        };
        if has(&self.right) {
            return Some(Login::As(shown.user.as_str().into()));
        }
        has(&self.wrong).then_some(Login::Wrong)
    }

    async fn compare(&self, users: Arc<Users>, shown: Shown, known_as: Option<[u8; 32]>) -> Login {
        let Some(_place) = Place::take(&self.waiting) else { return Login::Busy };
        let Ok(_turn) = self.turns.acquire().await else { return Login::Busy };
        // Whoever was before may have shown the same: a hundred nodes with one user come together.
        if let Some(login) = known_as.and_then(|known_as| self.remembered(&known_as, &shown)) {
            return login;
        }
        let user: Arc<str> = shown.user.as_str().into();
        let compared = spawn_blocking(move || users.verify(&shown.user, &shown.password)).await;
        let Ok(is_right) = compared else { return Login::Busy };
        if let Some(known_as) = known_as {
            let cache = if is_right { &self.right } else { &self.wrong };
            cache.lock().unwrap_or_else(PoisonError::into_inner).put(known_as, ());
        }
        if is_right { Login::As(user) } else { Login::Wrong }
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a login is remembered by. The number of the users is in it: of others, it is another one.
fn known_as(key: &hmac::Key, number: u64, shown: &Shown) -> [u8; 32] {
    let mut all = hmac::Context::with_key(key);
    all.update(&number.to_be_bytes());
    all.update(&(shown.user.len() as u64).to_be_bytes());
    all.update(shown.user.as_bytes());
    all.update(shown.password.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&all.sign().as_ref()[..32]);
    bytes
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Option<Shown> {
        Shown::of(format!("Basic {}", STANDARD.encode(text)).as_bytes())
    }

    fn users(lines: &[(&str, &str)]) -> Users {
        let line = |(user, password): &(&str, &str)| format!("{user}:{}", bcrypt::hash(password, 4).unwrap());
        Users::parse(&lines.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    fn alice() -> Login {
        Login::As("alice".into())
    }

    #[test]
    fn what_is_shown_is_a_user_and_a_password_or_nothing() {
        let shown =
            |user: &str, password: &str| Some(Shown { user: user.to_owned(), password: password.to_owned() });
        assert!(basic("alice:a:b") == shown("alice", "a:b"));
        assert!(Shown::of(b"bAsIc YTpi") == shown("a", "b"));
        for nothing in [&b"Bearer YTpi"[..], b"Basic", b"", b"\xff \xff", b"Basic Og=="] {
            assert!(Shown::of(nothing).is_none(), "{nothing:?}");
        }
        for wrong in [&b"Basic !"[..], b"Basic YQ==", b"Basic /w=="] {
            assert!(Shown::of(wrong) == shown("", "?"), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_login_is_right_once_and_then_remembered_until_the_users_are_others() {
        let metrics = Metrics::new();
        let logins = Logins::new(Some(users(&[("alice", "one")])), metrics.clone());
        let compared = |result: &str| {
            let line = format!("roadstead_logins_total{{result=\"{result}\"}} ");
            let text = metrics.encode();
            let value =
                text.lines().find_map(|found| found.strip_prefix(&line)).expect("the figure").to_owned();
            value.parse::<u64>().unwrap()
        };
        for _ in 0..3 {
            assert_eq!(logins.check(basic("alice:one")).await, alice());
            assert_eq!(logins.check(basic("alice:two")).await, Login::Wrong);
            assert_eq!(logins.check(None).await, Login::None);
        }
        assert_eq!((compared("right"), compared("wrong")), (1, 1));
        logins.replace(Some(users(&[("alice", "two")])));
        assert_eq!(logins.check(basic("alice:one")).await, Login::Wrong);
        assert_eq!(logins.check(basic("alice:two")).await, alice());
        assert_eq!((compared("right"), compared("wrong")), (2, 2));
        logins.replace(Some(Users::default()));
        assert_eq!(logins.check(basic("alice:two")).await, Login::Wrong);
    }

    #[tokio::test]
    async fn a_login_is_not_remembered_beyond_a_time_without_users() {
        let logins = Logins::new(Some(users(&[("alice", "one")])), Metrics::new());
        assert_eq!(logins.check(basic("alice:one")).await, alice());
        logins.replace(None);
        logins.replace(Some(users(&[("bob", "one")])));
        assert_eq!(logins.check(basic("alice:one")).await, Login::Wrong);
    }

    #[tokio::test]
    async fn t77_without_users_nothing_that_is_shown_is_wrong() {
        let logins = Logins::new(None, Metrics::new());
        assert_eq!(logins.check(basic("somebody:at Docker Hub")).await, Login::None);
        assert!(logins.inner.key.get().is_none(), "and no start pays for a key");
    }

    #[tokio::test]
    async fn many_who_show_the_same_at_once_cost_one_comparison_and_too_many_are_told_so() {
        let metrics = Metrics::new();
        let logins = Logins::new(Some(users(&[("alice", "one")])), metrics.clone());
        let all = (0..200).map(|_| {
            let logins = logins.clone();
            tokio::spawn(async move { logins.check(basic("alice:one")).await })
        });
        for login in all.collect::<Vec<_>>() {
            assert_eq!(login.await.unwrap(), alice());
        }
        let turn =
            logins.inner.turns.acquire_many(logins.inner.turns.available_permits() as u32).await.unwrap();
        let guesses = (0..=MOST_WAITING).map(|guess| {
            let logins = logins.clone();
            tokio::spawn(async move { logins.check(basic(&format!("alice:{guess}"))).await })
        });
        let guesses: Vec<_> = guesses.collect();
        while logins.inner.waiting.load(Ordering::Relaxed) < MOST_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(logins.check(basic("alice:one")).await, alice(), "who is known does not wait");
        drop(turn);
        let mut busy = 0;
        for guess in guesses {
            busy += usize::from(guess.await.unwrap() == Login::Busy);
        }
        assert_eq!(busy, 1);
        assert_eq!(logins.inner.waiting.load(Ordering::Relaxed), 0);
    }
}
