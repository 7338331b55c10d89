//! Lists of tags and of referrers: T69, T82 to T90, and T100 for lists.

mod referrers;
mod tags;
