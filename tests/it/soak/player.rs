//! A client that pulls, and does not give up where it is told that there is no answer now; it measures how long everything
//! takes, and believes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;

use crate::support::client::{self, Answer, End, Request};
use crate::support::dice::Dice;
use crate::support::images::Object;
use crate::world::REPOSITORY;

use super::secrets::Secret;
use super::stage::{Registry, Stage, Ware};

/// No head takes longer than this.
const HEAD_IN_TIME: Duration = Duration::from_secs(25);

/// Nobody waits for longer than this for a byte, or for what there has been a way to all the while.
const IN_TIME: Duration = Duration::from_secs(30);

/// What some clients show to the mirror.
pub(super) const CLIENT_SECRET: &str = "shown-by-a-client";

/// What clients have met.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) pulls: AtomicUsize,
    pub(super) lists: AtomicUsize,
    pub(super) statuses: Mutex<BTreeMap<u16, usize>>,
    pub(super) cut: AtomicUsize,
    pub(super) longest_head: Mutex<(Duration, String)>,
    pub(super) longest_silence: Mutex<(Duration, String)>,
    pub(super) longest_wait: Mutex<(Duration, String)>,
}

/// One client.
pub(super) struct Player<'a> {
    pub(super) stage: &'a Stage,
    pub(super) mirror: SocketAddr,
    pub(super) secrets: &'a [Secret],
    pub(super) met: &'a Met,
    pub(super) dice: Dice,
    /// Which registry is being asked.
    pub(super) at: &'static str,
}

/// What an answer comes to.
enum Told {
    Content(Answer),
    /// Ask again.
    NotNow,
}

