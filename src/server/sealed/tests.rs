use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::*;
use crate::server::batch::{LEAST, MOST};

/// What a cipher adds to each record.
const TAG: usize = 16;

/// A wire whose far end is looked at from outside, and that takes as much as it is let.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    /// What the client sent and was not read.
    sent: Vec<u8>,
    /// Whether nothing follows that.
    is_over: bool,
    /// What was written to the client.
    written: Vec<u8>,
    /// In how many calls.
    calls: usize,
    /// How much is taken in one call, and in all; then the wire is full.
    at_once: usize,
    room: usize,
    is_shut: bool,
    is_broken: bool,
}

impl Wire {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.ends();
        let n = ends.sent.len().min(into.remaining());
        if n == 0 && !ends.is_over {
            return Poll::Pending;
        }
        into.put_slice(&ends.sent.drain(..n).collect::<Vec<u8>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.ends();
        if ends.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut left = ends.at_once.min(ends.room);
        if left == 0 {
            return Poll::Pending;
        }
        let before = ends.written.len();
        for slice in slices {
            let n = slice.len().min(left);
            ends.written.extend_from_slice(&slice[..n]);
            left -= n;
        }
        let taken = ends.written.len() - before;
        ends.room -= taken;
        ends.calls += 1;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ends().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection after its handshake, and its client.
struct Talking {
    sealed: Sealed<Wire>,
    rest: Rest<Wire>,
    wire: Wire,
    client: ClientConnection,
    bell: Arc<Bell>,
    waker: Waker,
    /// What the client has read.
    got: Vec<u8>,
    /// The lengths of the records in which it came, where no call ended within one.
    records: Vec<usize>,
}

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

fn configs(versions: &[&'static SupportedProtocolVersion]) -> Configs {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

static NEW: LazyLock<Configs> = LazyLock::new(|| configs(&[&TLS13]));
static OLD: LazyLock<Configs> = LazyLock::new(|| configs(&[&TLS12]));

impl Talking {
    fn new((server, client): &Configs) -> Self {
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            let mut flight = &flight[..];
            while !flight.is_empty() {
                server.read_tls(&mut flight).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            let mut flight = &flight[..];
            while !flight.is_empty() {
                client.read_tls(&mut flight).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        let wire = Wire::default();
        wire.ends().at_once = usize::MAX;
        wire.ends().room = usize::MAX;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let (sealed, rest) = Sealed::new(wire.clone(), server);
        Self { sealed, rest, wire, client, bell, waker, got: Vec::new(), records: Vec::new() }
    }

    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Sealed<Wire>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Option<io::Result<T>> {
        match poll(Pin::new(&mut self.sealed), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    fn write(&mut self, slices: &[&[u8]]) -> Option<io::Result<usize>> {
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        self.poll(|sealed, cx| sealed.poll_write_vectored(cx, &slices))
    }

    fn flush(&mut self) -> Option<io::Result<()>> {
        self.poll(Sealed::poll_flush)
    }

    /// Nothing more is written for now.
    fn settle(&mut self) -> bool {
        self.rest.settle(&mut Context::from_waker(&self.waker))
    }

    fn queued(&self) -> usize {
        self.sealed.inner().queued
    }

    fn read(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut bytes = [0; 100];
        self.poll(|sealed, cx| {
            let mut into = ReadBuf::new(&mut bytes);
            let read = sealed.poll_read(cx, &mut into);
            read.map_ok(|()| into.filled().to_vec())
        })
    }

    fn woken(&self) -> usize {
        self.bell.0.swap(0, Ordering::SeqCst)
    }

    /// The client says this.
    fn say(&mut self, plain: &[u8]) {
        self.client.writer().write_all(plain).unwrap();
        let mut flight = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut flight).unwrap();
        }
        self.wire.ends().sent.extend_from_slice(&flight);
    }

    /// The client reads what has come; whether it is told that nothing follows.
    fn receive(&mut self) -> bool {
        let written = std::mem::take(&mut self.wire.ends().written);
        let mut rest = &written[..];
        let mut is_over = false;
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            is_over |= self.client.process_new_packets().unwrap().peer_has_closed();
            let _until_it_waits = self.client.reader().read_to_end(&mut self.got);
        }
        let mut rest = &written[..];
        while let [_, _, _, high, low, after @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            self.records.push(len);
            rest = &after[len.min(after.len())..];
        }
        is_over
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn what_is_flushed_goes_out_when_the_connection_has_come_to_rest() {
    for len in [5, 9000, RECORD - 1] {
        let all = pattern(len);
        let mut talking = Talking::new(&NEW);
        assert_eq!(talking.write(&[&all[..2], b"", &all[2..]]).unwrap().unwrap(), len);
        talking.settle();
        talking.receive();
        assert_eq!(talking.got.len(), 0, "it was not flushed");
        talking.flush().unwrap().unwrap();
        talking.receive();
        assert_eq!(talking.got.len(), 0, "more may follow");
        talking.settle();
        talking.receive();
        assert!(talking.got == all, "{} of {len} bytes", talking.got.len());
        assert_eq!((talking.woken(), talking.wire.ends().calls), (0, 1));
    }
}

#[test]
fn what_fails_at_rest_is_told_to_who_comes_next() {
    for next in 0..4 {
        let mut talking = Talking::new(&NEW);
        talking.write(&[b"hello"]).unwrap().unwrap();
        talking.flush().unwrap().unwrap();
        talking.wire.ends().is_broken = true;
        talking.settle();
        assert_eq!(talking.woken(), 1, "it is polled once more");
        let told = match next {
            0 => talking.flush().map(drop_ok),
            1 => talking.read().map(drop_ok),
            2 => talking.write(&[b"more"]).map(drop_ok),
            _ => talking.poll(Sealed::poll_shutdown).map(drop_ok),
        };
        assert_eq!(told.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe, "{next}");
    }
}

fn drop_ok<T>(result: io::Result<T>) -> io::Result<()> {
    result.map(drop)
}

#[test]
fn what_the_socket_does_not_take_is_not_said_to_be_sent() {
    let mut talking = Talking::new(&NEW);
    assert!(talking.settle(), "nothing was written");
    talking.write(&[&pattern(1000)]).unwrap().unwrap();
    talking.flush().unwrap().unwrap();
    talking.wire.ends().room = 500;
    assert!(!talking.settle());
    talking.flush().unwrap().unwrap();
    assert!(!talking.settle(), "a second flush changes nothing");
    talking.wire.ends().room = 5000;
    assert!(talking.settle());
    talking.receive();
    assert_eq!(talking.got.len(), 1000);
}

#[test]
fn what_comes_in_pieces_goes_in_full_records_and_few_calls() {
    let mut talking = Talking::new(&NEW);
    let piece = pattern(RECORD);
    let mut all = Vec::new();
    for _ in 0..16 {
        let (head, mut rest) = (pattern(9), &piece[..]);
        let first = talking.write(&[&head, rest]).unwrap().unwrap();
        assert!(first >= head.len());
        rest = &rest[first - head.len()..];
        while !rest.is_empty() {
            let taken = talking.write(&[rest]).unwrap().unwrap();
            rest = &rest[taken..];
        }
        talking.flush().unwrap().unwrap();
        all.extend(head);
        all.extend_from_slice(&piece);
    }
    talking.settle();
    let calls = talking.wire.ends().calls;
    talking.receive();
    assert!(talking.got == all);
    let last = talking.records.pop().unwrap();
    let full = RECORD + 1 + TAG;
    assert!(talking.records.iter().all(|len| *len == full), "{:?}", talking.records);
    assert_eq!(last, 16 * 9 + 1 + TAG);
    assert!(calls <= all.len() / LEAST + 2, "{calls} calls for {} bytes", all.len());
}

#[test]
fn of_a_client_that_takes_nothing_no_more_than_a_batch_waits() {
    for (proven, most) in [(0, LEAST), (8 << 20, MOST)] {
        let mut talking = Talking::new(&NEW);
        let piece = pattern(100_000);
        let mut gone = 0;
        while gone < proven {
            gone += talking.write(&[&piece]).unwrap().unwrap();
            talking.receive();
        }
        talking.flush().unwrap().unwrap();
        talking.settle();
        assert_eq!(talking.queued(), 0);
        talking.wire.ends().room = 0;
        let mut waits = 0;
        while let Some(taken) = talking.write(&[&piece]) {
            waits += taken.unwrap();
        }
        // Up to a record beyond, and one that is not full.
        assert!(waits >= LEAST && waits <= most + 2 * RECORD, "{waits} of {most}");
        assert!(talking.flush().is_none(), "it cannot be flushed");
        talking.wire.ends().room = usize::MAX;
        talking.flush().unwrap().unwrap();
        talking.settle();
        talking.receive();
        assert_eq!(talking.got.len(), gone + waits);
    }
}

#[test]
fn the_end_is_told_after_everything_else() {
    for configs in [&*NEW, &*OLD] {
        let mut talking = Talking::new(configs);
        let all = pattern(RECORD + 5);
        let taken = talking.write(&[&all[..9], &all[9..]]).unwrap().unwrap();
        let all = &all[..taken];
        talking.wire.ends().room = 100;
        assert!(talking.poll(Sealed::poll_shutdown).is_none(), "there is no room for it");
        talking.wire.ends().room = usize::MAX;
        talking.poll(Sealed::poll_shutdown).unwrap().unwrap();
        assert!(talking.wire.ends().is_shut);
        assert!(talking.receive(), "the client was told");
        assert!(talking.got == all);
    }
}

#[test]
fn what_the_client_says_is_read_and_so_is_how_it_ends() {
    for configs in [&*NEW, &*OLD] {
        let mut talking = Talking::new(configs);
        assert!(talking.read().is_none());
        talking.say(b"GET /");
        assert_eq!(talking.read().unwrap().unwrap(), b"GET /");
        assert!(talking.read().is_none());
        talking.client.send_close_notify();
        talking.say(b"");
        assert_eq!(talking.read().unwrap().unwrap(), b"", "it said that this was all");

        let mut cut = Talking::new(configs);
        cut.wire.ends().is_over = true;
        assert_eq!(cut.read().unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        let mut wrong = Talking::new(configs);
        wrong.wire.ends().sent.extend_from_slice(&[23, 3, 3, 0, 40]);
        wrong.wire.ends().sent.extend_from_slice(&[7; 40]);
        assert_eq!(wrong.read().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(!wrong.wire.ends().written.is_empty(), "the client is told that it was wrong");
    }
}

/// What is done with a connection.
#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<usize>),
    Flush,
    Read,
    Settle,
    /// The wire takes so much, in all and at once.
    Room(usize, usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => prop::collection::vec(prop_oneof![0usize..40, 10_000usize..40_000], 1..5).prop_map(Deed::Write),
        3 => Just(Deed::Flush),
        1 => Just(Deed::Read),
        2 => Just(Deed::Settle),
        2 => (0usize..200_000, 1usize..70_000).prop_map(|(room, at_once)| Deed::Room(room, at_once)),
    ];
    prop::collection::vec(deed, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn g2_the_client_gets_what_was_written_however_it_goes_out(deeds in deeds(), is_old in any::<bool>()) {
        let mut talking = Talking::new(if is_old { &OLD } else { &NEW });
        let source = pattern(1 << 20);
        let mut all = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Write(lens) => {
                    let mut rest = &source[all.len() % 1000..];
                    let mut slices = Vec::new();
                    for len in lens {
                        let (slice, after) = rest.split_at(len);
                        slices.push(slice);
                        rest = after;
                    }
                    if let Some(taken) = talking.write(&slices) {
                        let taken = taken.unwrap();
                        prop_assert!(taken > 0 || slices.iter().all(|slice| slice.is_empty()));
                        all.extend_from_slice(&slices.concat()[..taken]);
                    }
                }
                Deed::Flush => {
                    let _is_done = talking.flush().transpose().unwrap();
                }
                Deed::Read => prop_assert!(talking.read().is_none()),
                Deed::Settle => {
                    let _all = talking.settle();
                }
                Deed::Room(room, at_once) => {
                    talking.wire.ends().room = room;
                    talking.wire.ends().at_once = at_once;
                }
            }
            talking.receive();
        }
        talking.wire.ends().room = usize::MAX;
        talking.flush().unwrap().unwrap();
        talking.settle();
        talking.receive();
        prop_assert!(talking.got == all, "{} of {} bytes", talking.got.len(), all.len());
    }
}
