//! One remote registry, asked.
