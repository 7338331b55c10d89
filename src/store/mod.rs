//! Verified bytes by digest, on disk, within a budget.
