//! What a registry with the mirror in front of it would be: what reads goes to the mirror, what writes to the registry, and
//! so does whatever is about an upload.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Router {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Router {
    pub(crate) async fn start(registry: SocketAddr, mirror: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let service = service_fn(move |request: Request<Incoming>| async move {
                    let to = if is_read(request.method(), request.uri().path()) { mirror } else { registry };
                    Ok::<_, hyper::Error>(forward(request, to).await.unwrap_or_else(|why| bad_gateway(&why)))
                });
                let http = hyper::server::conn::http1::Builder::new();
                connections.spawn(http.serve_connection(TokioIo::new(connection), service));
            }
        });
        Self { address, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_read(method: &Method, path: &str) -> bool {
    (method == Method::GET || method == Method::HEAD) && !path.contains("/blobs/uploads/")
}

/// Sends the request as it is, `Host` included, so that places which are named by it lead back here.
async fn forward(request: Request<Incoming>, to: SocketAddr) -> Result<Response<Full<Bytes>>, String> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let connection = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    let (mut sender, running) = hyper::client::conn::http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|error| error.to_string())?;
    let running = tokio::spawn(running);
    let answered = sender.send_request(Request::from_parts(head, Full::new(body))).await;
    let (mut head, body) = answered.map_err(|error| error.to_string())?.into_parts();
    // A body that is cut is no answer: 502 is what shows that.
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    running.abort();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

fn bad_gateway(why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(why.to_owned())));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

#[test]
fn what_reads_is_the_mirrors_and_the_rest_the_registrys() {
    for (method, path, read) in [
        (Method::GET, "/v2/", true),
        (Method::HEAD, "/v2/a/manifests/1", true),
        (Method::GET, "/v2/a/blobs/sha256:00", true),
        (Method::GET, "/v2/a/blobs/uploads/1", false),
        (Method::PUT, "/v2/a/manifests/1", false),
        (Method::DELETE, "/v2/a/blobs/sha256:00", false),
        (Method::POST, "/v2/a/blobs/uploads/", false),
        (Method::PATCH, "/v2/a/blobs/uploads/1", false),
    ] {
        assert_eq!(is_read(&method, path), read, "{method} {path}");
    }
}
