//! What became of logins where they were shown.
//!
//! A login that is refused is not shown again for a moment, however many clients ask: registries lock accounts out that fail
//! to log in often. Owns what was heard of each login by who heard it, an endpoint or a token server. A 401 is about the
//! login, unless it was taken there lately, and then about what was asked for, as any other refusal is. Of those who show
//! one of which nothing is known yet one goes first. Another login, a changed password too, is another matter.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};
use url::Url;

use super::accounts::Login;
use super::auth::UNAUTHORIZED;
use super::failure::Failure;
use super::health::Subject;

/// How long a refusal is kept; one of the login itself for twice as long each time that follows, up to the second. Who mends
/// it where the account is waits for no longer than that.
const KEPT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);

/// How long a login is known to be good after it was taken.
const GOOD: Duration = Duration::from_secs(10 * 60);

/// How long it is not asked about again whether a login is at its end that was found not to be.
const SOUND: Duration = Duration::from_secs(5);

/// How long is waited for who goes first. A server that is silent is no reason to wait.
const FIRST: Duration = Duration::from_secs(1);

/// How many logins are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// For how many things a good login's refusals are remembered.
const SUBJECTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// The logins of an upstream.
#[derive(Debug)]
pub(super) struct Standings {
    known: Mutex<LruCache<(Url, Login), Arc<Standing>>>,
}

/// One login at one server.
#[derive(Debug)]
pub(super) struct Standing {
    heard: Mutex<Heard>,
    first: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Heard {
    taken: Option<Instant>,
    sound: Option<Instant>,
    refused: Option<Refused>,
    /// How often it was refused without having been taken in between.
    times: u32,
    refused_for: LruCache<Subject, Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    status: u16,
    until: Instant,
}

/// Goes first, until it is dropped.
pub(super) type First = Option<OwnedMutexGuard<()>>;

impl Standings {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// How this login stands with a server.
    pub(super) fn of(&self, server: &Url, login: &Login) -> Arc<Standing> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.get_or_insert((server.clone(), login.clone()), Arc::default))
    }
}

impl Default for Standing {
    fn default() -> Self {
        let refused_for = LruCache::new(SUBJECTS);
        let heard = Heard { taken: None, sound: None, refused: None, times: 0, refused_for };
        Self { heard: Mutex::new(heard), first: Arc::default() }
    }
}

impl Standing {
    /// The leave to show it for this; or how it was refused a moment ago.
    pub(super) async fn enter(&self, subject: Subject) -> Result<First, Failure> {
        if self.admits(subject)? {
            return Ok(None);
        }
        let first = self.go_first().await;
        self.admits(subject)?;
        Ok(first)
    }

    /// Waits for who is first, for a moment.
    pub(super) async fn go_first(&self) -> First {
        timeout(FIRST, Arc::clone(&self.first).lock_owned()).await.ok()
    }

    /// Whether it is known to be good; or how it was refused.
    pub(super) fn admits(&self, subject: Subject) -> Result<bool, Failure> {
        let (mut heard, now) = (self.lock(), Instant::now());
        let all = [heard.refused, heard.refused_for.get(&subject).copied()];
        match all.into_iter().flatten().find(|refused| now < refused.until) {
            Some(Refused { status, .. }) => Err(Failure::RefusedUs { status }),
            None => Ok(heard.is_good(now)),
        }
    }

    /// It was taken for this.
    pub(super) fn taken(&self, subject: Subject) {
        let mut heard = self.lock();
        (heard.taken, heard.refused, heard.times) = (Some(Instant::now()), None, 0);
        heard.refused_for.pop(&subject);
    }

    /// It was refused for this with a status.
    pub(super) fn refused(&self, subject: Subject, status: u16) {
        let (mut heard, now) = (self.lock(), Instant::now());
        if status == UNAUTHORIZED && !heard.is_good(now) {
            heard.refuse(status, now);
        } else {
            heard.refused_for.put(subject, Refused { status, until: now + KEPT });
        }
    }

    /// It is good for nothing any more.
    pub(super) fn ended(&self, status: u16) {
        let mut heard = self.lock();
        heard.taken = None;
        heard.refuse(status, Instant::now());
    }

