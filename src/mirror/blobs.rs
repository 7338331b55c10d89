//! Requests for blobs: from the store, from a running fill, else by a new one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::oci::Digest;
use crate::store::BlobFile;
use crate::telemetry::Outcome;
use crate::upstream::Whereabouts;

use super::answer::{BlobHead, Refusal, Served, Wanted};
use super::direct::Direct;
use super::fill::{Begin, BlobReader, Delivery, Fill, Origin, Parts, Place, Right, Source, Turned};
use super::look::Unread;
use super::membership::{Kind, Standing};
use super::memory::SMALL_BLOB;
use super::mode::Contact;
use super::site::{Mirror, Target};

/// How long a request waits for the file of a fill that has failed.
const FILE_IN_ORDER: Duration = Duration::from_secs(1);

/// How often a request looks anew when what it found was gone a moment later.
const ROUNDS: usize = 5;

/// How many pairs of other upstreams a fill may turn to.
const MOST_ELSEWHERE: usize = 4;

/// A blob that can be read, whole or in part, as often as the request needs.
#[derive(Debug)]
pub struct BlobAnswer {
    mirror: Mirror,
    size: Option<u64>,
    origin: Origin,
    direct: Direct,
    parts: Parts,
}

impl BlobAnswer {
    /// The size in bytes; unknown only where upstream tells it nowhere.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads `start..end`; an `end` of `u64::MAX` is that of a blob of unknown size.
    pub fn reader(&self, start: u64, end: u64, delivery: Delivery) -> BlobReader {
        let (origin, direct) = (self.origin.clone(), self.direct.clone());
        let reader = BlobReader::new(origin, direct, start, end, delivery, self.mirror.metrics().reader());
        self.parts.begin(start);
        reader
    }

    /// These parts are read one after the other, from a start to an end each: what is not here of the next ones is fetched
    /// before their readers come.
    pub fn expect(&self, parts: impl Iterator<Item = (u64, u64)>) {
        self.parts.expect(parts);
    }
}

impl Mirror {
    /// A blob under a repository. The answer comes with upstream's verdict, or at once when bytes are here (G3).
    ///
    /// # Errors
    /// Upstream's refusal or silence, where the store has nothing; that it is not asked.
    pub async fn blob(
        &self,
        target: &Target,
        digest: &Digest,
        wanted: Wanted,
    ) -> Result<Served<BlobAnswer>, Refusal> {
        self.looked_for(target, digest, wanted).await.map_err(|refusal| target.told(refusal))
    }

    async fn looked_for(
        &self,
        target: &Target,
        digest: &Digest,
        wanted: Wanted,
    ) -> Result<Served<BlobAnswer>, Refusal> {
        for _ in 0..ROUNDS {
            if let Some(answer) = self.stored_blob(target, digest).await? {
                return Ok(answer);
            }
            if let Some(answer) = self.filled_blob(target, digest, wanted.clone()).await? {
                return Ok(answer);
            }
        }
        Err(Refusal::Internal { reason: format!("{digest} came and went while it was asked for") })
    }

