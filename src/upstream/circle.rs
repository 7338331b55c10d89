//! Mirrors that wait for each other.
//!
//! Two mirrors that are each other's endpoints may be asked for the same thing at the same moment. Each asks the other
//! then, and each has the other's question wait for its own. The names in `Via` do not show it, since neither asked because
//! the other did. So where a request that came by a mirror waits, the endpoints that are waited for are asked whether they
//! wait as well, and for whom: the question goes along from mirror to mirror, and where it comes to one that it has come
//! by, or the request before it, there is a circle. One of those in it gives way and lets the one before go to its next
//! endpoint: the one whose name is the smallest, because then it is one only, and the others have what is found.
//!
//! The question is a ping with a header more, which costs nobody a pull, and means nothing to a registry. What has been
//! seen to be a registry is not asked again for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::VIA;
use http::{HeaderValue, Response, Uri};
use tokio::time::{Instant, timeout};

use crate::http::{Pseudonym, WAITS, says_roadstead};
use crate::oci::Repository;
use crate::telemetry::Kind;

use super::Upstream;
use super::body::Received;
use super::connect::Reach;
use super::endpoint::Endpoint;
use super::wire::{drain, plain_get};

/// How long an answer may take. It is asked again.
const LIMIT: Duration = Duration::from_secs(2);

/// How long what was seen to be a registry is taken for one.
const NO_MIRROR: Duration = Duration::from_secs(600);

/// What a mirror answers that is to give way (RFC 5842, section 7.2).
const LOOP_DETECTED: u16 = 508;

/// What is waited for: a repository, and the path behind it.
type Object = (Repository, String);

/// Where heads are waited for, by what they are of.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<HashMap<Object, Vec<usize>>>);

/// A head that is waited for, for as long as it is.
#[derive(Debug)]
pub(super) struct Awaiting<'a> {
    awaited: &'a Awaited,
    object: Object,
    place: usize,
}

impl Awaited {
    /// From now on the endpoint at this place is waited for. Of a page the whole list is meant.
    pub(super) fn at(&self, place: usize, repository: &Repository, path: &str) -> Awaiting<'_> {
        let path = path.split('?').next().unwrap_or_default();
        let object = (repository.clone(), path.to_owned());
        self.lock().entry(object.clone()).or_default().push(place);
        Awaiting { awaited: self, object, place }
    }

    fn places(&self, object: &Object) -> Vec<usize> {
        let mut places = self.lock().get(object).cloned().unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, Vec<usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut awaited = self.awaited.lock();
        let Some(places) = awaited.get_mut(&self.object) else { return };
        if let Some(at) = places.iter().position(|place| *place == self.place) {
            places.swap_remove(at);
        }
        if places.is_empty() {
            awaited.remove(&self.object);
        }
    }
}

/// Whether the one that has asked first gives way, in a circle of these.
pub fn gives_way(first: Pseudonym, circle: &[Pseudonym]) -> bool {
    circle.iter().min() == Some(&first)
}

impl Upstream {
    /// By which name this mirror is known to others.
    #[must_use]
    pub fn pseudonym(&self) -> Pseudonym {
        self.pseudonym
    }

    /// Whether what is waited for here, of this, waits for a mirror that the request in hand has come by, and `first`, the
    /// one that asks so, is to give way.
    pub async fn waits_in_a_circle(&self, repository: &Repository, path: &str, first: Pseudonym) -> bool {
        let object = (repository.clone(), path.to_owned());
        for place in self.awaited.places(&object) {
            if self.is_led_back_by(&self.endpoints[place], &object, first).await {
                return true;
            }
        }
        false
    }

    async fn is_led_back_by(&self, endpoint: &Endpoint, object: &Object, first: Pseudonym) -> bool {
        if endpoint.registry.is_known() {
            return false;
        }
        let Some(ping) = self.ping_of(endpoint) else { return false };
        let mut request = plain_get(ping);
        let waits = HeaderValue::try_from(format!("{first} /v2/{}/{}", object.0, object.1));
        let (Some(via), Ok(waits)) = (self.via(), waits) else { return false };
        request.headers_mut().insert(VIA, via);
        request.headers_mut().insert(WAITS, waits);
        let sent = timeout(LIMIT, self.net.send(Kind::ManifestHead, Reach::Configured, request)).await;
        let Ok(Ok(answer)) = sent else { return false };
        if !is_mirror(&answer) {
            endpoint.registry.note();
            return false;
        }
        let found = answer.status().as_u16() == LOOP_DETECTED;
        drain(answer).await;
        found
    }

    fn ping_of(&self, endpoint: &Endpoint) -> Option<Uri> {
        let mut url = endpoint.url.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["v2", ""]);
        if self.pass_ns {
            url.query_pairs_mut().append_pair("ns", &self.name);
        }
        url.as_str().parse().ok()
    }
}

fn is_mirror(answer: &Response<Received>) -> bool {
    answer.headers().get_all("cache-status").iter().any(|said| said.to_str().is_ok_and(says_roadstead))
}

/// Whether an endpoint is known to be no mirror of our kind.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Option<Instant>>);

impl Registry {
    fn is_known(&self) -> bool {
        self.lock().is_some_and(|seen| seen.elapsed() < NO_MIRROR)
    }

    fn note(&self) {
        *self.lock() = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t93_what_is_waited_for_is_known_for_as_long_as_it_is() {
        let awaited = Awaited::default();
        let repository: Repository = "team/app".parse().expect("a repository");
        let object = (repository.clone(), "tags/list".to_owned());
        let (one, two) =
            (awaited.at(1, &repository, "tags/list?n=5"), awaited.at(0, &repository, "tags/list"));
        let again = awaited.at(1, &repository, "tags/list?n=6");
        assert_eq!(awaited.places(&object), [0, 1]);
        drop(one);
        assert_eq!(awaited.places(&object), [0, 1]);
        drop((two, again));
        assert_eq!(awaited.places(&object), [0; 0]);
        assert!(awaited.lock().is_empty());
    }

    #[test]
    fn t93_of_a_circle_one_gives_way() {
        let mut names = [Pseudonym::random(), Pseudonym::random(), Pseudonym::random()];
        names.sort_unstable();
        let [least, middle, most] = names;
        for circle in [[least, middle, most], [most, least, middle]] {
            assert_eq!(names.map(|first| gives_way(first, &circle)), [true, false, false]);
        }
        assert!(gives_way(middle, &[most, middle]));
        assert!(gives_way(least, &[least]));
    }
}
