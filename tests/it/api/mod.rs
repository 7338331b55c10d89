//! The admin API: over the wire, and by the commands of the binary.

mod changes;
pub(crate) mod commands;
mod described;
mod doors;
mod here;
mod wire;
