//! A client that asks the same again and again over one connection, and looks at no more than the head and the length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Asks so many times, each once the answer before is whole.
pub(crate) fn ask(address: SocketAddr, path: &str, range: Option<&str>, times: u64) {
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\n{range}\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let (mut head, mut came) = (Vec::new(), 0);
        let end = loop {
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{path}: cut in the head");
            head.extend_from_slice(&buffer[..read]);
            came += read;
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 20"), "{path}: {text}");
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let all = end + length.unwrap();
        while came < all {
            let most = buffer.len().min(all - came);
            let read = stream.read(&mut buffer[..most]).unwrap();
            assert!(read > 0, "{path}: cut");
            came += read;
        }
    }
}
