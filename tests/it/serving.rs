//! The life of the real process: how it starts, what a signal does to it, and what upstream's and clients' bad luck and
//! bad manners come to. G3, G6, G8, G10, T98.

mod clients;
mod drain;
mod pressure;
mod reload;
mod start;
mod trouble;

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::mirror::{Mirror, Setup};
use crate::support::soon;

const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// Runs the binary to its end, which should be near.
async fn run(args: &[&str]) -> Output {
    let ended = Command::new(env!("CARGO_BIN_EXE_roadstead"))
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    soon("the end of the process", ended).await.unwrap()
}

/// Waits until nobody listens there any more.
async fn refused(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("connections refused", refused).await;
}

/// Waits until nobody reads and nothing is filled.
async fn at_rest(mirror: &Mirror) {
    let at_rest = async {
        for gauge in ["roadstead_readers", "roadstead_fills_running"] {
            while mirror.metric(gauge, &[]).await > 0.0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    };
    soon("no reader and no fill", at_rest).await;
}

/// Lines of TOML that give an upstream a user and a password, which is in a file beside the data.
fn credentials(setup: &Setup, user: &str, password: &str) -> String {
    let file = setup.file("password", password);
    format!("username = {user:?}\npassword_file = {file:?}\n")
}

/// The first line of a text that has this word.
fn line<'t>(text: &'t str, word: &str) -> &'t str {
    text.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word} in {text}"))
}
