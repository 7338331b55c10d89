//! Listeners, requests, responses, drain.