impl Player<'_> {
    /// Pulls until it is over.
    pub(super) async fn play(mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let ware = self.stage.choose(&mut self.dice);
            let home = self.dice.pick(&ware.homes);
            self.pull(&ware, &self.stage.registries[home]).await;
            self.met.pulls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pulls one thing, with all that is asked for around it.
    pub(super) async fn pull(&mut self, ware: &Ware, registry: &Registry) {
        self.at = registry.name;
        let path = |rest: &str| format!("/v2/{}/{REPOSITORY}/{rest}", registry.name);
        let manifest = &ware.image.manifest;
        let name = if self.dice.percent(60) { &ware.tag } else { &manifest.digest };
        let by_name = path(&format!("manifests/{name}"));
        if self.dice.percent(30) {
            self.head(ware, &by_name, manifest).await;
        }
        self.have(ware, registry, &by_name, manifest).await;
        for blob in ware.image.blobs() {
            let path = path(&format!("blobs/{}", blob.digest));
            match self.dice.below(10) {
                0 => self.head(ware, &path, blob).await,
                1 | 2 => self.part(ware, &path, blob).await,
                _ => {}
            }
            self.have(ware, registry, &path, blob).await;
        }
        if self.dice.percent(25) {
            self.tags(ware, &path("tags/list")).await;
        }
        if self.dice.percent(25) {
            self.referrers(ware, &path(&format!("referrers/{}", manifest.digest))).await;
            let artifact = &ware.artifact.manifest;
            self.have(ware, registry, &path(&format!("manifests/{}", artifact.digest)), artifact).await;
        }
    }

    /// Pulls it whole.
    async fn have(&mut self, ware: &Ware, registry: &Registry, path: &str, object: &Object) {
        let begun = Instant::now();
        let mut got = Vec::new();
        while got.len() < object.bytes.len() {
            if let Some(orderly) = registry.orderly() {
                let waited = orderly.max(begun).elapsed();
                assert!(waited < self.stage.patient(IN_TIME), "{path}: {} bytes in {waited:?}", got.len());
                longest(&self.met.longest_wait, waited, path);
            }
            let mut request = client::get(self.mirror, path);
            if !got.is_empty() {
                request = request.range(&format!("{}-", got.len()));
            }
            let Told::Content(answer) = self.ask(ware, request).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if answer.status == 200 {
                got.clear();
            }
            let at = got.len();
            let right = object.bytes.get(at..at + answer.body.len()) == Some(&answer.body[..]);
            if answer.end == End::Complete {
                assert!(
                    right && at + answer.body.len() == object.bytes.len(),
                    "{path}: whole from {at}, and wrong: {}{}",
                    String::from_utf8_lossy(&answer.head),
                    String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
                );
            }
            // What was cut may be wrong, and that is why it was cut: a client that sees that begins anew.
            if right { got.extend_from_slice(&answer.body) } else { got.clear() }
        }
        assert!(got == object.bytes, "{path}: put together wrong");
    }

    /// Reads a part of a blob; one that is cut is left.
    async fn part(&mut self, ware: &Ware, path: &str, blob: &Object) {
        let first = self.dice.below(blob.size()) as usize;
        let request = client::get(self.mirror, path).range(&format!("{first}-"));
        if let Told::Content(answer) = self.ask(ware, request).await
            && answer.status == 206
            && answer.end == End::Complete
        {
            assert!(answer.body == blob.bytes[first..], "{path}: the bytes from {first} on are wrong");
        }
    }

    async fn head(&mut self, ware: &Ware, path: &str, object: &Object) {
        if let Told::Content(answer) = self.ask(ware, client::head(self.mirror, path)).await {
            let is_so = answer.header("docker-content-digest") == Some(&object.digest);
            assert!(is_so || self.stage.shared.was_lied_about(ware), "{path}: {:?}", answer.headers);
        }
    }

    async fn tags(&mut self, ware: &Ware, path: &str) {
        let Told::Content(answer) = self.ask(ware, client::get(self.mirror, path)).await else { return };
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        let tags: Vec<&str> =
            list["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert!(tags.is_sorted() && tags.iter().all(|tag| tag.starts_with(['w', 's'])), "{path}: {tags:?}");
        self.met.lists.fetch_add(1, Ordering::Relaxed);
    }

    /// That nobody could look is not that there is nothing (G10).
    async fn referrers(&mut self, ware: &Ware, path: &str) {
        let Told::Content(answer) = self.ask(ware, client::get(self.mirror, path)).await else { return };
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        let listed = list["manifests"].as_array().unwrap();
        let is_there = listed.iter().any(|found| found["digest"] == ware.artifact.manifest.digest.as_str());
        assert!(is_there || self.stage.shared.was_lied_about(ware), "{path}: {list}");
        assert!(listed.len() <= 1, "{path}: {list}");
        self.met.lists.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks once, and takes the time of each step.
    async fn ask(&mut self, ware: &Ware, request: Request) -> Told {
        let request = if self.dice.percent(10) {
            request.header("Authorization", &format!("Bearer {CLIENT_SECRET}"))
        } else {
            request
        };
        let line = String::from_utf8_lossy(&request.wire()).lines().next().unwrap_or_default().to_owned();
        let begun = Instant::now();
        let (head_in_time, in_time) = (self.stage.patient(HEAD_IN_TIME), self.stage.patient(IN_TIME));
        let Ok(reading) = timeout(head_in_time, request.try_open()).await else {
            panic!("{line}: no head in {head_in_time:?}");
        };
        let Some(mut reading) = reading else {
            panic!("{line}: the connection ended without a head after {:?}", begun.elapsed());
        };
        longest(&self.met.longest_head, begun.elapsed(), &line);
        while reading.end().is_none() {
            let begun = Instant::now();
            let read = timeout(in_time, reading.more()).await;
            assert!(read.is_ok(), "{line}: nothing in {in_time:?} after {} bytes", reading.so_far().len());
            longest(&self.met.longest_silence, begun.elapsed(), &line);
        }
        let answer = reading.rest().await;
        self.heard(ware, &line, answer)
    }

    fn heard(&self, ware: &Ware, line: &str, answer: Answer) -> Told {
        *self.met.statuses.lock().unwrap().entry(answer.status).or_default() += 1;
        self.met.cut.fetch_add(usize::from(answer.end != End::Complete), Ordering::Relaxed);
        let mut shown = String::from_utf8_lossy(&answer.head).into_owned();
        if answer.status >= 300 {
            shown.push_str(&String::from_utf8_lossy(&answer.body));
        }
        for secret in self.secrets {
            assert!(!secret.is_in(&shown), "{line}: a client is shown a secret: {shown}");
        }
        assert!(!shown.contains("/signed/"), "{line}: a client is shown where bytes are: {shown}");
        match answer.status {
            200 | 206 => Told::Content(answer),
            429 | 502 | 503 | 504 => Told::NotNow,
            // What upstream has said may be believed, and is asked again.
            401 | 403 | 404 | 410 if self.stage.shared.was_lied_about(ware) => Told::NotNow,
            403 if self.stage.shared.has_revoked(self.at) => Told::NotNow,
            other => panic!("{line}: {other} {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}

fn longest(so_far: &Mutex<(Duration, String)>, time: Duration, what: &str) {
    let mut so_far = so_far.lock().unwrap();
    if time > so_far.0 {
        *so_far = (time, what.to_owned());
    }
}
