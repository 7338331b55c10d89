//! How long the first byte of a blob takes that nobody has, beside how long upstream itself takes.

use std::path::Path;
use std::time::Duration;

use super::title;
use crate::clients::Connection;
use crate::clients::plain::Plain;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Roadstead, proxy};
use crate::table::{Row, alone, percentile};

/// What upstream takes to answer.
const TRIP: Duration = Duration::from_millis(10);
const SIZE: u64 = 1_000_000;

/// Each blob once from upstream and once from each cache, one after the other.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let columns = [alone("ms, median"), alone("ms, 9 of 10"), alone("ms over upstream's, median")];
    let mut row = Row::new("first-byte", title("first-byte"), &columns);
    row.note(&format!(
        "Blobs of 1 MB, one client, upstream answers after {} ms; mirrors have an open connection to it, as it is between two \
         pulls, and the client has one to them.",
        TRIP.as_millis()
    ));
    let count = bench.size(3, 20, 60);
    let origin = Registry::start(Line::Free, &vec![SIZE; count + 1], TRIP);
    let mut servers = Vec::new();
    for build in &bench.builds {
        servers.push(Roadstead::new(build, folder, origin.address()).start());
    }
    servers.extend(proxy(folder, origin.address()));
    let mut names = vec!["upstream itself"];
    names.extend(servers.iter().map(|server| server.name));
    let addresses = [origin.address()].into_iter().chain(servers.iter().map(|server| server.address));
    let mut connections: Vec<Plain> = addresses.map(Plain::to).collect();
    let mut times = vec![Vec::new(); connections.len()];
    for blob in 0..=count {
        bench.say(&format!("blob {blob} of {count}"));
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            let (first, came) = connection.get(&origin.path(blob));
            assert_eq!(came, SIZE);
            // The first of all makes connections.
            if blob > 0 {
                times.push(first.as_secs_f64() * 1e3);
            }
        }
    }
    let own = percentile(&times[0], 50);
    for (name, times) in names.iter().zip(&times) {
        let middle = percentile(times, 50);
        row.add(name, &[middle, percentile(times, 90), middle - own]);
    }
    if let Some(over) = row.middle("roadstead", 2) {
        row.at_most("cold: first byte over upstream's own", "ms", over, 2.0);
    }
    row
}