    /// It is not at its end, whatever it is refused.
    pub(super) fn found_sound(&self) {
        self.lock().sound = Some(Instant::now());
    }

    /// Whether that was found out lately.
    pub(super) fn is_sound(&self) -> bool {
        self.lock().sound.is_some_and(|sound| Instant::now() < sound + SOUND)
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Keeps it from everything. Those who were refused together were refused once.
    fn refuse(&mut self, status: u16, now: Instant) {
        if self.refused.is_some_and(|refused| now < refused.until) {
            return;
        }
        let time = KEPT.saturating_mul(1 << self.times.min(8)).min(LONGEST);
        self.times += 1;
        self.refused = Some(Refused { status, until: now + time });
    }

    fn is_good(&self, now: Instant) -> bool {
        self.taken.is_some_and(|taken| now < taken + GOOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> (Standings, Arc<Standing>) {
        let standings = Standings::new();
        let server: Url = "https://auth.example/token".parse().expect("a URL");
        let standing = standings.of(&server, &Login::new("ann", "secret"));
        assert!(Arc::ptr_eq(&standing, &standings.of(&server, &Login::new("ann", "secret"))));
        assert!(!Arc::ptr_eq(&standing, &standings.of(&server, &Login::new("ann", "changed"))));
        (standings, standing)
    }

    const REFUSED: Result<bool, Failure> = Err(Failure::RefusedUs { status: 401 });

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_refused_is_kept_from_everything_for_a_moment() {
        let (_, standing) = standing();
        let [one, other] = ["one", "other"].map(|what| Subject::of(&what));
        assert_eq!(standing.admits(one), Ok(false));
        standing.refused(one, 401);
        assert_eq!((standing.admits(one), standing.admits(other)), (REFUSED, REFUSED));
        tokio::time::advance(KEPT).await;
        assert_eq!(standing.admits(other), Ok(false));
        standing.taken(other);
        assert_eq!(standing.admits(one), Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_stays_refused_is_shown_less_and_less() {
        let (_, standing) = standing();
        let subject = Subject::of(&"one");
        for seconds in [5, 10, 20, 30, 30] {
            // Two who did not wait for each other.
            standing.refused(subject, 401);
            standing.refused(subject, 401);
            tokio::time::advance(Duration::from_secs(seconds - 1)).await;
            assert_eq!(standing.admits(subject), REFUSED, "{seconds}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(standing.admits(subject), Ok(false), "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_a_login_that_is_known_to_be_good_is_about_what_was_asked_for() {
        let (_, standing) = standing();
        let [one, other] = ["one", "other"].map(|what| Subject::of(&what));
        standing.refused(one, 403);
        assert_eq!(standing.admits(one), Err(Failure::RefusedUs { status: 403 }));
        assert_eq!(standing.admits(other), Ok(false), "403 is never about the login alone");
        standing.taken(other);
        standing.refused(one, 401);
        assert_eq!((standing.admits(one), standing.admits(other)), (REFUSED, Ok(true)));
        tokio::time::advance(GOOD).await;
        standing.refused(one, 401);
        assert_eq!(standing.admits(other), REFUSED);
        standing.taken(one);
        standing.ended(403);
        assert_eq!(standing.admits(other), Err(Failure::RefusedUs { status: 403 }));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_show_a_new_login_at_once_wait_for_the_first_but_not_for_long() {
        let (_, standing) = standing();
        let subject = Subject::of(&"one");
        let first = standing.enter(subject).await;
        assert!(matches!(first, Ok(Some(_))));
        // The second hears what the first was told.
        let (second, ()) = tokio::join!(standing.enter(subject), async {
            standing.refused(subject, 401);
            drop(first);
        });
        assert_eq!(second.map(|_| true), REFUSED);
        tokio::time::advance(KEPT).await;
        let _silent = standing.enter(subject).await;
        assert!(matches!(standing.enter(subject).await, Ok(None)), "nobody waits for what hangs");
        standing.taken(subject);
        assert!(matches!(standing.enter(subject).await, Ok(None)));
    }
}
