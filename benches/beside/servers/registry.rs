//! Debian's docker-registry as a pull-through cache.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Certificate, REGISTRY, Server, find, serve};
use crate::process::free_port;

/// Starts it over a folder of its own, by TLS if there is a certificate; none where it is not at hand.
pub(crate) fn registry(
    folder: &Path,
    origin: SocketAddr,
    certificate: Option<&Certificate>,
) -> Option<Server> {
    let program = find("docker-registry")?;
    let address = free_port();
    let of_it = folder.join(if certificate.is_some() { "registry-tls" } else { "registry" });
    fs::create_dir_all(&of_it).unwrap();
    let tls = certificate.map_or_else(String::new, |certificate| {
        format!(", tls: {{certificate: {:?}, key: {:?}}}", certificate.cert, certificate.key)
    });
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
         proxy: {{remoteurl: \"http://{origin}\"}}\nhttp: {{addr: \"{address}\"{tls}}}\n",
        of_it.join("files")
    );
    let config = of_it.join("registry.yml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(config);
    let server = serve(REGISTRY, &mut command, address, &of_it.join("log"), None);
    Some(Server { tls: certificate.map(|_| address), ..server })
}
