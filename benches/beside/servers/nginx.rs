//! nginx: with static files, which are also what caches fetch, and as a cache itself.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Certificate, PROXY, STATIC, Server, Slowed, find, serve};
use crate::content::{Content, MANIFEST, REPOSITORY};
use crate::process::free_port;

/// nginx over files, and a registry of the same files for others to fetch from.
pub(crate) struct Static {
    pub(crate) server: Server,
    /// Where the registry is.
    pub(crate) origin: SocketAddr,
}

impl Static {
    /// Starts it; none where nginx is not at hand. `by_threads`: its workers do not wait for the disk themselves.
    pub(crate) fn start(
        folder: &Path,
        content: &Content,
        certificate: &Certificate,
        by_threads: bool,
        slowed: Slowed<'_>,
    ) -> Option<Self> {
        let [address, tls, origin] = [free_port(), free_port(), free_port()];
        let mut tags = String::new();
        for (tag, digest) in content.tags.iter().enumerate() {
            let _ = writeln!(tags, "/v2/{REPOSITORY}/manifests/t{tag} {digest};");
        }
        let of_it = folder.join("nginx");
        fs::create_dir_all(&of_it).unwrap();
        fs::write(of_it.join("tags.map"), tags).unwrap();
        let config = include_str!("nginx.conf")
            .replace("@root@", content.root.to_str().unwrap())
            .replace("@tls@", &tls.to_string())
            .replace("@cert@", certificate.cert.to_str().unwrap())
            .replace("@key@", certificate.key.to_str().unwrap())
            .replace("@aio@", if by_threads { "aio threads;" } else { "" })
            .replace("@origin@", &origin.to_string());
        let mut server = start(STATIC, &of_it, &config, address, slowed)?;
        server.tls = Some(tls);
        Some(Self { server, origin })
    }
}

/// nginx as a cache of what is at `origin`; none where nginx is not at hand.
pub(crate) fn proxy(folder: &Path, origin: SocketAddr) -> Option<Server> {
    let of_it = folder.join("nginx-proxy");
    fs::create_dir_all(&of_it).unwrap();
    let config = include_str!("nginx-proxy.conf").replace("@origin@", &origin.to_string());
    start(PROXY, &of_it, &config, free_port(), None)
}

fn start(
    name: &'static str,
    folder: &Path,
    config: &str,
    address: SocketAddr,
    slowed: Slowed<'_>,
) -> Option<Server> {
    let program = find("nginx")?;
    let config = config
        .replace("@folder@", folder.to_str().unwrap())
        .replace("@repository@", REPOSITORY)
        .replace("@manifest@", MANIFEST)
        .replace("@address@", &address.to_string());
    // Its workers give up the rights of root, and are to read what only its owner may.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let path = folder.join("nginx.conf");
    fs::write(&path, format!("{user}{config}")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(path).arg("-p").arg(folder).arg("-e").arg(folder.join("nginx-error.log"));
    Some(serve(name, &mut command, address, &folder.join("log"), slowed))
}
