//! What rows of hits share: servers that have all of the same content, and the alternation between them.

use std::path::Path;
use std::time::Duration;

use crate::clients::{Connection, Load};
use crate::content::{Blob, Content, Sizes};
use crate::plan::Bench;
use crate::servers::{Certificate, Roadstead, Server, Slowed, Static, proxy, registry};
use crate::table::{Row, spread};

/// Who takes part beside the mirror and nginx with static files.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else, and any of them go together")]
pub(super) struct Guests {
    pub(super) proxy: bool,
    pub(super) registry: bool,
    /// Whether the registry speaks TLS.
    pub(super) by_tls: bool,
    /// Whether nginx has threads that wait for the disk.
    pub(super) threads: bool,
}

/// Servers of the same content. nginx, whose files are also what the others fetch, is the first.
pub(super) struct Field {
    pub(super) content: Content,
    pub(super) certificate: Certificate,
    pub(super) servers: Vec<Server>,
    /// The stores of the mirrors among them.
    pub(super) stores: Vec<std::path::PathBuf>,
}

impl Field {
    /// Makes content and starts servers; says in the row who is missing. None where nginx is: nothing can be compared.
    pub(super) fn start(
        bench: &Bench,
        row: &mut Row,
        folder: &Path,
        sizes: Sizes,
        guests: Guests,
        slowed: Slowed<'_>,
    ) -> Option<Self> {
        bench.say("makes what is served");
        let content = Content::make(folder, sizes);
        let certificate = Certificate::make(folder);
        bench.say("starts the servers");
        let Some(nginx) = Static::start(folder, &content, &certificate, guests.threads, slowed) else {
            row.note("nginx is not at hand (apt-get install nginx-light): nothing is measured.");
            return None;
        };
        let origin = nginx.origin;
        let mut servers = vec![nginx.server];
        if guests.proxy {
            servers.extend(proxy(folder, origin));
        }
        if guests.registry {
            match registry(folder, origin, guests.by_tls.then_some(&certificate)) {
                Some(server) => servers.push(server),
                None => row.note(NO_REGISTRY),
            }
        }
        let mut stores = Vec::new();
        for build in &bench.builds {
            let of_it = Roadstead {
                certificate: Some(&certificate),
                slowed,
                ..Roadstead::new(build, folder, origin)
            };
            stores.push(of_it.store());
            servers.push(of_it.start());
        }
        Some(Self { content, certificate, servers, stores })
    }
}

/// What is said where there is no docker-registry.
pub(super) const NO_REGISTRY: &str =
    "docker-registry is not at hand (apt-get install docker-registry): it is left out.";

/// Measures each server round by round. A round has so many turns, in each of which all servers are loaded one after the other,
/// in the other order every other time: what the machine does beside it, and how its scheduler happens to place who talks to
/// whom, changes by the second and is shared so. `scale` are the units of `Load` that make one of the row's, by which its first
/// two columns go: so many a second, and processor time for each in `cost`.
pub(super) fn alternate(
    bench: &Bench,
    row: &mut Row,
    servers: &[Server],
    (scale, cost): (f64, f64),
    (turns, load): (u32, impl Fn(&Server, Duration) -> Load),
) {
    let span = bench.span / turns;
    // Nothing is measured while a server fills its caches.
    for server in servers {
        bench.say(&format!("warms {}", server.name));
        load(server, bench.span);
    }
    let mut order: Vec<usize> = (0..servers.len()).collect();
    for round in 0..bench.rounds {
        let mut sums: Vec<(Load, f64)> = servers.iter().map(|_| (Load::default(), 0.0)).collect();
        for _ in 0..turns {
            for &at in &order {
                let server = &servers[at];
                bench.say(&format!("round {} of {}, {}", round + 1, bench.rounds, server.name));
                let (loaded, busy) = server.busy_in(|| load(server, span));
                sums[at].0 += loaded;
                sums[at].1 += busy;
            }
            order.reverse();
        }
        for (server, (loaded, busy)) in servers.iter().zip(sums) {
            row.add(server.name, &[loaded.rate() / scale, busy / (loaded.amount as f64 / scale) * cost]);
        }
    }
}

/// Gets everything once.
pub(super) fn warm(connection: &mut impl Connection, blobs: &[Blob]) {
    for blob in blobs {
        connection.get(&blob.path);
    }
}

/// Bytes as megabytes of 1024.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one.
pub(super) fn middle(values: &[f64]) -> f64 {
    spread(values).0
}
