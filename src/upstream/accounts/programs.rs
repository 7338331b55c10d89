//! Programs that know accounts: the protocol of docker's credential helpers.
//!
//! `docker-credential-<name> get` is given the server on standard input and answers with JSON on standard output; what
//! went wrong it says there too, and ends with another status than zero. Standard error is never read: helpers log to it
//! what they please. A run is limited in time and output, and what is too slow is killed with all that it started.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Trouble;
use super::kept::Kept;
use super::login::Login;

/// How long a run may take.
const LONGEST: Duration = Duration::from_secs(10);

/// For how long an answer is used. Helpers renew what they give a while before its end, which is an hour or more away.
const GOOD_FOR: Duration = Duration::from_secs(5 * 60);

/// For how long there being no account is believed.
const NONE_FOR: Duration = Duration::from_secs(60);

/// How long a helper is left alone after a run that failed, or whose outcome upstream rejected.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// The most that is read of an answer.
const LARGEST: u64 = 64 * 1024;

/// How many characters of an error are told.
const TOLD: usize = 200;

/// What a helper says, among other words, when it has no account for a server.
const NONE: &str = "credentials not found";

type Known = Arc<Kept<Option<Login>>>;

/// The answers of helpers, by program and server.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    known: Mutex<HashMap<(PathBuf, String), Known>>,
}

impl Helpers {
    /// The account that `program` has for `server`.
    pub(super) async fn login(&self, program: &Path, server: &str) -> Result<Option<Login>, Trouble> {
        let known = self.known(program, server);
        let ask = known.get(|former| async move {
            match run(program, server, LONGEST).await {
                Ok(Some(login)) => (Ok(Some(login)), GOOD_FOR),
                Ok(None) => (Ok(None), NONE_FOR),
                Err(trouble) => match former.filter(|held| !held.doubted).map(|held| held.value) {
                    Some(Ok(Some(login))) => {
                        tracing::warn!(%trouble, "what a credential helper said before stays in use");
                        (Ok(Some(login)), LEFT_ALONE)
                    }
                    _ => (Err(trouble), LEFT_ALONE),
                },
            }
        });
        ask.await
    }

    /// Has the program run again by whoever asks next, unless it was run just now.
    pub(super) fn doubt(&self, program: &Path, server: &str) {
        self.known(program, server).doubt(LEFT_ALONE);
    }

    /// Takes the secrets that are known out of a text.
    pub(super) fn hide(&self, text: &mut String) {
        let known: Vec<Known> = self.lock().values().cloned().collect();
        known.iter().filter_map(|kept| kept.peek().flatten()).for_each(|login| login.hide(text));
    }

