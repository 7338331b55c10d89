//! The mirror, as a real binary.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Certificate, Server, Slowed, serve};
use crate::process::free_port;

/// What it is started with.
pub(crate) struct Roadstead<'a> {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    /// Where its configuration and its log are.
    pub(crate) folder: PathBuf,
    /// The registry that it mirrors.
    pub(crate) origin: SocketAddr,
    pub(crate) certificate: Option<&'a Certificate>,
    pub(crate) slowed: Slowed<'a>,
    /// Further lines of its `[store]`.
    pub(crate) store: &'a str,
    /// Further tables of its configuration.
    pub(crate) tables: &'a str,
}

impl<'a> Roadstead<'a> {
    /// As it is, over a new folder.
    pub(crate) fn new(build: &'a (&'static str, PathBuf), folder: &Path, origin: SocketAddr) -> Self {
        let (name, program) = build;
        Self {
            name,
            program,
            folder: folder.join(name.replace([' ', ','], "")),
            origin,
            certificate: None,
            slowed: None,
            store: "max_bytes = \"100GiB\"",
            tables: "",
        }
    }

    /// Where its store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Server {
        fs::create_dir_all(&self.folder).unwrap();
        let [address, tls, admin] = [free_port(), free_port(), free_port()];
        let by_tls = self.certificate.map_or_else(String::new, |certificate| {
            format!(
                "[tls]\nlisten = [\"{tls}\"]\ncert = {:?}\nkey = {:?}\n",
                certificate.cert, certificate.key
            )
        });
        let text = format!(
            "[server]\nlisten = [\"{address}\"]\n{by_tls}[admin]\nlisten = \"{admin}\"\n[store]\npath = {:?}\n{}\n\
             [limits]\nconnection_rate_per_address = 0\nrequest_rate_per_address = 0\n\
             {}\n[[upstream]]\nname = \"bench.test\"\nendpoints = [\"http://{}\"]\ndefault = true\ntag_ttl = \"1d\"\n",
            self.store(),
            self.store,
            self.tables,
            self.origin,
        );
        let config = self.folder.join("roadstead.toml");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(self.program);
        command.arg("serve").arg("--config").arg(config);
        let server = serve(self.name, &mut command, address, &self.folder.join("log"), self.slowed);
        Server { tls: self.certificate.map(|_| tls), livez: (admin, "/livez"), ..server }
    }
}
