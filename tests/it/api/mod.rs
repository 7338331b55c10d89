//! The admin API: over the wire, and by the commands of the binary.

mod described;
mod doors;
mod wire;
