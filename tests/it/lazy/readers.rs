//! Clients that read a blob by ranges, each as its code is known to do. Whatever they get is compared with the blob.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::body::Body;
use crate::support::client::{self, Answer, End, Request};
use crate::support::images::Object;
use crate::world::{World, blob_path};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// How large a chunk of a worker of containerd is.
pub(super) const CHUNK: u64 = 8 * MIB;
/// How many workers containerd has.
const WORKERS: usize = 16;
/// What stargz and SOCI ask first.
const PROBE: Range<u64> = 0..2;
/// How long SOCI waits for the head of an answer.
const SOCI_WAITS: Duration = Duration::from_secs(3);
/// How many ranges podman puts into one header, and stargz into its.
const MOST_RANGES: usize = 1024;

/// A client, and the blob that it reads.
#[derive(Clone, Debug)]
pub(super) struct Node {
    address: SocketAddr,
    blob: Object,
}

impl Node {
    /// A node that asks the mirror of this world.
    pub(super) fn of(world: &World, blob: &Object) -> Self {
        Self { address: world.mirror.address(), blob: blob.clone() }
    }

    fn get(&self) -> Request {
        client::get(self.address, &blob_path(&self.blob.digest))
    }

    fn size(&self) -> u64 {
        self.blob.size()
    }

    fn bytes(&self, range: &Range<u64>) -> &[u8] {
        &self.blob.bytes[range.start as usize..range.end as usize]
    }

    /// A closed range, to its last byte.
    pub(super) async fn closed(&self, range: Range<u64>) {
        let answer = self.get().range(&closed(&range)).send().await;
        answer.expect_range(&self.blob.bytes, range.start as usize, range.end as usize - 1);
    }

    /// The last `length` bytes, asked for without knowing the size.
    pub(super) async fn suffix(&self, length: u64) {
        let answer = self.get().range(&format!("-{length}")).send().await;
        let size = self.blob.bytes.len();
        answer.expect_range(&self.blob.bytes, size - length as usize, size - 1);
    }

    /// From a byte on, leaving when `length` bytes have come.
    pub(super) async fn open_for(&self, start: u64, length: u64) {
        let request = self.get().range(&format!("{start}-"));
        let mut body = Body::open(&request, self.blob.bytes.slice(start as usize..)).await;
        assert!(body.is_partial(), "a 200 to a range from {start}");
        body.until(length).await;
    }

    /// Several ranges in one header, which come as asked, in their order.
    pub(super) async fn several(&self, ranges: &[Range<u64>]) {
        let asked: Vec<_> = ranges.iter().map(closed).collect();
        let answer = self.get().range(&asked.join(",")).send().await;
        if let [range] = ranges {
            answer.expect_range(&self.blob.bytes, range.start as usize, range.end as usize - 1);
            return;
        }
        self.expect_parts(&answer, ranges);
    }

    fn expect_parts(&self, answer: &Answer, ranges: &[Range<u64>]) {
        assert_eq!((answer.status, answer.end), (206, End::Complete));
        let parts = client::parts(answer);
        assert_eq!(parts.len(), ranges.len());
        for (part, range) in parts.iter().zip(ranges) {
            let content_range = format!("bytes {}/{}", closed(range), self.size());
            assert_eq!(part.content_range, content_range);
            assert!(part.body == self.bytes(range), "the bytes of {content_range} are others");
        }
    }

    /// All of it.
    pub(super) async fn whole(&self) {
        Body::open(&self.get(), self.blob.bytes.clone()).await.rest().await;
    }

    /// Probes as stargz and SOCI do: two bytes, and the size from a HEAD.
    async fn probe(&self) {
        self.closed(PROBE).await;
        let head = client::head(self.address, &blob_path(&self.blob.digest)).send().await.expect(200);
        assert_eq!(head.length(), Some(self.size()));
    }

