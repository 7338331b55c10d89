//! What benchmarks of pulls share: a client that throws away what it gets, and the processor time of a mirror.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::mirror::Binary;

/// What the environment says.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    env::var(format!("ROADSTEAD_BENCH_{name}")).ok().map_or(default, |text| text.parse().unwrap())
}

/// Reads the blob to its end and throws it away.
pub(crate) fn read(mirror: &Binary, path: &str, size: u64) {
    let mut stream = TcpStream::connect(mirror.address()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = vec![0; 1 << 18];
    let (mut head, mut came) = (Vec::new(), 0);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        if came > 0 {
            came += read as u64;
            continue;
        }
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head[..end]));
            came = (head.len() - end - 4) as u64;
        }
    }
    assert_eq!(came, size, "{}", mirror.output());
}

/// The processor time that a process has used.
pub(crate) fn busy(pid: u32) -> Duration {
    /// What Linux counts it in, whatever the kernel was built with.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    TICK * ticks.sum::<u32>()
}
