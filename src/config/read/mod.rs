//! From text to a configuration: the tables of the file one after the other, every key by its name.
//!
//! Nothing stops at the first mistake. Where the text is not TOML, what can be made out of the rest is still read, and
//! only what hangs on the broken part stays unsaid.

mod access;
mod certificates;
mod conflicts;
mod credentials;
mod doors;
mod endpoints;
mod environment;
mod offline;
mod proxies;
mod section;
mod tags;
mod text;
mod upstream;
mod value;
mod warm;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use toml::de::DeTable;

use self::certificates::{Unfit, identity_of, roots_of};
use self::section::{Over, Reading, Section};
use self::value::{Item, bytes, number, one, or_empty, truth, unique};
use super::mistake::{Mistake, Mistakes, Place};
use super::source::read_token;
use super::{
    Admin, Config, Identity, Log, Memory, Offline, Proxies, Server, Sources, Store, Uplink, Upstream,
};
use crate::admission::Users;

/// A size above zero, as on a command line.
pub(super) fn size(text: &str) -> Result<u64, String> {
    text::positive_size(text).map_err(|expected| format!("expected {expected}"))
}

/// A certificate and its key as they are now; or which file cannot be used, and why.
pub(super) fn identity_again(cert: &Path, key: &Path) -> Result<Identity, String> {
    identity_of(cert, key).map_err(|unfit| match unfit {
        Unfit::Chain(found) | Unfit::Key(found) | Unfit::Pair(found) => found,
    })
}

/// Authorities as they are now; or why the file cannot be used.
pub(super) fn roots_again(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    roots_of(file).map_err(|why| format!("{file:?} ({why})"))
}

/// The users of a file as they are now; or why it cannot be used.
pub(super) fn users_again(file: &Path) -> Result<Users, String> {
    access::users_of(file)
}

/// Reads `text`, which is the file `name`, under what `sources` has beside the file.
pub(super) fn read(name: &str, text: &str, sources: &Sources) -> Result<Config, Mistakes> {
    let (document, broken) = DeTable::parse_recoverable(text);
    let data = sources.data.as_ref().map(|data| data.to_string_lossy());
    let mut over = environment::settings(&sources.env);
    over.extend(flag("--listen", "server.listen", sources.listen.as_deref()));
    over.extend(flag("--data", "store.path", data.as_deref()));
    let mut reading = Reading::new(name, text, over, &sources.env);
    let mut root = Section::root(&document);

    let server = server(&mut reading, &mut root);
    let tls = doors::tls(&mut reading, &mut root);
    let (access, named) = access::access(&mut reading, &mut root);
    let mut config = Config {
        server,
        tls,
        access,
        limits: access::limits(&mut reading, &mut root),
        admin: admin(&mut reading, &mut root),
        log: log(&mut reading, &mut root),
        store: store(&mut reading, &mut root),
        memory: memory(&mut reading, &mut root),
        uplink: Uplink::default(),
        upstreams: Vec::new(),
        warms: warm::warms(&mut reading, &mut root),
        verify: warm::verify(&mut reading, &mut root),
    };
    let (uplink, proxies, offline) = uplink(&mut reading, &mut root);
    config.uplink = uplink;
    config.upstreams = match reading.sections(&mut root, "upstream") {
        Some(sections) => upstream::upstreams(&mut reading, sections, broken.is_empty(), &proxies, &offline),
        None => {
            let built_in = Upstream::built_in().into_iter();
            built_in
                .map(|upstream| Upstream { proxies: proxies.clone(), offline: offline.clone(), ..upstream })
                .collect()
        }
    };
    reading.close(root);
    conflicts::addresses(&mut reading, &config);
    conflicts::tls(&mut reading, &config.tls);
    conflicts::access(&mut reading, &config);
    access::names(&mut reading, &named, &config.upstreams);
    conflicts::admin(&mut reading, &config.admin);
    if let Some(data) = &sources.data {
        config.store.path.clone_from(data);
    }

    let mut unread = HashSet::new();
    for error in broken {
        let at = error.span().map_or(0, |span| span.start);
        if unread.insert(reading.line(at)) {
            reading.mistake(at, "", format!("text that is not TOML ({})", error.message()), "TOML");
        }
    }
    let (left, mut mistakes) = reading.finish();
    mistakes.retain(|mistake| is_sure(mistake, &unread));
    mistakes.extend(left.into_iter().map(environment::unknown));
    Mistakes::none(mistakes).map(|()| config)
}

fn flag<'t>(flag: &'static str, key: &str, text: Option<&'t str>) -> Option<Over<'t>> {
    text.map(|text| Over { place: Place::Flag(flag), key: key.to_owned(), text })
}

