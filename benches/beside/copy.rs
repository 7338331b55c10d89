//! One proxied copy through hyper and nothing else: what the least mirror would cost. It is a process of its own, this
//! program with other words, so that its processor time can be told.

use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::process::{Process, free_port};

const WORD: &str = "--plays-a-copying-proxy";

/// What this process is, if it is not the benchmark.
pub(crate) struct Role {
    address: SocketAddr,
    origin: SocketAddr,
}

impl Role {
    /// What it was started as.
    pub(crate) fn of_arguments() -> Option<Self> {
        let mut words = env::args().skip_while(|word| word != WORD).skip(1);
        Some(Self { address: words.next()?.parse().ok()?, origin: words.next()?.parse().ok()? })
    }

    /// Serves until it is ended.
    pub(crate) fn play(&self) -> ! {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(self.address).await.unwrap();
            let client: Client<HttpConnector, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).build(HttpConnector::new());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (client, origin) = (client.clone(), self.origin);
                tokio::spawn(async move {
                    let service = service_fn(|request| pass_on(client.clone(), origin, request));
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        })
    }
}

async fn pass_on(
    client: Client<HttpConnector, Empty<Bytes>>,
    origin: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Infallible> {
    let uri: Uri = format!("http://{origin}{}", request.uri()).parse().unwrap();
    Ok(client.get(uri).await.unwrap())
}

/// Starts it as a process.
pub(crate) fn start(folder: &Path, origin: SocketAddr) -> (Process, SocketAddr) {
    let address = free_port();
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(WORD).arg(address.to_string()).arg(origin.to_string());
    let log = folder.join("copy.log");
    let mut process = Process::start(&mut command, &log);
    process.await_port(address, &log);
    (process, address)
}
