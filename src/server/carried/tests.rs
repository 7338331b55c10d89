//! Bodies through hyper and the transport over sockets of the system, held byte by byte against what they are made of.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Blocking;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::region::SENT;
use crate::http::region::fixture::{OnDisk, content};
use crate::http::{self, ContentRange, Multipart, Part, Parts, ReadAt, Region, Span, Spans};
use crate::server::Limits;
use crate::server::connection::{self, Ends, Protocol};
use crate::server::lane::Sending;
use crate::server::stall::{Socket, Transport};

mod corked;

const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(60),
    header_bytes: 128 * 1024,
    stall_timeout: Duration::from_secs(60),
    drain_timeout: Duration::from_secs(60),
};

/// Gives these pieces, one after the other.
struct These(std::collections::VecDeque<Piece>);

impl Spans for These {
    fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
    fn remaining(&self) -> Option<u64> {
        Some(self.0.iter().map(Piece::len).sum())
    }
}

fn span(file: &Arc<OnDisk>, start: usize, end: usize) -> Span {
    Span { file: Arc::<OnDisk>::clone(file), start: start as u64, end: end as u64 }
}

fn region(file: &Arc<OnDisk>, start: usize, end: usize) -> Region {
    Region::new(These([Piece::Span(span(file, start, end))].into()))
}

/// A server of one connection, whose answers are made of the paths that are asked for.
struct Served {
    task: JoinHandle<()>,
    stop: CancellationToken,
    lane: Lane,
}

