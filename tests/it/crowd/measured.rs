//! What a crowd costs the others, measured: `make crowd`. It wants a quiet machine with little else to do.
//!
//! The crowd is a process of its own, this program again, and niced: what it needs of the processor itself is not what is
//! measured, what it makes the server do is. Pulls with it and without it take turns, so that what else the machine does falls on
//! both alike.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::support::images::image;
use crate::support::mirror::Setup;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

const IDLE: usize = 2000;
const SLOW: usize = 200;
/// Connections at a time on which heads come that never end.
const FLOOD: usize = 8;

const ROUNDS: usize = 15;
/// In each round, with the crowd and without it.
const PULLS: usize = 11;

/// By which the second process knows what it is, and whom it meets: an address, a space, what slow clients ask for.
const AGAINST: &str = "ROADSTEAD_TEST_CROWD";
/// What it says when all of it is there.
const HERE: &str = "the crowd is here";

/// The crowd, until it is dropped.
struct Crowd(Child);

impl Crowd {
    fn gather(server: SocketAddr, path: &str) -> Self {
        let mut crowd = Command::new("nice");
        crowd.args(["-n", "19"]).arg(std::env::current_exe().unwrap());
        crowd.args(["--ignored", "--exact", "--nocapture", "crowd::measured::the_crowd_itself"]);
        crowd.env(AGAINST, format!("{server} {path}")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut crowd = Self(crowd.spawn().unwrap());
        let said = BufReader::new(crowd.0.stdout.take().unwrap());
        assert!(said.lines().map_while(Result::ok).any(|line| line.contains(HERE)), "no crowd");
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A connection from the n-th address of this machine.
fn from(n: u8, server: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)), 0);
    socket.bind(&own.into()).unwrap();
    socket.connect(&server.into()).ok()?;
    Some(socket.into())
}

#[test]
#[ignore = "a part of the measurement: make crowd"]
fn the_crowd_itself() {
    let Ok(against) = std::env::var(AGAINST) else { return };
    let (server, path) = against.split_once(' ').unwrap();
    let server = server.parse().unwrap();
    // From two addresses: one may have no more than half of that.
    let idle: Vec<_> = (0..IDLE).filter_map(|n| from(if n % 2 == 0 { 2 } else { 12 }, server)).collect();
    let mut slow: Vec<_> = (0..SLOW).filter_map(|_| from(3, server)).collect();
    assert_eq!((idle.len(), slow.len()), (IDLE, SLOW));
    for stream in &mut slow {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: m\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    for _ in 0..FLOOD {
        std::thread::spawn(move || {
            let line = format!("X-Flood: {}\r\n", "x".repeat(4000));
            loop {
                let Some(mut stream) = from(4, server) else { continue };
                let begun = stream.write_all(b"GET /v2/ HTTP/1.1\r\n");
                while begun.is_ok() && stream.write_all(line.as_bytes()).is_ok() {}
            }
        });
    }
    println!("{HERE}");
    // For as long as nobody ends it, or a few minutes where nobody is left to.
    for _ in 0..1200 {
        for stream in &mut slow {
            let _none = stream.read(&mut [0; 512]);
        }
        sleep(Duration::from_millis(250));
    }
}

/// A pull as containerd does it, of what nobody looks at.
fn pull(server: SocketAddr, paths: &[String], expected: usize) -> Duration {
    let mut buffer = vec![0; 256 << 10];
    let begun = Instant::now();
    let mut taken = 0;
    for path in paths {
        let mut stream = TcpStream::connect(server).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                read => taken += read,
            }
        }
    }
    assert!(taken > expected, "{taken} of {expected} bytes");
    begun.elapsed()
}

fn median<T: PartialOrd + Copy>(mut all: Vec<T>) -> T {
    all.sort_by(|one, other| one.partial_cmp(other).unwrap());
    all[all.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a quiet machine: make crowd"]
async fn two_thousand_idle_and_200_slow_clients_and_a_flood_of_heads_leave_others_their_pulls() {
    // Beside other tests it measures those.
    if std::env::var_os("ROADSTEAD_TEST_BINARY").is_none() {
        println!("not measured: make crowd");
        return;
    }
    // The server and the crowd have them from here.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let upstream = Upstream::start().await;
    let image = image(1, &[16_000_000, 4_000_000, 50_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = Setup::of(&upstream).set("log", "level = \"info,access=off\"").spawn().await;
    let server = mirror.address();
    let large = image.blobs().find(|blob| blob.size() == 16_000_000).unwrap();
    let large = blob_path(&large.digest);
    let paths: Vec<_> = std::iter::once(manifest_path(TAG))
        .chain(image.blobs().map(|blob| blob_path(&blob.digest)))
        .collect();
    let size = image.blobs().map(|blob| blob.bytes.len()).sum();
    let pulls = {
        let paths = paths.clone();
        move || (0..PULLS).map(|_| pull(server, &paths, size).as_secs_f64()).collect::<Vec<_>>()
    };
    let pulls = async || tokio::task::spawn_blocking(pulls.clone()).await.unwrap();
    pulls().await;
    let before = mirror.most_memory();
    let (mut ratios, mut quiet, mut crowded, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut alone = median(pulls().await);
    for round in 1..=ROUNDS {
        let crowd = Crowd::gather(server, &large);
        // What fits between the server and a slow client is on its way; what comes then is the pace of such clients.
        sleep(Duration::from_secs(2));
        // What the crowd costs while nobody else is there.
        let (used, begun) = (processor(&mirror), Instant::now());
        sleep(Duration::from_secs(1));
        let share = (processor(&mirror) - used) / begun.elapsed().as_secs_f64();
        let among = median(pulls().await);
        drop(crowd);
        sleep(Duration::from_millis(500));
        // Held against the pulls before it and after it, so that a machine that becomes slower is not taken for a crowd.
        let after = median(pulls().await);
        let usual = f64::midpoint(alone, after);
        println!(
            "round {round}: {:.1} ms alone, {:.1} ms in the crowd, {:.2} times; the crowd cost {:.0} % of a processor",
            usual * 1e3,
            among * 1e3,
            among / usual,
            share * 100.0
        );
        ratios.push(among / usual);
        quiet.push(usual);
        crowded.push(among);
        shares.push(share);
        alone = after;
    }
    let more = mirror.most_memory() - before;
    let (ratio, share) = (median(ratios), median(shares));
    println!(
        "a pull of 20 MB: {:.1} ms alone, {:.1} ms in the crowd; the middle of {ROUNDS} rounds: {ratio:.2} times; the crowd \
         cost {:.0} % of a processor and {} MiB",
        median(quiet) * 1e3,
        median(crowded) * 1e3,
        share * 100.0,
        more >> 20
    );
    assert!(ratio < 1.5, "{ratio}");
    assert!(share < 0.25, "{share}");
    assert!(more < 256 << 20, "{more} bytes");
}

/// The seconds of a processor that the server has had.
fn processor(mirror: &crate::support::mirror::Binary) -> f64 {
    let mut stat = String::new();
    let path = format!("/proc/{}/stat", mirror.pid().unwrap());
    File::open(path).unwrap().read_to_string(&mut stat).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: f64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
