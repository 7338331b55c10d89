//! `roadstead demo`: the main job end to end, with nothing but the binary.
