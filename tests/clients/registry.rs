//! Debian's docker-registry as an upstream: started on a loopback port that the system gives, filled with images,
//! and asked by its access log what was fetched from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::http;
use crate::image::{Blob, Image, Manifest};
use crate::process::{Process, command, find};

/// A running upstream registry.
pub(crate) struct Registry {
    process: Process,
    address: SocketAddr,
    lines_of_pushes: usize,
}

/// One line of the access log.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) agent: String,
}

impl Registry {
    /// Starts a registry that keeps its files under `folder`: plain, and open to everybody.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_as(folder, "http: {addr: \"127.0.0.1:0\"}\n")
    }

    /// The same with TLS, for who shows an account of this htpasswd file.
    pub(crate) fn start_closed(folder: &Path, certificate: &Path, key: &Path, htpasswd: &Path) -> Self {
        let (certificate, key, htpasswd) = (certificate.display(), key.display(), htpasswd.display());
        Self::start_as(
            folder,
            &format!(
                "http: {{addr: \"127.0.0.1:0\", tls: {{certificate: {certificate}, key: {key}}}}}\n\
                 auth: {{htpasswd: {{realm: chain, path: {htpasswd}}}}}\n"
            ),
        )
    }

    fn start_as(folder: &Path, how: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n{how}",
            folder.join("files").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut serve = command(find("docker-registry").unwrap(), folder);
        serve.arg("serve").arg(&config);
        let mut process = Process::start(&serve, &folder.join("log"));
        let address = process.wait_for("line that names the port", |process| {
            let said = process.said();
            let (_, rest) = said.split_once("listening on ")?;
            // Behind a comma it says that it speaks TLS.
            rest.split(['"', ',']).next()?.parse().ok()
        });
        Self { process, address, lines_of_pushes: 0 }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pushes an image as clients do: blobs, then the manifests under the index, then the index by its tag.
    pub(crate) fn push(&mut self, repository: &str, tag: &str, image: &Image) {
        for blob in &image.blobs {
            self.push_blob(repository, blob);
        }
        for child in &image.children {
            self.push_manifest(repository, &child.blob.digest, child);
        }
        self.push_manifest(repository, tag, &image.top);
        self.lines_of_pushes = self.process.said().lines().count();
    }

    fn push_blob(&self, repository: &str, blob: &Blob) {
        let start = format!("/v2/{repository}/blobs/uploads/");
        let answer = http::request(self.address, "POST", &start, &[], b"").expect("an answer to an upload");
        assert_eq!(answer.status, 202, "{answer:?}");
        let location = answer.header("location").expect("a place to upload to");
        let target = location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(location);
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}digest={}", blob.digest);
        let headers = [("Content-Type", "application/octet-stream")];
        let answer = http::request(self.address, "PUT", &target, &headers, &blob.bytes).expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    fn push_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let headers = [("Content-Type", manifest.media_type.as_str())];
        let answer =
            http::request(self.address, "PUT", &target, &headers, &manifest.blob.bytes).expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Ends the registry: from here on, nobody answers at its address.
    pub(crate) fn stop(&mut self) {
        self.process.stop();
    }

    /// What was asked since the last push. Complete once the registry is stopped.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        self.process.said().lines().skip(self.lines_of_pushes).filter_map(parse_line).collect()
    }

    /// Bytes sent since the last push, by digest of the blob.
    pub(crate) fn blob_bytes_sent(&self) -> BTreeMap<String, u64> {
        let mut sent = BTreeMap::new();
        for access in self.accesses() {
            if let Some((_, digest)) = access.path.rsplit_once("/blobs/")
                && access.method == "GET"
                && matches!(access.status, 200 | 206)
            {
                *sent.entry(digest.to_owned()).or_default() += access.bytes;
            }
        }
        sent
    }
}

/// A line in the common log format, which the registry writes between lines of JSON:
/// `127.0.0.1 - - [time] "GET /v2/... HTTP/1.1" 200 517 "referrer" "agent"`.
fn parse_line(line: &str) -> Option<Access> {
    if line.starts_with('{') {
        return None;
    }
    let mut quoted = line.split('"');
    let mut request = quoted.by_ref().nth(1)?.split(' ');
    let mut figures = quoted.next()?.split_whitespace();
    let agent = quoted.nth(2)?;
    let path = { |target: &str| target.split('?').next().unwrap_or_default().to_owned() };
    Some(Access {
        method: request.next()?.to_owned(),
        path: path(request.next()?),
        status: figures.next()?.parse().ok()?,
        bytes: figures.next()?.parse().ok()?,
        agent: agent.to_owned(),
    })
}
