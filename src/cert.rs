//! `roadstead cert`: an authority of one's own and what it signs, for a first try.
//!
//! Files are made and never written over; a key is its owner's from its first moment. Run again in the same directory it
//! signs more with the authority that is there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use roadstead::x509::{Authority, is_name};

use crate::{Failure, failed};

#[derive(Args, Debug)]
pub(crate) struct Cert {
    /// What the certificate is for: hosts and addresses by which clients name the mirror; `*.` for one level below a domain
    #[arg(value_name = "NAME", required_unless_present = "client", value_parser = name)]
    names: Vec<String>,
    /// The directory of the files; it is made where it does not exist
    #[arg(long, value_name = "DIR", default_value = "tls")]
    dir: PathBuf,
    /// Make a certificate that a client shows, which rules know by this name; may be given again
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    client: Vec<String>,
}

/// What was made, and what to do with it.
struct Told(String);

pub(crate) fn cert(args: &Cert) -> Result<(), Failure> {
    make_directory(&args.dir)?;
    let (authority, is_new) = authority(&args.dir)?;
    let mut told = Told(String::new());
    let ca = args.dir.join("ca.crt");
    told.line(&match is_new {
        true => format!("{}: a new authority; its key is beside it, keep it to yourself", ca.display()),
        false => format!("{}: the authority that was there", ca.display()),
    });
    if !args.names.is_empty() {
        let made = authority.server(&args.names).map_err(failed)?;
        let pair = write_pair(&args.dir, "server", &made.certificate, &made.key)?;
        told.line(&format!("{}: for {}", pair.0.display(), args.names.join(", ")));
        told.line(&format!(
            "\nIn the configuration of the mirror:\n\n  [tls]\n  listen = [\"0.0.0.0:5443\"]\n  cert = {:?}\n  key = {:?}\n",
            absolute(&pair.0),
            absolute(&pair.1)
        ));
        told.line(&format!(
            "Clients have to believe {}: containerd by `ca` in hosts.toml, docker and podman by a copy at\n\
             /etc/docker/certs.d/{}:5443/ca.crt, curl by --cacert.",
            absolute(&ca).display(),
            args.names[0]
        ));
    }
    for client in &args.client {
        let made = authority.client(client).map_err(failed)?;
        let pair = write_pair(&args.dir, &format!("client-{client}"), &made.certificate, &made.key)?;
        told.line(&format!("{}: a client's, by the name {client}", pair.0.display()));
    }
    if !args.client.is_empty() {
        told.line(&format!(
            "\nIn the configuration of the mirror, beside the certificate of the server:\n\n  [tls]\n  client_ca = {:?}\n",
            absolute(&ca)
        ));
    }
    io::stdout()
        .write_all(told.0.as_bytes())
        .map_err(|error| failed(format!("what was made cannot be told: {error}")))
}

impl Told {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// The authority of the directory, and whether it was made now.
fn authority(dir: &Path) -> Result<(Authority, bool), Failure> {
    let (cert, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(format!("{}: {error}", path.display()))),
    };
    match (read(&cert)?, read(&key)?) {
        (Some(certificate), Some(key_pem)) => {
            let authority = Authority::read(&certificate, &key_pem);
            let why =
                |error| failed(format!("{} and {} are no authority: {error}", cert.display(), key.display()));
            authority.map(|authority| (authority, false)).map_err(why)
        }
        (None, None) => {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let authority = Authority::new(format!("roadstead {}", host.trim()).trim()).map_err(failed)?;
            write_pair(dir, "ca", &authority.certificate, &authority.key)?;
            Ok((authority, true))
        }
        (there, _) => {
            let (there, missing) = if there.is_some() { (&cert, &key) } else { (&key, &cert) };
            let (there, missing) = (there.display(), missing.display());
            Err(failed(format!(
                "{there} is there and {missing} is not; take both away, or bring the other back"
            )))
        }
    }
}

/// Writes both files, or none where one of them is there.
fn write_pair(dir: &Path, name: &str, certificate: &str, key: &str) -> Result<(PathBuf, PathBuf), Failure> {
    let (cert_path, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    create(&key_path, key, 0o600)?;
    if let Err(failure) = create(&cert_path, certificate, 0o644) {
        // The key was made a moment ago, and is of use to nobody.
        let _left_behind = fs::remove_file(&key_path);
        return Err(failure);
    }
    Ok((cert_path, key_path))
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => failed(format!(
            "{} is there already, and is not written over; take it away first",
            path.display()
        )),
        _ => failed(format!("{}: {error}", path.display())),
    })
}

fn make_directory(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| failed(format!("{}: {error}", dir.display())))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a host or an address, without a port or a scheme".to_owned())
    }
}

/// The name stands in that of a file.
fn file_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("a name of letters, digits, and - _ . @, of at most 64".to_owned())
    }
}
