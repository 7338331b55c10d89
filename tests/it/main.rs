//! Integration tests: the real server over sockets, a scripted upstream behind it.