fn serve<S>(socket: S, body: impl Fn(&str) -> http::Body + Send + Sync + 'static) -> Served
where
    S: Socket + Send + 'static,
{
    serve_as(&Sending::new(true), socket, body)
}

fn serve_as<S>(
    sending: &Sending,
    socket: S,
    body: impl Fn(&str) -> http::Body + Send + Sync + 'static,
) -> Served
where
    S: Socket + Send + 'static,
{
    let lane = Lane::new(sending.clone());
    let body = Arc::new(body);
    let on = lane.clone();
    let handle = move |request: Request<Incoming>| {
        let (body, lane) = (body(request.uri().path()), on.clone());
        async move {
            let length = body.remaining();
            let body = if request.method() == Method::HEAD { http::Body::Empty } else { body };
            let mut response = Response::new(Carried::new(body, Some(&lane)));
            if let Some(length) = length {
                response.headers_mut().insert("content-length", length.into());
            }
            response
        }
    };
    let stop = CancellationToken::new();
    let ends = Ends { stop: stop.clone(), cut: CancellationToken::new() };
    let transport = Transport::new(socket, LIMITS.stall_timeout).beside(Some(lane.clone()));
    let task = tokio::spawn(connection::serve(transport, Protocol::Http1, handle, LIMITS, ends));
    Served { task, stop, lane }
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    ours.set_nodelay(true).unwrap();
    (ours, client)
}

/// Asks for these at once, and has all that comes until the connection is closed.
async fn ask(client: &mut (impl AsyncRead + AsyncWrite + Unpin), asked: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (at, (method, path)) in asked.iter().enumerate() {
        let last = if at + 1 == asked.len() { "Connection: close\r\n" } else { "" };
        text += &format!("{method} {path} HTTP/1.1\r\nHost: m\r\n{last}\r\n");
    }
    client.write_all(text.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    // A cut connection may end in a reset.
    let _ended = client.read_to_end(&mut got).await;
    got
}

/// Takes an answer off the front, without its head.
fn answer<'a>(got: &mut &'a [u8], len: usize) -> &'a [u8] {
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let text = String::from_utf8_lossy(&got[..head]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200 "), "{text}");
    let (body, rest) = got[head..].split_at(len);
    *got = rest;
    body
}

#[tokio::test]
async fn regions_large_and_small_go_out_as_they_are_over_tcp_and_unix_sockets() {
    let all = content(5 * SENT as usize + 12_345);
    let file = OnDisk::of(&all);
    for (start, end) in [(0, all.len()), (1, 2), (0, 0), (4095, 20_000), (17, 3 * SENT as usize), (7, 16_391)]
    {
        let body = |file: &Arc<OnDisk>| {
            let file = Arc::clone(file);
            move |_: &str| http::Body::from(region(&file, start, end))
        };
        let (ours, mut client) = tcp().await;
        let served = serve(ours, body(&file));
        let got = ask(&mut client, &[("GET", "/")]).await;
        assert!(answer(&mut &got[..], end - start) == &all[start..end], "{start}..{end}");
        served.task.await.unwrap();
        assert!(served.lane.is_empty());

        let (ours, mut client) = UnixStream::pair().unwrap();
        let served = serve(ours, body(&file));
        let got = ask(&mut client, &[("GET", "/")]).await;
        assert!(answer(&mut &got[..], end - start) == &all[start..end], "{start}..{end}");
        served.task.await.unwrap();
    }
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_one_after_the_other() {
    let all = content(2 * SENT as usize);
    let file = OnDisk::of(&all);
    let (whole, of) = (all.clone(), Arc::clone(&file));
    let (ours, mut client) = tcp().await;
    let served = serve(ours, move |path| match path {
        "/large" => region(&of, 0, whole.len()).into(),
        "/small" => region(&of, 5, 500).into(),
        "/memory" => whole[..100].to_vec().into(),
        _ => http::Body::Empty,
    });
    let paths = ["/large", "/small", "/nothing", "/large", "/memory", "/large", "/small", "/large"];
    let asked: Vec<_> = paths.into_iter().flat_map(|path| [("GET", path), ("HEAD", path)]).collect();
    let got = ask(&mut client, &asked).await;
    let mut rest = &got[..];
    for (method, path) in asked {
        let expected = match path {
            _ if method == "HEAD" => &[][..],
            "/large" => &all[..],
            "/small" => &all[5..500],
            "/memory" => &all[..100],
            _ => &[],
        };
        assert!(answer(&mut rest, expected.len()) == expected, "{method} {path}");
    }
    assert!(rest.is_empty());
    served.task.await.unwrap();
}

#[tokio::test]
async fn t46_1024_ranges_of_all_sizes_go_out_between_their_heads() {
    let all = content(4 << 20);
    let file = OnDisk::of(&all);
    let size = all.len() as u64;
    let ranges: Vec<_> = (0..1024u64)
        .map(|at| {
            let start = at * 4000;
            let len = if at % 100 == 0 { 40_000 } else { 1 + at * 7 % 3000 };
            ContentRange::new(start, (start + len).min(size), size).unwrap()
        })
        .collect();
    let layout = Arc::new(Multipart::new("application/octet-stream", ranges.clone()));
    let len = layout.content_length() as usize;
    let (of, laid_out) = (Arc::clone(&file), Arc::clone(&layout));
    let (ours, mut client) = tcp().await;
    let served = serve(ours, move |_| {
        let open =
            |range: ContentRange| Ok::<_, ()>(region(&of, range.start() as usize, range.end() as usize));
        laid_out.body(open).unwrap().into()
    });
    let got = ask(&mut client, &[("GET", "/")]).await;
    let mut rest = answer(&mut &got[..], len);
    for range in ranges {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let said = String::from_utf8_lossy(&rest[..head]);
        assert!(said.contains(&format!("Content-Range: {range}\r\n")), "{said}");
        let body = &rest[head..][..range.len() as usize];
        assert!(body == &all[range.start() as usize..range.end() as usize], "{range}");
        rest = &rest[head + body.len()..];
    }
    served.task.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_body_goes_out_as_it_is_however_it_is_taken(
        answers in proptest::collection::vec(
            proptest::collection::vec((0usize..200_000, any::<bool>()), 0..24), 1..4),
        reads in proptest::collection::vec(1usize..100_000, 1..8),
        by_tcp in any::<bool>(),
    ) {
        let all = content(600_000);
        let file = OnDisk::of(&all);
        let cut = |len: usize, at: usize| { let start = len * 7 % 300_000 + at; (start, start + len) };
        let expected: Vec<Vec<u8>> = answers.iter().map(|parts| {
            parts.iter().enumerate().flat_map(|(at, (len, _))| {
                let (start, end) = cut(*len, at);
                all[start..end].to_vec()
            }).collect()
        }).collect();
        let bytes = Bytes::from(all);
        let made = answers.clone();
        let body = move |path: &str| {
            let parts = &made[path[1..].parse::<usize>().unwrap()];
            http::Body::from(Parts::new(parts.iter().enumerate().map(|(at, (len, on_disk))| {
                let (start, end) = cut(*len, at);
                if *on_disk { Part::Region(region(&file, start, end)) } else { Part::Bytes(bytes.slice(start..end)) }
            })))
        };
        let asked: String = (0..answers.len()).map(|at| {
            let close = if at + 1 == answers.len() { "Connection: close\r\n" } else { "" };
            format!("GET /{at} HTTP/1.1\r\nHost: m\r\n{close}\r\n")
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(async move {
            let mut got = Vec::new();
            let mut sizes = reads.into_iter().cycle();
            macro_rules! read_from {
                ($client:expr, $served:expr) => {{
                    $client.write_all(asked.as_bytes()).await.unwrap();
                    loop {
                        let mut some = vec![0; sizes.next().unwrap()];
                        let n = $client.read(&mut some).await.unwrap();
                        if n == 0 { break }
                        got.extend_from_slice(&some[..n]);
                    }
                    $served.task.await.unwrap();
                }};
            }
            if by_tcp {
                let (ours, mut client) = tcp().await;
                let served = serve(ours, body);
                read_from!(client, served);
            } else {
                let (ours, mut client) = UnixStream::pair().unwrap();
                let served = serve(ours, body);
                read_from!(client, served);
            }
            got
        });
        let mut rest = &got[..];
        for expected in expected {
            prop_assert!(answer(&mut rest, expected.len()) == &expected[..]);
        }
        prop_assert!(rest.is_empty());
    }
}

/// A file that is cut while it is sent, and counts who looks at it.
struct Cut {
    file: Arc<OnDisk>,
    looks: AtomicUsize,
}

impl ReadAt for Cut {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.file.read_at(buf, offset)
    }
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_file_that_is_cut_under_its_transfer_cuts_the_connection_and_is_looked_at() {
    let all = content(8 * SENT as usize);
    let file = Arc::new(Cut { file: OnDisk::of(&all), looks: AtomicUsize::new(0) });
    let of = Arc::clone(&file);
    let (ours, client) = UnixStream::pair().unwrap();
    let served = serve(ours, move |_| {
        let span = Span { file: Arc::<Cut>::clone(&of), start: 0, end: 8 * SENT };
        Region::new(These([Piece::Span(span)].into())).into()
    });
    let mut client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    let cut = Arc::clone(&file);
    let got = thread::spawn(move || {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut first = vec![0; 1000];
        client.read_exact(&mut first).unwrap();
        // Inside the piece that is being sent, of which the client has not taken what the socket holds.
        cut.file.0.set_len(SENT / 2).unwrap();
        let mut got = first;
        let _or_reset = client.read_to_end(&mut got);
        got
    });
    let got = got.join().unwrap();
    served.task.await.unwrap();
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = &got[head..];
    assert!(body.len() < all.len() && all.starts_with(body), "{} bytes", body.len());
    assert!(file.looks.load(Ordering::SeqCst) > 0, "whoever has the file learns of it");
    assert!(served.lane.is_open(), "the kernel is not to blame");
}

/// A file that reads well, and whose descriptor the kernel sends nothing from: it is open for writing alone.
pub(in crate::server) struct Refused {
    file: Arc<OnDisk>,
    descriptor: std::fs::File,
}

impl Refused {
    pub(in crate::server) fn of(content: &[u8]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let descriptor = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        file.as_file().write_all(content).unwrap();
        Self { file: Arc::new(OnDisk(file.into_file())), descriptor }
    }
}

impl ReadAt for Refused {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }
}

#[tokio::test]
async fn g7_what_the_kernel_refuses_to_send_though_it_reads_well_is_copied_from_then_on() {
    let all = content(3 * SENT as usize);
    let file = Arc::new(Refused::of(&all));
    let body = |file: &Arc<Refused>| {
        let file = Arc::clone(file);
        move |_: &str| {
            let span = Span { file: Arc::<Refused>::clone(&file), start: 0, end: 3 * SENT };
            Region::new(These([Piece::Span(span)].into())).into()
        }
    };
    let sending = Sending::new(true);
    let (ours, mut client) = UnixStream::pair().unwrap();
    let served = serve_as(&sending, ours, body(&file));
    let got = ask(&mut client, &[("GET", "/")]).await;
    served.task.await.unwrap();
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").map_or(got.len(), |at| at + 4);
    assert!(got[head..].is_empty(), "a connection whose file is refused is cut: {} bytes", got.len());
    assert!(!sending.by_kernel() && !served.lane.is_open());
    // Who comes then, or is there already, has a copy.
    let (ours, mut client) = UnixStream::pair().unwrap();
    let served = serve_as(&sending, ours, body(&file));
    let got = ask(&mut client, &[("GET", "/"), ("GET", "/")]).await;
    let mut rest = &got[..];
    for _ in 0..2 {
        assert!(answer(&mut rest, all.len()) == &all[..]);
    }
    assert!(rest.is_empty());
    served.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_early_leaves_nothing_behind() {
    let file = OnDisk::of(&content(8 * SENT as usize));
    let of = Arc::clone(&file);
    let (ours, client) = tcp().await;
    let served = serve(ours, move |_| region(&of, 0, 8 * SENT as usize).into());
    let mut client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    thread::spawn(move || {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 1000]).unwrap();
    })
    .join()
    .unwrap();
    served.task.await.unwrap();
    drop(served.lane);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_file_is_cut() {
    let file = OnDisk::of(&content(8 * SENT as usize));
    let (ours, _client) = UnixStream::pair().unwrap();
    let lane = Lane::new(Sending::new(true));
    let mut transport = Transport::new(ours, Duration::from_millis(100)).beside(Some(lane.clone()));
    let failure = loop {
        let mark = lane.put(span(&file, 0, SENT as usize));
        if let Err(failure) = transport.write_all(&mark).await {
            break failure;
        }
    };
    assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
}

/// Bytes of a file that grows: as many as are said to be there.
struct Growing {
    file: Arc<OnDisk>,
    told: mpsc::UnboundedReceiver<u64>,
    at: u64,
    left: u64,
}

impl Spans for Growing {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        Poll::Ready(ready!(self.told.poll_recv(cx)).map(|to| {
            let start = std::mem::replace(&mut self.at, to);
            Ok(Piece::Span(span(&self.file, start as usize, to as usize)))
        }))
    }
    fn remaining(&self) -> Option<u64> {
        Some(self.left)
    }
}

#[tokio::test]
async fn a_file_that_grows_is_sent_as_far_as_it_is_there() {
    let all = content(3 * SENT as usize);
    let file = OnDisk::of(b"");
    let (tell, told) = mpsc::unbounded_channel();
    let told = std::sync::Mutex::new(Some(told));
    let of = Arc::clone(&file);
    let len = all.len() as u64;
    let (ours, mut client) = tcp().await;
    let served = serve(ours, move |_| {
        let told = told.lock().unwrap().take().unwrap();
        Region::new(Growing { file: Arc::clone(&of), told, at: 0, left: len }).into()
    });
    client.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let mut at = 0;
    for step in [1, 20_000, 300_000, 1_000_000, 5, usize::MAX] {
        let to = all.len().min(at + step.min(all.len()));
        std::os::unix::fs::FileExt::write_all_at(&file.0, &all[at..to], at as u64).unwrap();
        tell.send(to as u64).unwrap();
        at = to;
        // What is there comes without waiting for more.
        while got.windows(4).position(|four| four == b"\r\n\r\n").is_none_or(|head| got.len() - head - 4 < at)
        {
            assert!(client.read_buf(&mut got).await.unwrap() > 0);
        }
    }
    assert!(answer(&mut &got[..], all.len()) == &all[..]);
    served.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_runs_when_the_server_stops_is_sent_whole() {
    let all = content(6 * SENT as usize);
    let file = OnDisk::of(&all);
    let of = Arc::clone(&file);
    let len = all.len();
    let (ours, mut client) = tcp().await;
    let served = serve(ours, move |_| region(&of, 0, len).into());
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut got = vec![0; 1000];
    client.read_exact(&mut got).await.unwrap();
    served.stop.cancel();
    client.read_to_end(&mut got).await.unwrap();
    assert!(answer(&mut &got[..], len) == &all[..]);
    served.task.await.unwrap();
}

/// What comes of a write beside a region of 100,000 bytes.
async fn write_beside(write: impl AsyncFnOnce(&mut Transport<UnixStream>, Bytes) -> io::Error) -> Vec<u8> {
    let file = OnDisk::of(&content(100_000));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let lane = Lane::new(Sending::new(true));
    let mut transport = Transport::new(ours, LIMITS.stall_timeout).beside(Some(lane.clone()));
    let mark = lane.put(span(&file, 0, 100_000));
    let failure = write(&mut transport, mark).await;
    assert_eq!(failure.kind(), io::ErrorKind::Other, "{failure}");
    drop(transport);
    let mut theirs: Blocking = theirs.into_std().unwrap();
    theirs.set_nonblocking(false).unwrap();
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).unwrap();
    got
}

#[tokio::test]
async fn g2_a_mark_that_was_copied_cut_or_left_out_is_never_sent() {
    let copied = write_beside(async |transport, mark| {
        let copy = Vec::from(&mark[..]);
        transport.write_all(&copy).await.unwrap_err()
    });
    assert!(copied.await.is_empty());
    let cut = write_beside(async |transport, mark| transport.write_all(&mark[..99_999]).await.unwrap_err());
    assert!(cut.await.is_empty());
    let left_out =
        write_beside(async |transport, _| transport.write_all(b"HTTP/1.1 200 OK").await.unwrap_err());
    assert!(left_out.await.is_empty());
    let ended = write_beside(async |transport, _| transport.flush().await.unwrap_err());
    assert!(ended.await.is_empty());
    let closed = write_beside(async |transport, _| transport.shutdown().await.unwrap_err());
    assert!(closed.await.is_empty());
    let twice = write_beside(async |transport, mark| {
        let slices = [IoSlice::new(&mark), IoSlice::new(&mark)];
        poll_fn(|cx| Pin::new(&mut *transport).poll_write_vectored(cx, &slices)).await.unwrap_err()
    });
    assert!(twice.await.is_empty());
}

#[tokio::test]
async fn g2_a_mark_on_a_connection_without_a_lane_is_never_sent() {
    let file = OnDisk::of(&content(100_000));
    let mark = Lane::new(Sending::new(true)).put(span(&file, 0, 100_000));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut transport = Transport::new(ours, LIMITS.stall_timeout);
    assert!(transport.write_all(&mark).await.is_err());
}

/// With a server that copies what it writes into one buffer.
#[tokio::test]
async fn g2_what_hyper_flattens_is_never_sent() {
    let file = OnDisk::of(&content(100_000));
    let (ours, mut client) = UnixStream::pair().unwrap();
    let lane = Lane::new(Sending::new(true));
    let on = lane.clone();
    let service = service_fn(move |_: Request<Incoming>| {
        let body = Carried::new(http::Body::from(region(&file, 0, 100_000)), Some(&on));
        async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
    });
    let transport = TokioIo::new(Transport::new(ours, LIMITS.stall_timeout).beside(Some(lane)));
    let serving =
        hyper::server::conn::http1::Builder::new().writev(false).serve_connection(transport, service);
    let (got, served) = tokio::join!(ask(&mut client, &[("GET", "/")]), serving);
    assert!(got.is_empty(), "{} bytes", got.len());
    assert!(served.is_err());
}

#[tokio::test]
async fn bodies_of_unknown_length_and_those_on_a_closed_lane_are_copied() {
    struct Unknown(Option<Span>);
    impl Spans for Unknown {
        fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
            Poll::Ready(self.0.take().map(|span| Ok(Piece::Span(span))))
        }
        fn remaining(&self) -> Option<u64> {
            None
        }
    }
    let all = content(60_000);
    let file = OnDisk::of(&all);
    let open = Lane::new(Sending::new(true));
    let unknown = http::Body::from(Region::new(Unknown(Some(span(&file, 0, 60_000)))));
    assert!(Carried::new(unknown, Some(&open)).collect().await.unwrap().to_bytes() == all);
    let closed = Lane::new(Sending::new(false));
    let known = http::Body::from(region(&file, 0, 60_000));
    assert!(Carried::new(known, Some(&closed)).collect().await.unwrap().to_bytes() == all);
    let none = http::Body::from(region(&file, 0, 60_000));
    assert!(Carried::new(none, None).collect().await.unwrap().to_bytes() == all);
}
