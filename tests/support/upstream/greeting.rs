//! How a connection is received before anything is asked over it.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;

use super::tls::{Offer, Tls};

/// What becomes of a connection in place of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It is closed at once.
    Close,
    /// It is closed when the first bytes have come.
    Leave,
    /// Nothing is ever said.
    Silence,
    /// Something is said that is neither TLS nor HTTP.
    Garbage,
    /// TLS with a certificate for another name, by nobody who is known.
    Stranger,
}

/// The connection, if there is to be a conversation on it.
pub(super) async fn receive(greeting: Option<Greeting>, mut stream: TcpStream) -> Option<TcpStream> {
    match greeting {
        None => return Some(stream),
        Some(Greeting::Close) => {}
        Some(Greeting::Leave) => drop(stream.read_u8().await),
        Some(Greeting::Silence) => drop(copy(&mut stream, &mut sink()).await),
        Some(Greeting::Garbage) => drop(stream.write_all(b"220 mail.example ESMTP\r\n").await),
        Some(Greeting::Stranger) => {
            let stranger = Tls::new(&Offer { names: &["elsewhere.example"], ..Offer::default() });
            drop(stranger.acceptor.accept(stream).await);
        }
    }
    None
}