    /// A blob from a fill, under way or new. None when the store has it after all, or when the fill that was under way
    /// ended for reasons that are not this request's: then it is worth to look again.
    async fn filled_blob(
        &self,
        target: &Target,
        digest: &Digest,
        wanted: Wanted,
    ) -> Result<Option<Served<BlobAnswer>>, Refusal> {
        let source = Source::of(target);
        let question = target.question("blobs", digest);
        let (fill, started) = match self.fills().find(digest) {
            Some(fill) => (fill, false),
            None => {
                if let Some(status) = self.absent().recall(&question) {
                    return Err(Refusal::SaidNo { status });
                }
                if self.adopted(digest).await {
                    return Ok(None);
                }
                if let Some(refusal) = self.fills().refused_for_now(target.site.name(), digest) {
                    return Err(refusal);
                }
                let elsewhere = self.elsewhere(&source, digest);
                let right = self.right_of(target, digest);
                if target.site.contact() != Contact::Open
                    && !self.can_begin(digest, &wanted, right, &elsewhere).await
                {
                    target.may_ask()?;
                }
                if let Some(size) = self.relays().covering(digest, &source, &wanted) {
                    // The store would not take it a moment ago. Who comes later tries again.
                    return Ok(Some(self.past_the_store(digest, size, source)));
                }
                let begin = Begin { source: source.clone(), right, elsewhere, opening: wanted.clone() };
                match self.fills().start(digest, begin) {
                    Place::Stored => return Ok(None),
                    Place::Full => return Err(Refusal::Crowded),
                    Place::Joined(fill) => (fill, false),
                    Place::Started(fill) => (fill, true),
                }
            }
        };
        if !started && (fill.is_over() || !self.admit_to(&fill, target, &source).await?) {
            return self.after(&fill, target, digest).await;
        }
        match self.answer_from(&fill, source, started, &wanted).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Turned::Away) => self.after(&fill, target, digest).await,
            Err(Turned::Refused(refusal)) => {
                if started {
                    self.note_refusal(target, question, &refusal);
                }
                Err(refusal)
            }
        }
    }

    /// Waits until a fill that ended without the blob has put its file in order, to look again; where the disk takes
    /// its time for that, streams past the store.
    async fn after(
        &self,
        fill: &Arc<Fill>,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<Served<BlobAnswer>>, Refusal> {
        if timeout(FILE_IN_ORDER, fill.gone()).await.is_ok() {
            return Ok(None);
        }
        let (head, source) = (self.ask_blob_head(target, digest).await?, Source::of(target));
        // A range stays one where upstream tells no size (T40).
        let named = || self.recent().named(self.store(), &source.site, &source.repository, digest);
        let size = head.size.or_else(|| fill.size()).or_else(|| named().filter(|size| *size > 0));
        Ok(Some(self.past_the_store(digest, size, source)))
    }

    fn past_the_store(&self, digest: &Digest, size: Option<u64>, source: Source) -> Served<BlobAnswer> {
        let direct = self.direct(digest, size, source);
        let (origin, parts) = (Origin::Upstream, Parts::default());
        let answer = BlobAnswer { mirror: self.clone(), size, origin, direct, parts };
        Served::new(Outcome::Bypass, answer)
    }

    /// What a HEAD of a blob tells. Never transfers a body (T33).
    ///
    /// # Errors
    /// Upstream's refusal or silence, where the store has nothing; that it is not asked.
    pub async fn blob_head(&self, target: &Target, digest: &Digest) -> Result<Served<BlobHead>, Refusal> {
        self.head_of(target, digest).await.map_err(|refusal| target.told(refusal))
    }

    async fn head_of(&self, target: &Target, digest: &Digest) -> Result<Served<BlobHead>, Refusal> {
        if let Some(info) = self.store().blob(digest) {
            self.admit(target, digest, Kind::Blob, info.anonymous).await?;
            return Ok(Served::new(Outcome::Hit, BlobHead { size: Some(info.size) }));
        }
        // What is said of the head is said of all of it.
        if let Some(fill) = self.fills().find(digest).filter(|fill| !fill.is_cut_off()) {
            let known = fill.has_source(&Source::of(target))
                || self.standing_of(target, digest, fill.is_anonymous()) == Standing::Member;
            if let (true, Some(size)) = (known, fill.size()) {
                return Ok(Served::new(Outcome::Join, BlobHead { size: Some(size) }));
            }
        }
        let question = target.question("blobs", digest);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        if self.adopted(digest).await
            && let Some(info) = self.store().blob(digest)
        {
            self.admit(target, digest, Kind::Blob, info.anonymous).await?;
            return Ok(Served::new(Outcome::Hit, BlobHead { size: Some(info.size) }));
        }
        let asked = self.ask_blob_head(target, digest).await;
        if let Err(refusal) = &asked {
            self.note_refusal(target, question, refusal);
        }
        asked.map(|head| Served::new(Outcome::Miss, head))
    }

    /// Asks upstream about a blob in a repository, once for all who want to know; a yes makes it a member.
    pub(super) async fn ask_blob_head(&self, target: &Target, digest: &Digest) -> Result<BlobHead, Refusal> {
        target.may_ask()?;
        let question = target.question("blobs", digest);
        let waiter = self.blob_head_flights().join(question, |tell| {
            let (mirror, target, digest) = (self.clone(), target.clone(), digest.clone());
            async move { tell.answer(mirror.blob_head_upstream(&target, &digest).await) }
        });
        waiter.answer().await.unwrap_or_else(|lost| Err(Refusal::Internal { reason: lost.to_string() }))
    }

    async fn blob_head_upstream(&self, target: &Target, digest: &Digest) -> Result<BlobHead, Refusal> {
        let head = target.site.upstream().head_blob(&target.repository, digest).await?;
        if head.size == Some(0) && !digest.is_empty_content() {
            let reason = format!("{} says that {digest} is empty", target.site.name());
            return Err(Refusal::WrongContent { reason });
        }
        self.store().add_member(target.site.name(), &target.repository, digest);
        Ok(BlobHead { size: head.size })
    }

    /// A committed blob, if it is here, fit to be read, and may be served under this repository.
    async fn stored_blob(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<Served<BlobAnswer>>, Refusal> {
        let Some(info) = self.store().blob(digest) else { return Ok(None) };
        self.admit(target, digest, Kind::Blob, info.anonymous).await?;
        let (outcome, origin) = match self.open(target, digest, info.size).await {
            Ok(Some(origin)) => (Outcome::Hit, origin),
            // It was not what was committed, and the store has dropped it: it is fetched again.
            Ok(None) => return Ok(None),
            Err(Unread::Failed(error)) => {
                target.may_ask()?;
                tracing::error!(%digest, %error, "a stored blob cannot be opened; it is streamed from upstream");
                (Outcome::Bypass, Origin::Upstream)
            }
            Err(Unread::Hangs) => (Outcome::Bypass, Origin::Upstream),
        };
        self.store().touch(digest);
        let direct = self.direct(digest, Some(info.size), Source::of(target));
        let (size, parts) = (Some(info.size), Parts::default());
        let answer = BlobAnswer { mirror: self.clone(), size, origin, direct, parts };
        Ok(Some(Served::new(outcome, answer)))
    }

    /// A committed blob's bytes: in memory where it is small, read once for that and verified again; else its file. Where
    /// memory is full, what is small is mostly sent from its file as well, if that is open: a circle of small blobs that has no
    /// room would be read and verified at each request otherwise.
    async fn open(&self, target: &Target, digest: &Digest, size: u64) -> Result<Option<Origin>, Unread> {
        if let Some(bytes) = self.memory().blob(digest) {
            return Ok(Some(Origin::Memory(bytes)));
        }
        let is_for_memory = size <= SMALL_BLOB && self.memory().takes(size);
        if let Some(file) = self.store().blob_at_hand(digest).filter(|_| !is_for_memory)
            && (self.store().answers_reads() || target.may_ask().is_err())
        {
            return Ok(Some(Origin::Stored(file)));
        }
        let (store, wanted) = (self.store().clone(), digest.clone());
        let opened = self.look(target, move || {
            let Some(file) = store.open_blob(&wanted)? else { return Ok(None) };
            let small = if size <= SMALL_BLOB { read_whole(&file, &wanted) } else { None };
            Ok(Some((file, small)))
        });
        Ok(opened.await?.map(|(file, small)| match small {
            Some(bytes) => {
                self.memory().keep_blob(digest, bytes.clone());
                Origin::Memory(bytes)
            }
            None => Origin::Stored(file),
        }))
    }

    /// Whether the file of a blob that the index did not know was found in its place, as after a crash.
    async fn adopted(&self, digest: &Digest) -> bool {
        let (store, digest) = (self.store().clone(), digest.clone());
        matches!(spawn_blocking(move || store.adopt_blob(&digest)).await, Ok(Ok(Some(_))))
    }

    /// Lets a request join a fill only where its repository is known, or found, to have the blob; false when the fill
    /// is ending and takes nobody any more.
    async fn admit_to(&self, fill: &Arc<Fill>, target: &Target, source: &Source) -> Result<bool, Refusal> {
        if fill.has_source(source) {
            return Ok(true);
        }
        self.admit(target, fill.digest(), Kind::Blob, fill.is_anonymous()).await?;
        let is_member = self.store().is_member(target.site.name(), &target.repository, fill.digest());
        let right = if is_member { Right::Confirmed } else { Right::Named };
        Ok(fill.add_source(source.clone(), right))
    }

    /// A range behind the end that upstream tells of is no mistake of the client where a manifest tells of more: nobody has
    /// proven upstream right yet (G10).
    fn check_told_size(
        &self,
        fill: &Fill,
        source: &Source,
        told: Option<u64>,
        wanted: &Wanted,
    ) -> Result<(), Turned> {
        let first = match wanted {
            Wanted::From(first) | Wanted::Closed { first, .. } => *first,
            Wanted::Whole | Wanted::Suffix(_) | Wanted::Several(_) => return Ok(()),
        };
        let named = self.recent().named(self.store(), &source.site, &source.repository, fill.digest());
        match (told, named) {
            (Some(told), Some(named)) if first >= told && first < named => {
                let upstream = source.site.name();
                let reason = format!(
                    "{upstream} tells {told} bytes of {} where a manifest has {named}",
                    fill.digest()
                );
                Err(Turned::Refused(Refusal::WrongContent { reason }))
            }
            _ => Ok(()),
        }
    }

    /// What is known of a repository's right to a blob before its upstream is asked.
    fn right_of(&self, target: &Target, digest: &Digest) -> Right {
        let (store, site) = (self.store(), &target.site);
        if store.is_member(site.name(), &target.repository, digest) {
            Right::Confirmed
        } else if self.recent().named(store, site, &target.repository, digest).is_some() {
            Right::Named
        } else {
            Right::Asked
        }
    }

    /// Where else a blob can be had: of other upstreams that are known to have it.
    pub(super) fn elsewhere(&self, own: &Source, digest: &Digest) -> Vec<(Source, Right)> {
        let holders = self.store().holders(digest).into_iter();
        let others = holders.filter(|(upstream, _)| upstream != own.site.name());
        let sources = others.filter_map(|(upstream, repository)| {
            let site = self.site(&upstream)?;
            let is_member = self.store().is_member(&upstream, &repository, digest);
            let right = if is_member { Right::Confirmed } else { Right::Elsewhere };
            Some((Source { site, repository, whereabouts: Whereabouts::default() }, right))
        });
        sources.take(MOST_ELSEWHERE).collect()
    }

    /// Whether a fill can be begun although its upstream is not asked: for what an unfinished file has, or because another
    /// upstream has the blob, and what comes from there may be shown.
    async fn can_begin(
        &self,
        digest: &Digest,
        wanted: &Wanted,
        right: Right,
        elsewhere: &[(Source, Right)],
    ) -> bool {
        let is_anonymous = |source: &Source| source.site.upstream().is_anonymous_for(&source.repository);
        let may_show = match right {
            Right::Confirmed => true,
            Right::Named => elsewhere.iter().all(|(source, _)| is_anonymous(source)),
            Right::Asked | Right::Elsewhere => false,
        };
        if may_show && elsewhere.iter().any(|(source, _)| source.site.contact() == Contact::Open) {
            return true;
        }
        let (store, digest) = (self.store().clone(), digest.clone());
        let recorded = spawn_blocking(move || store.recorded(&digest)).await;
        recorded.ok().flatten().is_some_and(|recorded| wanted.is_in(&recorded.present, recorded.size))
    }

    async fn answer_from(
        &self,
        fill: &Arc<Fill>,
        source: Source,
        started: bool,
        wanted: &Wanted,
    ) -> Result<Served<BlobAnswer>, Turned> {
        let client = fill.client(wanted).ok_or(Turned::Away)?;
        let parts = Parts::asked(&client, wanted);
        let verdict = fill.verdict(&source).await?;
        self.check_told_size(fill, &source, verdict.size, wanted)?;
        if !verdict.unstored {
            match fill.cut_off() {
                // Its task finds that out a moment later.
                None => fill.reopen(),
                Some(_) if fill.has(wanted) => {}
                Some(refusal) => return Err(Turned::Refused(refusal)),
            }
        }
        let direct = self.direct(fill.digest(), verdict.size, source);
        let (outcome, origin, parts) = if verdict.unstored {
            (Outcome::Bypass, Origin::Upstream, Parts::default())
        } else {
            let outcome = if started { Outcome::Miss } else { Outcome::Join };
            (outcome, Origin::Filling { fill: Arc::clone(fill), client }, parts)
        };
        let size = verdict.size;
        Ok(Served::new(outcome, BlobAnswer { mirror: self.clone(), size, origin, direct, parts }))
    }

    fn direct(&self, digest: &Digest, size: Option<u64>, source: Source) -> Direct {
        let (relays, wrong) = (self.relays().clone(), self.fills().wrong.clone());
        Direct { digest: digest.clone(), size, source, relays, wrong }
    }
}

impl BlobAnswer {
    /// A read of the file that this answer gave out has failed, or ended early: a stored blob is put aside, so that the
    /// next request fetches it again. One on its way is its fill's. Blocks.
    pub fn distrust(&self) {
        if let Origin::Stored(file) = &self.origin {
            self.mirror.store().distrust(file);
        }
    }
}

/// The bytes of a small file, if they can be read and are what they should be. Where not, whoever reads the file finds
/// out. Blocks.
fn read_whole(file: &BlobFile, digest: &Digest) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(file.size()).ok()?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    (Digest::of(digest.algorithm(), &bytes) == *digest).then(|| bytes.into())
}