/// On a line that is not TOML only that is certain.
fn is_sure(mistake: &Mistake, unread: &HashSet<usize>) -> bool {
    match &mistake.place {
        Place::Line { line, .. } => mistake.key.is_empty() || !unread.contains(line),
        _ => true,
    }
}

fn server<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Server {
    let mut section = reading.section(root, "server");
    let s = &mut section;
    let default = Server::default();
    let listen =
        reading.get(s, "listen", unique(text::address, "addresses, each once, as in [\"127.0.0.1:5000\"]"));
    let plain = |items: Vec<Item<SocketAddr>>| items.into_iter().map(|item| item.value).collect();
    let server = Server {
        listen: listen.map_or(default.listen, plain),
        socket: reading.get(s, "socket", or_empty(one(text::socket))).unwrap_or(default.socket),
        socket_mode: reading.get(s, "socket_mode", one(doors::socket_mode)).unwrap_or(default.socket_mode),
        drain_timeout: reading.get(s, "drain_timeout", one(text::duration)).unwrap_or(default.drain_timeout),
        stall_timeout: reading.get(s, "stall_timeout", one(text::positive)).unwrap_or(default.stall_timeout),
        header_timeout: reading
            .get(s, "header_timeout", one(text::positive))
            .unwrap_or(default.header_timeout),
        send_files: reading.get(s, "send_files", one(text::send_files)).unwrap_or(default.send_files),
        prepared_answers: reading.get(s, "prepared_answers", truth).unwrap_or(default.prepared_answers),
    };
    reading.close(section);
    server
}

fn admin<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Admin {
    let mut section = reading.section(root, "admin");
    let s = &mut section;
    let default = Admin::default();
    let admin = Admin {
        listen: reading.get(s, "listen", or_empty(one(text::address))).unwrap_or(default.listen),
        socket: reading.get(s, "socket", or_empty(one(text::socket))).unwrap_or(default.socket),
        api: reading.get(s, "api", one(text::admin_api)).unwrap_or(default.api),
        token_file: reading
            .get(s, "token_file", or_empty(one(text::some_text)))
            .map_or(default.token_file, |file| file.map(PathBuf::from)),
    };
    if let Some(file) = &admin.token_file
        && let Err(problem) = read_token(file)
    {
        let found = format!("{file:?} ({problem})");
        reading.mistake_where_given("admin.token_file", &found, "a file with a token, on a line of its own");
    }
    reading.close(section);
    admin
}

fn log<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Log {
    let mut section = reading.section(root, "log");
    let s = &mut section;
    let default = Log::default();
    let log = Log {
        format: reading.get(s, "format", one(text::log_format)).unwrap_or(default.format),
        level: reading.get(s, "level", one(text::log_level)).unwrap_or(default.level),
    };
    reading.close(section);
    log
}

fn store<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Store {
    let mut section = reading.section(root, "store");
    let s = &mut section;
    let default = Store::default();
    let store = Store {
        path: reading.get(s, "path", one(text::some_text)).map_or(default.path, PathBuf::from),
        max_bytes: reading.get(s, "max_bytes", bytes(text::budget)).unwrap_or(default.max_bytes),
        max_blob: reading
            .get(s, "max_blob", or_empty(bytes(text::positive_size)))
            .unwrap_or(default.max_blob),
        scrub_rate: reading.get(s, "scrub_rate", bytes(text::size)).unwrap_or(default.scrub_rate),
        scrub_every: reading.get(s, "scrub_every", one(text::positive)).unwrap_or(default.scrub_every),
    };
    reading.close(section);
    store
}

fn memory<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> Memory {
    let mut section = reading.section(root, "memory");
    let max_bytes = reading.get(&mut section, "max_bytes", bytes(text::size));
    reading.close(section);
    Memory { max_bytes: max_bytes.unwrap_or_else(|| Memory::default().max_bytes) }
}

/// What upstreams share, and what is for each unless it says otherwise.
fn uplink<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>) -> (Uplink, Proxies, Offline) {
    let mut section = reading.section(root, "uplink");
    let s = &mut section;
    let default = Uplink::default();
    let uplink = Uplink {
        max_connections: reading
            .get(s, "max_connections", number(text::connections))
            .unwrap_or(default.max_connections),
        max_rate: reading.get(s, "max_rate", or_empty(bytes(text::rate))).unwrap_or(default.max_rate),
    };
    let proxies = proxies::of_all(reading, s);
    let offline = offline::of_all(reading, s);
    reading.close(section);
    (uplink, proxies, offline)
}
