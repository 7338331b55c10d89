//! One game: its rounds, and what has to hold after them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::ask::{Answered, Ask, Ending, Part, REPOSITORIES};
use crate::counts::{Counts, Group};
use crate::history::History;
use crate::judge::judge;
use crate::ledger::{self, Evidence, Restart};
use crate::server::Server;
use crate::setting::{Setting, Theme};
use crate::support::dice::Dice;
use crate::support::disk::{FaultDisk, Incident, IncidentKind, Op, fails};
use crate::support::eventually;
use crate::support::images::{Object, sha256};
use crate::support::mirror::{Setup, files_under};
use crate::support::upstream::{Kind, Seen};
use crate::trouble::{DEALT, Fault, LIES, LIMITED_FOR, Trouble, happened};
use crate::upstreams::Upstreams;

/// How many clients there are at once, and how many more there may be.
const CROWD: (u64, u64) = (33, 12);
/// How often the budget is looked at while clients are served.
const WATCH: Duration = Duration::from_millis(50);
/// So long after an abrupt end the store may still be finding out what it has.
const RECOLLECTION: Duration = Duration::from_secs(10);
/// What can fail of the disk, with the word for the table.
const OPS: [(Op, &str); 7] = [
    (Op::Write, "write"),
    (Op::Sync, "sync"),
    (Op::Rename, "rename"),
    (Op::Open, "open"),
    (Op::Read, "read"),
    (Op::SyncDir, "sync_dir"),
    (Op::SetLen, "set_len"),
];
/// A blob about which upstream has lied, or of an upstream that was left alone for not answering, is had after so many
/// attempts, and so much time after each.
const ATTEMPTS: usize = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// A game that is being played.
#[derive(Debug)]
pub(crate) struct Game {
    setting: Setting,
    upstream: Arc<Upstreams>,
    trouble: Arc<Trouble>,
    disk: FaultDisk,
    server: Option<Server>,
    dice: Dice,
    asked: usize,
    answers: Vec<Answered>,
    restarts: Vec<Restart>,
    /// When the disk was smaller than the budget.
    full: Vec<(Instant, Option<Instant>)>,
    history: Arc<History>,
    counts: Arc<Counts>,
}

impl Game {
    /// Plays the game of a seed to its end; fails where the model is not met.
    pub(crate) async fn play(seed: u64, history: Arc<History>, counts: Arc<Counts>) {
        let mut game = Self::begin(seed, history, counts).await;
        for round in 0..game.setting.rounds {
            game.round(round).await;
        }
        game.end().await;
    }

    async fn begin(seed: u64, history: Arc<History>, counts: Arc<Counts>) -> Self {
        let mut dice = Dice::new(seed);
        let setting = Setting::draw(seed, &mut dice);
        let (disk, upstream) = (FaultDisk::new(), Arc::new(Upstreams::start().await));
        for (repository, blob) in
            REPOSITORIES.iter().flat_map(|name| setting.blobs.iter().map(move |blob| (name, blob)))
        {
            upstream.push(repository, blob);
        }
        upstream.set_line(setting.line);
        let trouble = Trouble::new(&setting.blobs);
        trouble.begin(&upstream, setting.signed);
        history.watch(&setting.blobs, &upstream, &disk);
        history.step(format!("begin: {}", setting.describe()));
        let setup = Setup::with(&upstream.registry, &setting.upstream_lines())
            .set("store", &format!("max_bytes = \"{}B\"", setting.budget))
            .set("server", "drain_timeout = \"100ms\"")
            .disk(Arc::new(disk.clone()));
        let server = Some(Server::start(setup).await);
        Self {
            setting,
            upstream,
            trouble,
            disk,
            server,
            dice,
            asked: 0,
            answers: Vec::new(),
            restarts: Vec::new(),
            full: Vec::new(),
            history,
            counts,
        }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a mirror that runs")
    }

