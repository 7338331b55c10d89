//! Bundles, from a site with a network to one that has none: what is exported here is imported there and pulled by real
//! clients; real clients read the bundle itself; and what they write goes in.

mod ours;
mod site;
mod theirs;
