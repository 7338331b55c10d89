//! Switching modes while the mirror runs.
//!
//! What is said here holds until it is taken back or the process ends. A reload of the configuration does not touch it: who
//! says "offline" by hand and then mends a password is offline still. A start begins with what the configuration says, so
//! what is to outlive a restart is said there. What is said of an upstream that a reload takes away holds for one of that
//! name which comes back.
//!
//! A switch reaches all that speaks to an upstream: requests, questions and fills that began under a former configuration
//! go on with the upstream they began with, and are switched with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::mode::{Contact, Mode, Modes, SaidBy, mode_of};
use super::site::{Mirror, Site};

/// The mode of one upstream, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamMode {
    /// Its name.
    pub upstream: Arc<str>,
    /// The mode.
    pub mode: Mode,
    /// Who has said so.
    pub said_by: SaidBy,
    /// Whether it can be asked at the moment.
    pub contact: Contact,
}

/// There is no upstream of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownUpstream(pub String);

impl fmt::Display for UnknownUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no upstream is called {}", self.0)
    }
}

impl std::error::Error for UnknownUpstream {}

/// What was said while the mirror runs.
#[derive(Debug)]
pub(super) struct Switch {
    said: Mutex<Said>,
    /// For those who wait for what may never come now.
    turned: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Said {
    of: BTreeMap<String, Mode>,
    all: Option<Mode>,
    /// Upstreams of former configurations, as long as somebody uses them.
    former: Vec<Weak<Site>>,
}

impl Switch {
    pub(super) fn new() -> Self {
        Self { said: Mutex::default(), turned: watch::Sender::new(()) }
    }

    /// Tells whenever a mode has changed.
    pub(super) fn turns(&self) -> watch::Receiver<()> {
        self.turned.subscribe()
    }

    /// Puts upstreams into their modes before anybody asks them.
    pub(super) fn begin(&self, sites: &[Arc<Site>]) {
        self.lock().turn(sites);
    }

    /// Has other upstreams take the place of these; `replace` does it, and gives those that were there. Nothing is said
    /// meanwhile.
    pub(super) fn replaced(&self, sites: &[Arc<Site>], replace: impl FnOnce() -> Vec<Arc<Site>>) {
        let mut said = self.lock();
        said.turn(sites);
        let old = replace();
        said.former.retain(|site| site.strong_count() > 0);
        said.former.extend(old.iter().map(Arc::downgrade));
        said.turn_former(sites);
        drop(said);
        self.turned.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn mode_of(&self, name: &str, configured: Modes) -> (Mode, SaidBy) {
        mode_of(self.of.get(name).copied(), self.all, configured)
    }

    /// Puts each of these into its mode; whether one is asked again that was not.
    fn turn(&self, sites: &[Arc<Site>]) -> bool {
        let turn = |site: &Arc<Site>| site.turn(self.mode_of(site.name(), site.policy().modes).0);
        sites.iter().filter(|site| turn(site)).count() > 0
    }

    /// The same for those of former configurations: they go as the one that has their name now, if there is one.
    fn turn_former(&self, present: &[Arc<Site>]) {
        for site in self.former.iter().filter_map(Weak::upgrade) {
            let namesake = present.iter().find(|other| other.name() == site.name()).unwrap_or(&site);
            site.turn(self.mode_of(site.name(), namesake.policy().modes).0);
        }
    }
}

impl Mirror {
    /// The mode of each upstream, in the order of the configuration.
    pub fn modes(&self) -> Vec<UpstreamMode> {
        let (sites, said) = (self.sites(), self.switch().lock());
        let of = |site: &Arc<Site>| {
            let (mode, said_by) = said.mode_of(site.name(), site.policy().modes);
            UpstreamMode { upstream: site.shared_name(), mode, said_by, contact: site.contact() }
        };
        sites.list().iter().map(of).collect()
    }

    /// Switches the mode of one upstream, or, with `None`, of all, whatever was said of one before. A mode of `None` takes
    /// back what was said. It holds at once, also for what is under way. Whoever says "online" wants it to be asked: what it
    /// has said of limits is forgotten.
    ///
    /// # Errors
    /// There is no such upstream.
    pub fn set_mode(&self, upstream: Option<&str>, mode: Option<Mode>) -> Result<(), UnknownUpstream> {
        let is_opened = {
            let mut said = self.switch().lock();
            let sites = self.sites();
            match upstream {
                None => {
                    said.all = mode;
                    said.of.clear();
                }
                Some(name) if !sites.list().iter().any(|site| site.name() == name) => {
                    return Err(UnknownUpstream(name.to_owned()));
                }
                Some(name) => match mode {
                    Some(mode) => drop(said.of.insert(name.to_owned(), mode)),
                    None => drop(said.of.remove(name)),
                },
            }
            let is_opened = said.turn(sites.list());
            said.turn_former(sites.list());
            if mode == Some(Mode::Online) {
                // A limit may be a portal's, for a day, and the portal gone.
                let meant = |site: &&Arc<Site>| upstream.is_none_or(|name| site.name() == name);
                sites.list().iter().filter(meant).for_each(|site| site.upstream().lift_limits());
            }
            is_opened
        };
        self.switch().turned.send_replace(());
        if is_opened {
            // What the switch has interrupted goes on as after a restart.
            self.resume();
        }
        Ok(())
    }

    /// Puts the modes into the metrics.
    pub fn show_modes(&self) {
        let sites = self.sites();
        for site in sites.list() {
            let words = Mode::ALL.map(|mode| (mode.as_str(), mode == site.mode()));
            self.metrics().for_upstream(site.name()).mode(&words, site.contact() != Contact::Open);
        }
    }
}
