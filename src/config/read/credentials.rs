//! What an upstream is asked with, and whom it is believed by: passwords and certificates, from the file or from files
//! that it names.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::section::{Reading, Section};
use super::text;
use super::value::{hidden, one};
use crate::config::{Credentials, Secret, source};

/// `username` with one of `password` and `password_file`.
pub(super) fn credentials<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Credentials> {
    let username = reading.get(section, "username", one(text::some_text));
    let password = reading.get(section, "password", hidden(one(text::some_text))).map(Secret::new);
    let file = reading.get(section, "password_file", one(text::some_text)).map(PathBuf::from);
    let at = section.at("password_file");
    let from_file = file.and_then(|file| match source::text(&file) {
        Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim())),
        Ok(_) => {
            reading.mistake(
                at,
                "upstream.password_file",
                format!("{file:?}, which is empty"),
                "a file with a password",
            );
            None
        }
        Err(problem) => {
            let found = format!("{file:?} ({problem})");
            reading.mistake(at, "upstream.password_file", found, "a file with a password that can be read");
            None
        }
    });
    let has = |key| section.has(key);
    let [user, word, word_file] = ["username", "password", "password_file"].map(has);
    if word && word_file {
        reading.mistake(
            at,
            "upstream.password_file",
            "a second password",
            "one of password and password_file",
        );
    }
    if user && !word && !word_file {
        let at = section.at("username");
        reading.mistake(
            at,
            "upstream.username",
            "a user without a password",
            "password or password_file beside it",
        );
    }
    if !user && (word || word_file) {
        let key = if word { "password" } else { "password_file" };
        let expected = "username beside it; any name will do where the registry only looks at the password";
        reading.mistake(section.at(key), format!("upstream.{key}"), "a password without a user", expected);
    }
    Some(Credentials { username: username?, password: password.or(from_file)? })
}

/// `ca`: the certificates of a bundle in PEM.
pub(super) fn certificates<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
) -> Vec<CertificateDer<'static>> {
    let Some(file) = reading.get(section, "ca", one(text::some_text)) else { return Vec::new() };
    let at = section.at("ca");
    let read = source::bytes(file.as_ref()).map_err(|error| error.to_string());
    let read = read.and_then(|pem| {
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    let problem = match read {
        Ok(certificates) if !certificates.is_empty() => return certificates,
        Ok(_) => "no certificate in it".to_owned(),
        Err(problem) => problem,
    };
    reading.mistake(at, "upstream.ca", format!("{file:?} ({problem})"), "a file with certificates in PEM");
    Vec::new()
}