    /// A crowd comes, things go wrong meanwhile, and all that was answered is judged.
    async fn round(&mut self, round: u64) {
        self.history.step(format!("round {round}"));
        self.arm_upstream();
        self.arm_disk();
        let restarts = if self.setting.theme.has_restarts() { 1 + self.dice.below(3) } else { 0 };
        // With some time in between, so that there is something to lose again.
        let restarts =
            (0..restarts).map(|nth| (nth * 250 + self.dice.below(250), self.dice.percent(50))).collect();
        let crowd = self.crowd();
        let judged = self.answers.len();
        self.serve(crowd, restarts).await;
        self.judge_from(judged);
        self.trouble.end_round();
        if self.dice.percent(60) {
            self.heal();
        }
        if self.dice.percent(50) {
            self.settled().await;
            self.expect_files_right();
        }
    }

    fn arm_upstream(&mut self) {
        let theme = self.setting.theme;
        for blob in 0..self.setting.blobs.len() {
            if theme.has_breaks() && self.trouble.waiting(blob) < 2 && self.dice.percent(90) {
                for _ in 0..3 + self.dice.below(3) {
                    let fault = self.dice.pick(&DEALT);
                    self.trouble.arm(blob, fault, &mut self.dice);
                }
            }
            if theme.has_lies() && self.trouble.waiting(blob) < 2 && self.dice.percent(60) {
                let fault = self.dice.pick(&LIES);
                self.trouble.arm(blob, fault, &mut self.dice);
            }
        }
    }

    fn arm_disk(&mut self) {
        if !self.setting.theme.has_disk_trouble() {
            return;
        }
        if self.dice.percent(15) {
            let room = self.dice.below(8 << 20);
            self.history.note(None, format!("the disk has {room} bytes"));
            self.disk.resize(room);
            self.full.push((Instant::now(), None));
            return;
        }
        for _ in 0..3 + self.dice.below(3) {
            let (op, word) = self.dice.pick(&OPS);
            let (after, times) = (self.dice.below(6) as usize, 1 + self.dice.below(6) as usize);
            let fault = fails(op, "").after(after).times(times);
            let full = self.dice.percent(50) && op != Op::Read;
            self.history.note(None, format!("{word} fails after {after} calls, {times} times, full: {full}"));
            self.disk.fault(if full { fault.for_space() } else { fault });
        }
    }

    fn heal(&mut self) {
        self.history.note(None, "the disk is well");
        self.disk.heal();
        self.healed();
    }

    fn healed(&mut self) {
        for (_, to) in &mut self.full {
            to.get_or_insert_with(Instant::now);
        }
    }

    /// Who comes: most of them for the same few blobs.
    fn crowd(&mut self) -> Vec<Ask> {
        let number = self.setting.blobs.len() as u64;
        let focus: Vec<usize> = (0..3).map(|_| self.dice.below(number) as usize).collect();
        let mut dice = self.dice.split();
        let crowd = CROWD.0 + dice.below(CROWD.1 + 1);
        (0..crowd)
            .map(|_| {
                let blob = if dice.percent(70) { dice.pick(&focus) } else { dice.below(number) as usize };
                self.asked += 1;
                Ask::draw(&mut dice, self.asked, blob, self.setting.blobs[blob].size())
            })
            .collect()
    }

