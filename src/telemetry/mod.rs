//! What the outside can see of the process: outcomes, metrics, log.
