//! A listening socket in the file system, for whoever may open it.
//!
//! It has its rights before anybody can connect to it, and goes with the process. What a process has left that
//! ended otherwise is taken away by the next one: a socket at which nobody answers. Anything else at that path stays.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};
use tokio::net::{UnixListener, UnixStream};

use super::listen::Listener;
use super::stall;

/// How many clients may wait to be let in.
const WAITING: i32 = 128;

/// A socket that is listened at. Its file goes when it is dropped, if it is still this one's.
#[derive(Debug)]
pub struct FileSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file, among those that may come to have its name.
    file: (u64, u64),
}

/// Why a socket cannot be listened at.
#[derive(Debug)]
pub enum SocketError {
    /// Another process listens there.
    InUse,
    /// Something else is there.
    NoSocket,
    /// What the system said.
    Io(io::Error),
}

impl FileSocket {
    /// Listens at this path, for whom the rights of a file (as of `chmod`) let open it, within a runtime. Blocks for no longer than a look at the file system.
    ///
    /// # Errors
    /// Somebody listens there already, or something else is there, or the system refuses.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => return Err(SocketError::NoSocket),
            Ok(_) => remove_stale(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SocketError::Io(error)),
        }
        let listening = || {
            let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Nobody can connect before it listens.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            socket.listen(WAITING)?;
            socket.set_nonblocking(true)?;
            let listener = UnixListener::from_std(socket.into())?;
            Ok((listener, identity(path)?))
        };
        let (listener, file) = listening().map_err(SocketError::Io)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }
}

/// Takes away what nobody listens at.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    match Blocking::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(SocketError::Io)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SocketError::Io(error)),
        Ok(_) => Err(SocketError::InUse),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

impl Drop for FileSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "the socket stays behind");
        }
    }
}

impl Listener for FileSocket {
    type Connection = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.listener.accept().await.map(|(stream, _)| (stream, None))
    }
}

stall::socket_of_the_system!(UnixStream);

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process listens there"),
            Self::NoSocket => f.write_str("something is there that is no socket, and is left alone"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SocketError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_alone_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = FileSocket::bind(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(FileSocket::bind(&path, 0o600), Err(SocketError::InUse)));
        assert!(path.exists(), "whoever was refused takes nothing away");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_anything_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        // Closed without being removed, as at the end of a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = FileSocket::bind(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(socket);
        assert!(matches!(FileSocket::bind(&path, 0o600), Err(SocketError::NoSocket)));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let nowhere = FileSocket::bind(&dir.path().join("no/admin.sock"), 0o600);
        assert!(matches!(nowhere, Err(SocketError::Io(_))));
    }
}
