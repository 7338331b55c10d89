//! Limits of upstreams, kept: T62, T63, T100.

mod absence;
mod hour;
mod hub;
mod pulls;
mod taps;
