//! What happened in a game, for whoever has to find out why it was lost.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::support::disk::FaultDisk;
use crate::support::images::Object;
use crate::upstreams::Upstreams;

/// How much of the story of a blob is told.
const LINES: usize = 200;

/// The lines of one game, with what its upstream and its disk remember.
#[derive(Debug)]
pub(crate) struct History {
    seed: u64,
    began: Instant,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    step: String,
    lines: Vec<Line>,
    scene: Option<Scene>,
}

/// Whom to ask for what they remember.
#[derive(Clone, Debug)]
struct Scene {
    blobs: Vec<Object>,
    upstream: Arc<Upstreams>,
    disk: FaultDisk,
}

#[derive(Clone, Debug)]
struct Line {
    at: Instant,
    /// Of which blob; none: of all.
    blob: Option<usize>,
    text: String,
}

impl History {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { seed, began: Instant::now(), told: Mutex::default() })
    }

    pub(crate) fn watch(&self, blobs: &[Object], upstream: &Arc<Upstreams>, disk: &FaultDisk) {
        let scene = Scene { blobs: blobs.to_vec(), upstream: Arc::clone(upstream), disk: disk.clone() };
        self.told.lock().unwrap().scene = Some(scene);
    }

    /// The game comes to its next step.
    pub(crate) fn step(&self, step: impl Into<String>) {
        let step = step.into();
        self.note(None, format!("--- {step}"));
        self.told.lock().unwrap().step = step;
    }

    /// Something happened.
    pub(crate) fn note(&self, blob: Option<usize>, text: impl Into<String>) {
        self.told.lock().unwrap().lines.push(Line { at: Instant::now(), blob, text: text.into() });
    }

    /// The game is lost.
    #[track_caller]
    pub(crate) fn lose(&self, blob: Option<usize>, why: &str) -> ! {
        let step = self.told.lock().unwrap().step.clone();
        let story = self.story(blob);
        panic!("seed {}, {step}: {why}\n{story}", self.seed)
    }

    /// Where the game stood.
    pub(crate) fn last(&self) -> String {
        format!("seed {} was lost at: {}", self.seed, self.told.lock().unwrap().step)
    }

    /// The last that happened to a blob, or to all.
    fn story(&self, blob: Option<usize>) -> String {
        let (mut lines, scene) = {
            let told = self.told.lock().unwrap();
            (told.lines.clone(), told.scene.clone())
        };
        if let Some(scene) = scene {
            lines.extend(scene.lines());
        }
        lines.retain(|line| line.blob.is_none() || blob.is_none() || line.blob == blob);
        lines.sort_by_key(|line| line.at);
        let first = lines.len().saturating_sub(LINES);
        let shown = lines[first..].iter().map(|line| {
            let at = line.at.saturating_duration_since(self.began).as_secs_f64();
            let blob = line.blob.map_or_else(String::new, |blob| format!("blob {blob}: "));
            format!("{at:>8.3} {blob}{}\n", line.text)
        });
        shown.collect()
    }
}

impl Scene {
    fn lines(&self) -> Vec<Line> {
        let place = |digest: &str| self.blobs.iter().position(|blob| blob.digest == digest);
        let mut lines = Vec::new();
        for seen in self.upstream.seen() {
            let digest = seen.object.as_deref().unwrap_or(&seen.asked.reference);
            let range = seen.asked.header("range").unwrap_or("all");
            let text = format!(
                "upstream: {} {range} -> {} {}, {} bytes from {} on connection {}, {}",
                seen.asked.method,
                seen.status,
                seen.note.unwrap_or("rightly"),
                seen.body_bytes,
                seen.offset,
                seen.asked.connection,
                seen.ended
                    .map_or_else(|| "not over".to_owned(), |ended| format!("took {:?}", ended - seen.began)),
            );
            lines.push(Line { at: seen.began, blob: place(digest), text });
        }
        for incident in self.disk.journal() {
            let path = incident.path.to_string_lossy();
            let blob = self.blobs.iter().position(|blob| path.contains(&blob.digest[7..]));
            let name: String = path.chars().rev().take(50).collect::<Vec<_>>().into_iter().rev().collect();
            lines.push(Line { at: incident.at, blob, text: format!("disk: {:?} {name}", incident.kind) });
        }
        lines
    }
}
