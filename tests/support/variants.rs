//! Ways of the hot path that a run of the tests is forced into: `make test-variants` runs the suites with each of them.
//!
//! A test that says itself which way it wants has that one.

#![allow(dead_code, reason = "every test target uses a part of it")]
#![allow(unreachable_pub, reason = "it is a module of whichever target includes it")]

/// The variable that forces a way, the key of `[server]` that it stands for, and what its value is quoted with.
const VARIANTS: [(&str, &str, &str); 2] = [
    ("ROADSTEAD_TEST_SEND_FILES", "send_files", "\""),
    ("ROADSTEAD_TEST_PREPARED_ANSWERS", "prepared_answers", ""),
];

fn forced() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    let said = |(variable, key, quote)| Some((key, quote, std::env::var(variable).ok()?));
    VARIANTS.into_iter().filter_map(said).filter(|(_, _, value)| !value.is_empty())
}

/// Lines of `[server]` for what is forced, but for the keys that a test gives itself.
pub fn lines(is_said: impl Fn(&str) -> bool) -> String {
    let forced = forced().filter(|(key, ..)| !is_said(key));
    forced.map(|(key, quote, value)| format!("{key} = {quote}{value}{quote}\n")).collect()
}

/// The same as variables for a process that reads its configuration itself.
pub fn environment() -> Vec<(String, String)> {
    forced().map(|(key, _, value)| (format!("ROADSTEAD_SERVER__{}", key.to_uppercase()), value)).collect()
}