    fn known(&self, program: &Path, server: &str) -> Known {
        let key = (program.to_owned(), server.to_owned());
        Arc::clone(self.lock().entry(key).or_insert_with(|| Arc::new(Kept::new())))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(PathBuf, String), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of a helper. The server that it names is not looked at: it was asked about one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Runs a helper.
async fn run(program: &Path, server: &str, longest: Duration) -> Result<Option<Login>, Trouble> {
    let trouble = |why: String| Trouble::new(format!("{}: {why}", program.display()));
    let (well, output) = match timeout(longest, answer(program, server)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(trouble(error.to_string())),
        Err(_) => {
            return Err(trouble(format!("it took longer than {} s and was killed", longest.as_secs_f32())));
        }
    };
    if !well {
        let words = String::from_utf8_lossy(&output);
        if words.to_ascii_lowercase().contains(NONE) {
            return Ok(None);
        }
        return Err(trouble(format!("it failed: {}", error_of(&words))));
    }
    // What is wrong with an answer is not told by the parser's words, which quote it.
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| trouble("its answer is not that of a helper".to_owned()))?;
    match (answer.username.as_str(), answer.secret.as_str()) {
        ("", "") => Ok(None),
        (_, "") => Err(trouble("its answer has no secret".to_owned())),
        (username, secret) => Ok(Some(Login::new(username, secret))),
    }
}

/// What may be told of a helper's last words: not where they are an answer after all.
fn error_of(words: &str) -> String {
    let line = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    if words.contains('{') || words.to_ascii_lowercase().contains("secret\"") {
        return "its words are not shown, because they may be a secret".to_owned();
    }
    line.chars().take(TOLD).collect::<String>().escape_debug().to_string()
}

/// What a run says, and whether it ended well.
async fn answer(program: &Path, server: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut child = Running::start(program).await?;
    if let Some(mut input) = child.child.stdin.take() {
        // One that knows without asking may have ended already; what it says counts.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.child.stdout.take() {
        stdout.take(LARGEST + 1).read_to_end(&mut output).await?;
    }
    if output.len() as u64 > LARGEST {
        return Err(io::Error::other("its answer is far too long"));
    }
    let status = child.child.wait().await?;
    child.group = None;
    Ok((status.success(), output))
}

/// A program that runs. Dropped before its end it is killed with all that it started.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    async fn start(program: &Path) -> io::Result<Self> {
        let mut retried = false;
        loop {
            let mut command = Command::new(program);
            command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            // A group of its own, so that what it starts can be killed with it.
            command.process_group(0).kill_on_drop(true);
            // Starting waits until the program is there, and it may be on a slow disk.
            match spawn_blocking(move || command.spawn()).await.map_err(io::Error::other)? {
                // It is being replaced at this moment.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && !retried => {
                    retried = true;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
                Ok(child) => {
                    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
                    return Ok(Self { child, group });
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Helper {
        directory: tempfile::TempDir,
        program: PathBuf,
    }

    impl Helper {
        /// A shell script that counts its runs and keeps what it was given.
        fn new(script: &str) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let at = directory.path().display();
            let text =
                format!("#!/bin/sh\necho \"$1\" >> '{at}/runs'\ncat > '{at}/given'\ncd '{at}'\n{script}\n");
            let program = directory.path().join("docker-credential-fake");
            fs::write(&program, text).expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made a program");
            Self { directory, program }
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
        }

        async fn run(&self) -> Result<Option<Login>, Trouble> {
            run(&self.program, "registry.example:5000", LONGEST).await
        }
    }

    const GOOD: &str = r#"echo '{"ServerURL":"https://x","Username":"AWS","Secret":"hidden"}'"#;

    #[tokio::test]
    async fn t66_a_helper_is_asked_as_docker_asks_it() {
        let helper = Helper::new(GOOD);
        assert_eq!(helper.run().await, Ok(Some(Login::new("AWS", "hidden"))));
        assert_eq!(
            (helper.read("runs").as_str(), helper.read("given").as_str()),
            ("get\n", "registry.example:5000")
        );
    }

    #[tokio::test]
    async fn t66_g9_what_a_helper_says_is_told_apart_and_shows_no_secret() {
        let identity = Login::new("<token>", "hidden");
        for (script, expected) in [
            (r#"echo '{"Username":"<token>","Secret":"hidden"}'; echo hidden >&2"#, Ok(Some(identity))),
            (r#"echo '{"Username":"","Secret":""}'"#, Ok(None)),
            ("echo 'credentials not found in native keychain'; exit 1", Ok(None)),
            ("echo 'Error: the keychain is locked'; exit 1", Err("the keychain is locked")),
            ("echo hidden >&2; exit 3", Err("it did not say why")),
            (r#"echo '{"Username":"u","Secret":"hidden"}'; exit 1"#, Err("not shown")),
            ("echo 'hidden is not JSON'", Err("not that of a helper")),
            (r#"echo '{"Username":"u"}'"#, Err("no secret")),
            (r#"echo '{"Username":{},"Secret":"hidden"}'"#, Err("not that of a helper")),
            ("head -c 100000 /dev/zero", Err("too long")),
        ] {
            match (Helper::new(script).run().await, expected) {
                (Ok(login), Ok(expected)) => assert_eq!(login, expected, "{script}"),
                (Err(trouble), Err(part)) => {
                    let told = trouble.to_string();
                    assert!(told.contains(part) && !told.contains("hidden"), "{script}: {told}");
                }
                (other, _) => panic!("{script}: {other:?}"),
            }
        }
        let gone = run(Path::new("/nonexistent/helper"), "x", LONGEST).await.expect_err("no program");
        assert!(gone.to_string().contains("/nonexistent/helper"), "{gone}");
    }

    #[tokio::test]
    async fn t66_a_helper_that_hangs_is_killed_with_what_it_started() {
        let helper = Helper::new("sleep 600 & echo $! > child; echo $$ > own; wait");
        let trouble = run(&helper.program, "x", Duration::from_secs(2)).await.expect_err("it hangs");
        assert!(trouble.to_string().contains("killed"), "{trouble}");
        let ended = |file: &str| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", helper.read(file).trim()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        for _ in 0..3_000 {
            if ended("own") && ended("child") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it still runs");
    }

    #[tokio::test]
    async fn t66_t67_a_helper_runs_once_for_all_and_not_for_each_request() {
        let (helper, helpers) = (Helper::new(&format!("sleep 0.3; {GOOD}")), Helpers::default());
        let ask = |server: &'static str| helpers.login(&helper.program, server);
        let (one, two, three) = tokio::join!(ask("a"), ask("a"), ask("a"));
        assert!(one == two && two == three && one == Ok(Some(Login::new("AWS", "hidden"))));
        assert_eq!(ask("a").await, one);
        assert_eq!(helper.read("runs").lines().count(), 1);
        assert_eq!(ask("b").await, one);
        assert_eq!(helper.read("runs").lines().count(), 2, "another server has another account");
        // What it gave is rejected: it is run again, but not at the pace of the rejections.
        helpers.doubt(&helper.program, "a");
        assert_eq!(ask("a").await, one);
        assert_eq!(helper.read("runs").lines().count(), 2);
        let mut text = "it was hidden".to_owned();
        helpers.hide(&mut text);
        assert_eq!(text, "it was ...");
    }
}
