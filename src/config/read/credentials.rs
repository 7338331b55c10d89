//! What an upstream is asked with: accounts, from the file or from what it names.

use std::path::{Path, PathBuf};

use super::section::{Reading, Section};
use super::text;
use super::value::{hidden, one};
use crate::config::{Account, Credentials, Secret, source};

/// The account for all of an upstream, by its own keys, and those for parts of it.
pub(super) fn accounts<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Vec<Account> {
    let of_all = credentials(reading, section);
    let mut accounts: Vec<_> =
        of_all.into_iter().map(|credentials| Account { prefix: String::new(), credentials }).collect();
    let mut taken: Vec<(String, usize)> = Vec::new();
    for mut part in reading.sections_of(section, "account", "upstream.account").into_iter().flatten() {
        let prefix = reading.get(&mut part, "prefix", one(text::prefix));
        if !part.has("prefix") {
            let expected = "the repositories that the account is for, as in prefix = \"team/app\"";
            reading.mistake(part.start(), part.key("prefix"), "no such key", expected);
        }
        let (at, key) = (part.at("prefix"), part.key("prefix"));
        if let Some((_, line)) = taken.iter().find(|(other, _)| prefix.as_ref() == Some(other)) {
            let found = format!("{:?}, taken at line {line}", prefix.clone().unwrap_or_default());
            reading.mistake(at, key, found, "a prefix that no other account of this upstream has");
        } else if let Some(prefix) = &prefix {
            taken.push((prefix.clone(), reading.line(at)));
        }
        if !USERS.into_iter().chain(WAYS).any(|key| part.has(key)) {
            let expected = format!("one of {}, or a username with a password", WAYS[3..].join(" and "));
            reading.mistake(part.start(), "upstream.account", "an account without credentials", expected);
        }
        let credentials = credentials(reading, &mut part);
        reading.close(part);
        accounts.extend(prefix.zip(credentials).map(|(prefix, credentials)| Account { prefix, credentials }));
    }
    accounts
}

/// Keys that say who.
const USERS: [&str; 2] = ["username", "username_env"];

/// Keys of which one alone says with what: three passwords, which need a user, and two that know users of their own.
const WAYS: [&str; 5] = ["password", "password_file", "password_env", "docker_config", "credential_helper"];

/// One account, by the keys that an upstream, a part of it and an endpoint have in common.
pub(super) fn credentials<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Credentials> {
    let username = reading.get(section, "username", one(text::some_text));
    let username = from_variable(reading, section, "username_env").or(username);
    let password = reading.get(section, "password", hidden(one(text::some_text))).map(Secret::new);
    let file = reading.get(section, "password_file", one(text::some_text)).map(PathBuf::from);
    let from_file = file.and_then(|file| Some((password_of(reading, section, &file)?, file)));
    let password = from_variable(reading, section, "password_env").map(Secret::new).or(password);
    let docker = reading.get(section, "docker_config", one(text::some_text)).map(PathBuf::from);
    let docker = docker.filter(|file| is_docker_config(reading, section, file));
    let helper = reading.get(section, "credential_helper", one(text::helper));
    let helper = helper.filter(|program| is_there(reading, section, program));
    go_together(reading, section);

    if let Some(file) = docker {
        return Some(Credentials::DockerConfig { file });
    }
    if let Some(program) = helper {
        return Some(Credentials::Helper { program });
    }
    let username = username?;
    if let Some((password, file)) = from_file {
        return Some(Credentials::PasswordFile { username, file, password });
    }
    Some(Credentials::Password { username, password: password? })
}

/// Tells what is given beside something else that excludes it, or without something that it needs.
fn go_together<'t>(reading: &mut Reading<'t>, section: &Section<'t>) {
    let users: Vec<_> = USERS.into_iter().filter(|key| section.has(key)).collect();
    let ways: Vec<_> = WAYS.into_iter().filter(|key| section.has(key)).collect();
    let is_password = |key: &str| key.starts_with("password");
    if let [_, second] = users[..] {
        reading.mistake(
            section.at(second),
            section.key(second),
            "a second user",
            "one of username and username_env",
        );
    }
    for second in ways.iter().skip(1) {
        let found = if is_password(second) { "a second password" } else { "a second account" };
        let expected = format!("one of {}", WAYS.join(", "));
        reading.mistake(section.at(second), section.key(second), found, expected);
    }
    match (users.first(), ways.first()) {
        (Some(user), None) => {
            let expected = "password, password_file or password_env beside it";
            reading.mistake(section.at(user), section.key(user), "a user without a password", expected);
        }
        (Some(user), Some(way)) if !is_password(way) => {
            let expected = format!("no user beside {way}, which knows its own");
            reading.mistake(section.at(user), section.key(user), "a user", expected);
        }
        (None, Some(way)) if is_password(way) => {
            let expected = "username or username_env beside it; any name will do where the registry only looks at the password";
            reading.mistake(section.at(way), section.key(way), "a password without a user", expected);
        }
        _ => {}
    }
}

/// What is in the variable that a key names.
fn from_variable<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    key: &'static str,
) -> Option<String> {
    let name = reading.get(section, key, one(text::some_text))?;
    let problem = match reading.variable(&name).map(str::trim) {
        None => "is not set",
        Some("") => "is empty",
        Some(value) => return Some(value.to_owned()),
    };
    let found = format!("{name:?}, which {problem}");
    reading.mistake(section.at(key), section.key(key), found, "the name of a variable of the environment");
    None
}

/// The password that is alone in a file.
fn password_of<'t>(reading: &mut Reading<'t>, section: &Section<'t>, file: &Path) -> Option<Secret> {
    let (found, expected) = match source::text(file) {
        Ok(text) if !text.trim().is_empty() => return Some(Secret::new(text.trim())),
        Ok(_) => (format!("{file:?}, which is empty"), "a file with a password"),
        Err(problem) => (format!("{file:?} ({problem})"), "a file with a password that can be read"),
    };
    reading.mistake(section.at("password_file"), section.key("password_file"), found, expected);
    None
}

/// Whether a file can be docker's configuration. Its entries are read by whoever uses them; what is wrong is told by its
/// place, because the words of the parser quote what they are about.
fn is_docker_config<'t>(reading: &mut Reading<'t>, section: &Section<'t>, file: &Path) -> bool {
    let problem = match source::text(file) {
        Err(problem) => problem.to_string(),
        Ok(text) => match serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&text) {
            Ok(keys) if DOCKER_KEYS.iter().any(|key| keys.contains_key(*key)) => return true,
            Ok(_) => format!("none of {} in it", DOCKER_KEYS.join(", ")),
            Err(error) => format!("not a JSON object, line {}, column {}", error.line(), error.column()),
        },
    };
    let found = format!("{file:?} ({problem})");
    reading.mistake(
        section.at("docker_config"),
        section.key("docker_config"),
        found,
        "a config.json as docker has it",
    );
    false
}

/// Where accounts are in docker's configuration.
const DOCKER_KEYS: [&str; 3] = ["auths", "credHelpers", "credsStore"];

fn is_there<'t>(reading: &mut Reading<'t>, section: &Section<'t>, program: &Path) -> bool {
    let path = reading.variable("PATH").unwrap_or_default();
    if source::is_program(program, path) {
        return true;
    }
    let found = format!("{program:?}, which is not there or cannot be run");
    let expected = "a program by its path, or one that is in PATH";
    reading.mistake(section.at("credential_helper"), section.key("credential_helper"), found, expected);
    false
}
