//! Policy: the only place where store and upstream meet.
