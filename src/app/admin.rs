//! The ways to the admin API: at which listener it is served, and for whom.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::api::Desk;
use crate::config::{self, AdminApi};
use crate::server::api::{Api, Gate, TokenCheck};

/// The API as it is served at this address, if it is.
pub(super) fn at_address(admin: &config::Admin, address: SocketAddr, desk: &Arc<dyn Desk>) -> Option<Api> {
    let gate = match &admin.token_file {
        Some(file) => Gate::Token(token_check(file.clone())),
        None if address.ip().to_canonical().is_loopback() => Gate::Machine,
        // The configuration has been told so; a desk without a door is safe whoever has put it together.
        None => return None,
    };
    (admin.api == AdminApi::On).then(|| Api::new(Arc::clone(desk), gate))
}

/// The API as it is served at a socket, if it is.
pub(super) fn at_socket(admin: &config::Admin, desk: &Arc<dyn Desk>) -> Option<Api> {
    (admin.api != AdminApi::Off).then(|| Api::new(Arc::clone(desk), Gate::Owner))
}

/// Reads the file each time: what is in it counts from the moment it is there, and nobody asks often.
fn token_check(file: PathBuf) -> TokenCheck {
    Arc::new(move |shown| {
        let token = config::read_token(&file).map_err(|problem| format!("{}: {problem}", file.display()))?;
        Ok(token.expose().as_bytes().ct_eq(shown.as_bytes()).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_a_token_counts_from_the_moment_it_is_in_the_file_and_not_after() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let file = write("token", "first\n");
        let check = token_check(file.clone());
        assert_eq!(check("first"), Ok(true));
        for wrong in ["", "firs", "first ", "first\n", "First", "second"] {
            assert_eq!(check(wrong), Ok(false), "{wrong:?}");
        }
        std::fs::rename(write("next", "second"), &file).unwrap();
        assert_eq!((check("first"), check("second")), (Ok(false), Ok(true)));
        std::fs::rename(write("next", " \n"), &file).unwrap();
        assert!(check("").is_err() && check("second").is_err(), "an empty file admits nobody");
        std::fs::remove_file(&file).unwrap();
        assert!(check("second").is_err());
    }
}