    /// Lets the crowd ask, all at once, and restarts the mirror after so many milliseconds each, abruptly or
    /// not.
    async fn serve(&mut self, crowd: Vec<Ask>, mut restarts: VecDeque<(u64, bool)>) {
        let began = Instant::now();
        let mut asking = JoinSet::new();
        for ask in crowd {
            ask.count(&self.counts);
            let (address, blob) = (self.server().address(), self.setting.blobs[ask.blob].clone());
            self.history.note(Some(ask.blob), format!("{ask}"));
            let history = Arc::clone(&self.history);
            asking.spawn(async move {
                let answered = ask.perform(address, blob).await;
                history.note(Some(answered.ask.blob), format!("{answered}"));
                answered
            });
        }
        let mut watch = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                answered = asking.join_next() => match answered {
                    Some(answered) => self.answers.push(answered.expect("a client without a panic")),
                    None => break,
                },
                _ = watch.tick() => {
                    let due = |(after, _): &(u64, bool)| began.elapsed() >= Duration::from_millis(*after);
                    if restarts.front().is_some_and(due) && let Some((_, abrupt)) = restarts.pop_front() {
                        self.restart(abrupt).await;
                    }
                    self.watch().await;
                }
            }
        }
        // Those that nobody has waited for.
        for (_, abrupt) in restarts {
            self.restart(abrupt).await;
        }
    }

    /// The store is inside its budget, now and ever before.
    async fn watch(&self) {
        let used = self.server().mirror().metric("roadstead_store_used_bytes", &[]).await as u64;
        // After an abrupt end an index that has missed the last moments may count what has gone.
        let told_late = self
            .restarts
            .iter()
            .any(|restart| restart.abrupt.is_some() && restart.over.elapsed() < RECOLLECTION);
        let counted = if told_late { 0 } else { used };
        for (what, bytes) in [("counts", counted), ("has had on the disk", self.disk.most())] {
            if bytes > self.setting.budget {
                let (budget, files) = (self.setting.budget, self.disk.most_by_file());
                self.history.lose(None, &format!("the store {what} {bytes} of {budget} bytes: {files:#?}"));
            }
        }
    }

    async fn restart(&mut self, abrupt: bool) {
        let server = self.server.take().expect("a mirror that runs");
        let began = Instant::now();
        self.history.note(None, if abrupt { "the mirror is torn away" } else { "the mirror stops" });
        self.counts.add(Group::Operation, "all");
        let mut stored = None;
        let server = if abrupt {
            self.counts.add(Group::Operation, "torn away and started");
            let data = server.mirror().data();
            self.disk = self.disk.kill();
            // Some disks let a store find out at leisure what a crash has left.
            self.disk.list_slowly(Duration::from_millis(self.dice.pick(&[0, 10, 40])));
            let (disk, blobs) = (self.disk.clone(), &self.setting.blobs);
            let look = || {
                disk.heal();
                stored = Some((0..blobs.len()).filter(|&blob| is_stored(&data, &blobs[blob])).collect());
            };
            server.replace(&self.disk, look).await
        } else {
            self.counts.add(Group::Operation, "stopped and started");
            let disk = self.disk.clone();
            // A store whose files cannot be read is not opened at all.
            server.restart(|| disk.heal()).await
        };
        self.history.note(None, "the mirror is there again");
        self.restarts.push(Restart { began, over: Instant::now(), abrupt: stored });
        self.server = Some(server);
        self.healed();
    }

    fn judge_from(&self, first: usize) {
        let record = self.record();
        for answered in &self.answers[first..] {
            match judge(answered, &record.of(self, answered.ask.blob)) {
                Err(why) => self.history.lose(Some(answered.ask.blob), &format!("{answered}: {why}")),
                Ok(Some(excuse)) => self.counts.add(Group::Excuse, excuse),
                Ok(None) => {}
            }
            if answered.end == Ending::Complete && answered.right && matches!(answered.status, 200 | 206) {
                let word = if answered.ask.part == Part::Whole { "whole body right" } else { "part right" };
                self.counts.add(Group::Answer, word);
            }
        }
    }

    /// All trouble ends, and everything is as if there had been none.
    async fn end(mut self) {
        self.history.step("the end");
        self.heal();
        self.trouble.end();
        self.upstream.set_line(0);
        self.settled().await;
        for blob in 0..self.setting.blobs.len() {
            self.expect_all_of(blob).await;
        }
        self.settled().await;
        eventually("upstream quiet", || self.upstream.seen().iter().all(|seen| seen.over)).await;
        self.expect_quiet().await;
        self.watch().await;
        self.expect_files_right();
        self.settle();
        self.history.step("the last stop");
        let server = self.server.take().expect("a mirror that runs");
        server.stop().await;
        eventually("no connection to upstream", || self.upstream.open_connections() == 0).await;
    }

    /// Every blob can be had, whatever was done to it before.
    async fn expect_all_of(&mut self, blob: usize) {
        for attempt in 1..=ATTEMPTS {
            let first = self.answers.len();
            let ask = Ask::whole(self.asked + 1, blob);
            self.asked += 1;
            self.serve(vec![ask], VecDeque::new()).await;
            self.judge_from(first);
            let answered = &self.answers[first];
            if answered.end == Ending::Complete && answered.status == 200 {
                return;
            }
            if attempt == ATTEMPTS {
                self.history.lose(Some(blob), "it cannot be had, though everybody is well");
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    /// All fills come to their end: what has come whole is committed.
    async fn settled(&self) {
        self.expect_zero("roadstead_fills_running").await;
    }

    /// Nobody is served any more.
    async fn expect_quiet(&self) {
        self.settled().await;
        for gauge in ["readers", "upstream_connections", "upstream_waiting", "relays_running"] {
            self.expect_zero(&format!("roadstead_{gauge}")).await;
        }
    }

    async fn expect_zero(&self, gauge: &str) {
        let deadline = Instant::now() + crate::support::PATIENCE;
        while self.server().mirror().metric(gauge, &[]).await > 0.0 {
            if Instant::now() > deadline {
                self.history.lose(None, &format!("{gauge} is not zero though all is over"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every file among the blobs has the digest that it goes by.
    fn expect_files_right(&self) {
        for file in files_under(&self.server().mirror().data(), "/blobs/sha256/") {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(bytes) = std::fs::read(&file) else { continue };
            if name.len() == 64 && sha256(&bytes)[7..] != name {
                self.history.lose(self.place_of(&name), &format!("{} has other bytes", file.display()));
            }
        }
    }

    /// Upstream has sent what the model says.
    fn settle(&self) {
        let record = self.record();
        for blob in 0..self.setting.blobs.len() {
            let evidence = record.of(self, blob);
            match ledger::settle(&evidence) {
                Err(why) => self.history.lose(Some(blob), &why),
                Ok(cost) => {
                    let word = if cost.exact { "blob had exactly once" } else { "blob had with losses" };
                    self.counts.add(Group::Answer, word);
                    self.counts.add_many(Group::Answer, "bytes had again", cost.again);
                    self.counts.add_many(Group::Answer, "bytes that might have been", cost.allowed);
                }
            }
        }
        self.expect_few_connections();
        for seen in self.upstream.seen() {
            if let Some(word) = happened(&seen) {
                self.counts.add(Group::Upstream, word);
            }
        }
        for incident in self.disk.journal() {
            self.count_incident(&incident);
        }
    }

    /// Where nothing is closed early, there are never more transfers than are allowed.
    fn expect_few_connections(&self) {
        if self.setting.theme != Theme::Calm {
            return;
        }
        let seen = self.upstream.seen();
        let transfers = seen.iter().filter(|seen| seen.object.is_some() && seen.asked.method == "GET");
        let mut steps: Vec<_> =
            transfers.filter_map(|seen| Some([(seen.began, 1_i64), (seen.last?, -1)])).flatten().collect();
        // An end before a beginning of the same moment.
        steps.sort_unstable();
        let mut now = 0;
        for (_, step) in steps {
            now += step;
            if now > self.setting.max_connections as i64 {
                self.history.lose(None, &format!("{now} transfers at once"));
            }
        }
    }

    fn count_incident(&self, incident: &Incident) {
        match incident.kind {
            IncidentKind::Failed(op, errno) => {
                let word = OPS.iter().find(|(have, _)| *have == op).map_or("other", |(_, word)| word);
                self.counts.add(Group::Disk, word);
                self.counts.add(Group::Disk, if errno == 28 { "full" } else { "broken" });
            }
            IncidentKind::Removed if is_content(incident) && self.setting.theme.is_small() => {
                self.counts.add(Group::Disk, "blob evicted");
            }
            IncidentKind::Removed | IncidentKind::Renamed(_) => {}
        }
    }

    fn place_of(&self, hex: &str) -> Option<usize> {
        self.setting.blobs.iter().position(|blob| blob.digest.ends_with(hex))
    }

    fn record(&self) -> Record {
        let places = self.setting.blobs.len();
        let mut record = Record {
            seen: vec![Vec::new(); places],
            answers: vec![Vec::new(); places],
            incidents: vec![Vec::new(); places],
            limits: Vec::new(),
            silences: Vec::new(),
        };
        for seen in self.upstream.seen() {
            if Fault::of(&seen) == Some(Fault::Limited) {
                record.limits.push((seen.began, seen.ended.unwrap_or_else(Instant::now) + LIMITED_FOR));
            }
            let is_silence = |fault| fault != Fault::Limited && fault != Fault::RangeIgnored;
            // What storage does says nothing of the registry.
            if seen.asked.kind == Kind::Blob && Fault::of(&seen).is_some_and(is_silence) {
                record.silences.push((seen.began, seen.ended.unwrap_or_else(Instant::now) + LEFT_ALONE_FOR));
            }
            let digest = match seen.asked.kind {
                Kind::Blob => Some(seen.asked.reference.clone()),
                _ => seen.object.clone(),
            };
            let place =
                digest.and_then(|digest| self.setting.blobs.iter().position(|blob| blob.digest == digest));
            if let Some(place) = place.filter(|_| seen.asked.method == "GET") {
                record.seen[place].push(seen);
            }
        }
        for answered in &self.answers {
            record.answers[answered.ask.blob].push(answered.clone());
        }
        for incident in self.disk.journal() {
            let path = incident.path.to_string_lossy().into_owned();
            let named: Vec<usize> =
                (0..places).filter(|&blob| path.contains(&self.setting.blobs[blob].digest[7..])).collect();
            let failed = matches!(incident.kind, IncidentKind::Failed(..));
            match named.first() {
                Some(&blob) if failed || is_content(&incident) => record.incidents[blob].push(incident),
                Some(_) => {}
                None if failed => record.incidents.iter_mut().for_each(|all| all.push(incident.clone())),
                None => {}
            }
        }
        record
    }
}

/// What is known, by blob.
struct Record {
    seen: Vec<Vec<Seen>>,
    answers: Vec<Vec<Answered>>,
    incidents: Vec<Vec<Incident>>,
    limits: Vec<(Instant, Instant)>,
    silences: Vec<(Instant, Instant)>,
}

impl Record {
    fn of<'a>(&'a self, game: &'a Game, blob: usize) -> Evidence<'a> {
        Evidence {
            blob,
            size: game.setting.blobs[blob].size(),
            seen: &self.seen[blob],
            answers: &self.answers[blob],
            limits: &self.limits,
            silences: &self.silences,
            incidents: &self.incidents[blob],
            restarts: &game.restarts,
            full: &game.full,
            is_hasty: game.setting.is_hasty(),
            is_small: game.setting.theme.is_small(),
        }
    }
}

/// The longest that an upstream is left alone, with a probe after it.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(11);

/// Whether it is about the bytes of a blob, and not about what is noted beside them.
fn is_content(incident: &Incident) -> bool {
    incident.path.extension().is_none()
}

fn is_stored(data: &std::path::Path, blob: &Object) -> bool {
    let hex = &blob.digest[7..];
    data.join("blobs/sha256").join(&hex[..2]).join(hex).exists()
}
