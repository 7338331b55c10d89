//! Whether a secret is where it does not belong, however it is written there.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::upstream::Asked;

/// What only some hosts may see.
pub(super) struct Secret {
    /// What it is called where it is found.
    what: String,
    /// All ways to write it.
    forms: Vec<String>,
    /// For whom it is.
    may_see: Vec<SocketAddr>,
}

impl Secret {
    pub(super) fn new(what: &str, secret: &str, may_see: &[SocketAddr]) -> Self {
        Self { what: what.to_owned(), forms: forms(secret), may_see: may_see.to_vec() }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form.as_str()))
    }
}

/// Which of the secrets this host may not see are anywhere in the request.
pub(super) fn astray<'a>(secrets: &'a [Secret], host: SocketAddr, asked: &Asked) -> Vec<&'a str> {
    let text = written(asked);
    let foreign = secrets.iter().filter(|secret| !secret.may_see.contains(&host));
    foreign.filter(|secret| secret.is_in(&text)).map(|secret| secret.what.as_str()).collect()
}

/// The request, as it came and once more with what is escaped in it as it is meant.
fn written(asked: &Asked) -> String {
    let mut text = format!("{} {}?{}\n", asked.method, asked.path, asked.query);
    for (name, value) in &asked.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&String::from_utf8_lossy(&asked.body));
    let meant = unescaped(&text);
    text.push('\n');
    text.push_str(&meant);
    text
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As it is, in hexadecimal, backwards, and in both alphabets of base64 wherever in something longer it stands.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, secret.chars().rev().collect()];
    for before in 0..3 {
        let mut longer = vec![b'x'; before];
        longer.extend_from_slice(secret.as_bytes());
        // The digits at both ends hold bits of what is beside it.
        let first = (before * 8).div_ceil(6);
        let last = longer.len() * 8 / 6;
        forms.push(STANDARD_NO_PAD.encode(&longer)[first..last].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&longer)[first..last].to_owned());
    }
    forms
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let (own, other) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
    let secrets = [Secret::new("the password", "p+w/d: 7", &[own])];
    let ask = |place: usize, text: &str| {
        let mut parts = [const { String::new() }; 4];
        parts[place] = text.to_owned();
        let [path, query, header, body] = parts;
        Asked {
            method: "GET".to_owned(),
            path,
            query,
            headers: vec![("x".to_owned(), header)],
            body: body.into_bytes(),
            kind: crate::support::upstream::Kind::Other,
            repository: String::new(),
            reference: String::new(),
            connection: 0,
        }
    };
    let basic = |user: &str| crate::support::upstream::basic(user, "p+w/d: 7");
    let url_safe = URL_SAFE_NO_PAD.encode("ann:p+w/d: 7!");
    for written in [
        "p+w/d: 7",
        "p%2Bw%2Fd%3A%207",
        "p%2bw/d:%207",
        "702b772f643a2037",
        "702B772F643A2037",
        "7 :d/w+p",
        &basic("a"),
        &basic("an"),
        &basic("ann"),
        &url_safe,
        "{\"password\":\"p+w/d: 7\"}",
    ] {
        for place in 0..4 {
            assert_eq!(
                astray(&secrets, other, &ask(place, written)),
                ["the password"],
                "{written} at {place}"
            );
            assert!(astray(&secrets, own, &ask(place, written)).is_empty(), "its own host may see it");
        }
    }
    for innocent in ["", "p+w", &crate::support::upstream::basic("ann", "else"), "100%"] {
        assert!(astray(&secrets, other, &ask(2, innocent)).is_empty(), "{innocent}");
    }
}
