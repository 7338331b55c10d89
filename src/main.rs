//! The binary: a command line over the library.

fn main() {}
