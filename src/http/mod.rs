//! What HTTP says, apart from registries: ranges, validators, challenges, cache status, the body type.