    /// containerd since 2.1: the first request is from 0 to the end; then each of 16 workers opens a range to the end at
    /// the next chunk, reads the chunk, closes, and goes on to the next.
    pub(super) async fn containerd(&self) {
        let next = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (node, next) = (self.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    loop {
                        let start = next.fetch_add(1, Ordering::Relaxed) * CHUNK;
                        if start >= node.size() {
                            return;
                        }
                        node.open_for(start, CHUNK).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
    }

    /// stargz: probe, footer, table of contents, then what the files that are read need, several chunks a request.
    /// Gives what it has read.
    pub(super) async fn stargz(&self) -> Vec<Range<u64>> {
        const FOOTER: u64 = 47;
        self.probe().await;
        let footer = self.size() - FOOTER..self.size();
        self.closed(footer.clone()).await;
        let toc = footer.start - 300 * KIB..footer.start;
        self.closed(toc.clone()).await;
        let mut read = vec![PROBE, toc, footer];
        for number in 0..12 {
            // A file in the middle, one in front of it, one after it; some chunks beside each other.
            let middle = spread(number, self.size() - 4 * MIB);
            let first = middle..middle + 64 * KIB;
            let chunks =
                [first.clone(), first.end..first.end + 4 * KIB, middle + MIB..middle + MIB + 200 * KIB];
            self.several(&chunks).await;
            read.extend(chunks);
        }
        read
    }

    /// podman with zstd:chunked: the footer, the manifest before it, then the chunks it lacks, up to 1,024 in a header;
    /// half of them where the mirror says 400. Gives what it has read.
    pub(super) async fn zstd_chunked(&self) -> Vec<Range<u64>> {
        const FOOTER: u64 = 64;
        let footer = self.size() - FOOTER..self.size();
        let manifest = footer.start - 500 * KIB..footer.start;
        self.suffix(FOOTER).await;
        self.closed(manifest.clone()).await;
        let step = manifest.start / 1500;
        let lacking: Vec<_> = (0..1500).map(|at| at * step..at * step + step / 3).collect();
        let (mut at, mut most) = (0, MOST_RANGES);
        while at < lacking.len() {
            let batch = &lacking[at..lacking.len().min(at + most)];
            let asked: Vec<_> = batch.iter().map(closed).collect();
            let answer = self.get().range(&asked.join(",")).send().await;
            if answer.status == 400 && most > 1 {
                most /= 2;
                continue;
            }
            self.expect_parts(&answer, batch);
            at += batch.len();
        }
        [lacking, vec![manifest, footer]].concat()
    }

    /// SOCI: spans of 4 MiB, closed but for the last, from the middle of the blob on and then from its beginning, four
    /// at once; each head within 3 s. Gives what it has read.
    pub(super) async fn soci(&self, spans: u64) -> Vec<Range<u64>> {
        const SPAN: u64 = 4 * MIB;
        self.probe().await;
        let number = self.size().div_ceil(SPAN);
        let order: Vec<u64> =
            (number / 2..number).chain(0..number / 2).step_by(2).take(spans as usize).collect();
        let mut read = Vec::from([PROBE]);
        for group in order.chunks(4) {
            let asking: Vec<_> = group
                .iter()
                .map(|at| at * SPAN..self.size().min((at + 1) * SPAN))
                .map(|span| {
                    read.push(span.clone());
                    tokio::spawn(self.clone().span(span))
                })
                .collect();
            for one in asking {
                one.await.unwrap();
            }
        }
        read
    }

    async fn span(self, span: Range<u64>) {
        let asked = if span.end == self.size() { format!("{}-", span.start) } else { closed(&span) };
        let begun = Instant::now();
        let reading = self.get().range(&asked).open().await;
        assert!(begun.elapsed() < SOCI_WAITS, "the head of {asked} came after {:?}", begun.elapsed());
        reading.rest().await.expect_range(&self.blob.bytes, span.start as usize, span.end as usize - 1);
    }

    /// nydus: one closed range at a time. Gives what it has read.
    pub(super) async fn nydus(&self) -> Vec<Range<u64>> {
        let meta = self.size() - 2 * MIB..self.size();
        self.closed(meta.clone()).await;
        let mut read = vec![meta];
        for number in 0..16 {
            let at = spread(number, self.size() - MIB);
            let chunk = at..at + 700 * KIB;
            self.closed(chunk.clone()).await;
            read.push(chunk);
        }
        read
    }

    /// nydus as it streams: an open range that is left in the middle, but none at all where it begins at 0. It copies
    /// what any answer in the two hundreds gives, from its start.
    pub(super) async fn nydus_streams(&self) {
        self.open_for(self.size() / 3, MIB).await;
        let mut stream = Body::open(&self.get(), self.blob.bytes.clone()).await;
        stream.until(MIB).await;
    }
}

/// `first-last`
fn closed(range: &Range<u64>) -> String {
    format!("{}-{}", range.start, range.end - 1)
}

/// Places below `size` in an order of no pattern, the same at every run.
pub(super) fn spread(number: u64, size: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) % size
}
