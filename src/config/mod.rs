//! The configuration: read whole, checked whole, every mistake with file and line.
