//! The configuration: read whole, checked whole, every mistake with its place.
//!
//! Owns the names of all keys, their defaults and their limits. What comes out is plain and validated: durations, bytes,
//! addresses, URLs; nobody after this parses a setting again. Flags win over the environment, the environment over the
//! file, the file over the defaults, and a mistake in a value that something else overrides is a mistake all the same.
//!
//! Nothing here touches the network, and of files it reads only the configuration and those that it names: passwords,
//! docker's configurations, certificates and their keys. Whether an address can be bound or a directory written is left to whoever does so.

mod access;
mod certificates;
mod changes;
mod doors;
mod mistake;
mod model;
mod offline;
mod reach;
mod read;
mod secret;
mod source;

pub use access::{Access, Htpasswd, Limits};
pub use certificates::{Authorities, Certificate, Identity};
pub use changes::Changes;
pub use doors::{ClientAuth, Tls, TlsVersion};
pub use mistake::{Mistake, Mistakes, Place};
pub use model::{
    Account, Admin, AdminApi, Budget, Config, Credentials, DeletedTags, Denied, Extent, Log, LogFormat,
    Memory, Proven, Resume, SendFiles, Server, Store, TagRule, Tags, Unread, Uplink, Upstream, Verify, Warm,
};
pub use offline::{Mode, Offline, OfflineMiss};
pub use reach::{Endpoint, Http2, Proxies, Proxy};
pub use secret::Secret;
pub use source::{Sources, Unreadable, read_token};

/// A size as the configuration has it: `4GiB`.
///
/// # Errors
/// What was expected.
pub fn read_size(text: &str) -> Result<u64, String> {
    read::size(text)
}

impl Config {
    /// Reads the configuration from where it may come from. What is found is either without a mistake, or all of its
    /// mistakes are returned.
    pub fn load(sources: &Sources) -> Result<Self, Mistakes> {
        let Some(file) = sources.file() else {
            return read::read("", "", sources);
        };
        let name = file.display().to_string();
        let text = source::text(&file).map_err(|problem| source::unreadable(sources, &name, problem))?;
        read::read(&name, &text, sources)
    }

    /// Reads a configuration from its text alone, without environment and flags. `name` stands for the file in
    /// mistakes.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, Mistakes> {
        read::read(name, text, &Sources::default())
    }
}

#[cfg(test)]
mod tests;
