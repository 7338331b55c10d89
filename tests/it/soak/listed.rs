//! That nothing of the scripted upstream is forgotten: whatever it can do is a fault of the soak, or is named here with the
//! reason why it is none.

use std::collections::BTreeSet;

use super::deeds::DEEDS;
use super::faults::FAULTS;

/// Where it is written what the scripted upstream can do.
const SOURCES: &[&str] = &[
    include_str!("../../support/upstream.rs"),
    include_str!("../../support/upstream/auth.rs"),
    include_str!("../../support/upstream/greeting.rs"),
    include_str!("../../support/upstream/script.rs"),
    include_str!("../../support/upstream/two.rs"),
];

/// What does no harm by itself.
const HARMLESS: &[(&str, &str)] = &[
    ("act", "the right answer"),
    ("on", "says which requests are meant"),
    ("basic", "a value of a header"),
    ("Act::note", "a word for the tally"),
    ("Act::where_right", "bends another act"),
    ("Act::breaks_as_scripted", "bends another act"),
    ("Asked::header", "reads the request"),
    ("Asked::parameter", "reads the request"),
    ("Upstream::start", "the registry `plain.test`"),
    ("Upstream::start_tls", "the registry `tls.test`"),
    ("Upstream::start_two", "the registry `two.test`"),
    (
        "Upstream::start_tls_asking",
        "of a mirror that has no certificate it hears nothing: as `Greeting::Stranger`",
    ),
    ("Upstream::start_tls_for", "`Greeting::Stranger`"),
    ("Upstream::address", "tells"),
    ("Upstream::url", "tells"),
    ("Upstream::authority_pem", "tells"),
    ("Upstream::up", "ends `down`"),
    ("Upstream::push", "content"),
    ("Upstream::push_manifest", "content"),
    ("Upstream::push_blob", "content"),
    ("Upstream::tag", "content"),
    ("Upstream::sign", "as `signer`"),
    ("Upstream::script", "acts by rule"),
    ("Upstream::decide", "acts by decision"),
    ("Upstream::behave", "ends acts"),
    ("Upstream::planned", "tells"),
    ("Upstream::forgive", "ends what was planned"),
    ("Upstream::greet_next", "by `Greeting`"),
    ("Upstream::break_next", "by `Break`"),
    ("Upstream::break_at", "by `Break`"),
    ("Upstream::list_referrers", "what all have"),
    ("Upstream::serve_tokens", "what all have"),
    ("Upstream::require_bearer", "what two have"),
    ("Upstream::require_basic", "what one has"),
    ("Upstream::require_challenge", "other words for `require_bearer`; wrong ones are answers"),
    ("Upstream::require_challenges", "the same"),
    ("Tokens::new", "what all have"),
    ("Tokens::issued", "tells"),
    ("Tokens::ask_for_identity", "another kind of account"),
    ("Tokens::restyle", "by `TokenStyle`"),
    ("TokenStyle::name", "tells them apart"),
    ("TokenStyle::credentials", "`Tokens::ask_for`"),
    ("TokenStyle::identity", "another kind of account"),
    ("TokenStyle::any_scope", "allows more"),
];

/// Public functions, by the type that they are of, and the variants and fields of what describes trouble.
fn possible(source: &str) -> BTreeSet<String> {
    let (mut found, mut of, mut parts) = (BTreeSet::new(), String::new(), false);
    for line in source.lines() {
        let word = |line: &str| {
            let end = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
            line[..end].to_owned()
        };
        let told = line.trim_start();
        if !line.is_empty() && !line.starts_with(' ') {
            of = told.strip_prefix("impl ").map(word).unwrap_or_default();
            let kind = ["pub enum ", "pub struct TokenStyle"].iter().find(|kind| told.starts_with(*kind));
            parts = kind.is_some_and(|_| told.ends_with('{')) && !told.starts_with("pub enum Kind");
            if parts {
                of = word(told.rsplit_once(' ').unwrap().0.rsplit(' ').next().unwrap());
            }
        }
        let function = told.strip_prefix("pub fn ").or_else(|| told.strip_prefix("pub async fn "));
        if let Some(function) = function {
            let name = word(function);
            found.insert(if line.starts_with(' ') { format!("{of}::{name}") } else { name });
        } else if parts && line.starts_with("    ") && !told.starts_with("//") {
            found.insert(format!("{of}::{}", word(told.trim_start_matches("pub "))));
        }
    }
    // Which requests are meant is no fault, and neither is a client's certificate.
    found.retain(|name| !name.starts_with("On::") && !name.starts_with("Client::"));
    found
}

#[test]
fn whatever_the_scripted_upstream_can_do_is_in_the_soak() {
    let possible: BTreeSet<String> = SOURCES.iter().flat_map(|source| possible(source)).collect();
    assert!(possible.len() > 60, "the sources are not read as they are: {possible:?}");
    let done = FAULTS.iter().map(|fault| fault.of).chain(DEEDS.iter().map(|deed| deed.of));
    let done: BTreeSet<String> = done.map(str::to_owned).collect();
    let harmless: BTreeSet<String> = HARMLESS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let known: BTreeSet<String> = done.union(&harmless).cloned().collect();
    let forgotten: Vec<_> = possible.difference(&known).collect();
    assert!(forgotten.is_empty(), "neither in the soak nor told to be harmless: {forgotten:?}");
    let gone: Vec<_> = known.difference(&possible).collect();
    assert!(gone.is_empty(), "the scripted upstream does not do this: {gone:?}");
    let both: Vec<_> = done.intersection(&harmless).collect();
    assert!(both.is_empty(), "in the soak, and told to be harmless: {both:?}");
}
