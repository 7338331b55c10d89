//! kill -9 at random moments of export, import and warm, and of the mirror that something is imported into. They are run
//! again and finish, and in between nothing wrong and nothing half is shown.
//!
//! A few rounds of each; 50 of each with `make kills` or where `ROADSTEAD_TEST_FULL` is set. `ROADSTEAD_TEST_SEED` plays
//! others.

#![expect(clippy::print_stdout, reason = "the seed to play it again, with its output shown")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use roadstead::mirror::Mode;

use super::{Pulled, command, cut_off, runs, text};
use crate::support::client;
use crate::support::dice::Dice;
use crate::support::images::{Image, image};
use crate::support::mirror::{REGISTRY, Setup, files_under};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path, manifest_path};

/// How often each is killed.
fn rounds() -> u64 {
    if std::env::var_os("ROADSTEAD_TEST_FULL").is_some() { 50 } else { 10 }
}

/// Moments within the time that something takes when nobody kills it.
struct Moments {
    dice: Dice,
    within: Duration,
}

impl Moments {
    fn new(what: &str, within: Duration) -> Self {
        let seed = std::env::var("ROADSTEAD_TEST_SEED").map_or(7, |seed| seed.parse().expect("a number"));
        println!("{what}: ROADSTEAD_TEST_SEED={seed}, {} rounds, each within {within:?}", rounds());
        Self { dice: Dice::new(seed), within }
    }

    fn next(&mut self) -> Duration {
        self.within * u32::try_from(self.dice.below(1000)).unwrap() / 1000
    }
}

/// How long a command takes.
fn time(words: &[&str], config: &Path) -> Duration {
    let began = Instant::now();
    runs(words, config);
    began.elapsed()
}

/// Ends the command after that time with kill -9. True: it was still running.
fn killed(words: &[&str], config: &Path, after: Duration) -> bool {
    let mut child = command(words, config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // By intent: the moment of the kill is what the test varies.
    std::thread::sleep(after);
    let running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    running
}

/// What some path and what is below it hold.
fn tree(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = if path.is_dir() { files_under(path, "") } else { vec![path.to_owned()] };
    let mut files: Vec<_> = files
        .into_iter()
        .map(|file| (file.strip_prefix(path).unwrap().to_owned(), std::fs::read(&file).unwrap()))
        .collect();
    files.sort();
    files
}

/// What a client sees of these images, by their tags and digests: each is whole, or not there at all. Gives how many tags
/// lead somewhere.
async fn seen(mirror: SocketAddr, images: &[(&str, &Image)]) -> usize {
    let mut tagged = 0;
    for (tag, image) in images {
        for reference in [tag, image.manifest.digest.as_str()] {
            let answer = client::get(mirror, &manifest_path(reference)).send().await;
            if answer.status != 200 {
                continue;
            }
            answer.expect_bytes(&image.manifest.bytes);
            for blob in image.blobs() {
                client::get(mirror, &blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
            }
            tagged += usize::from(reference == *tag);
        }
    }
    tagged
}

/// The same at a mirror over this store, which asks nobody.
async fn seen_in(setup: Setup, images: &[(&str, &Image)]) -> (Setup, usize) {
    let mirror = setup.start().await;
    mirror.set_mode(None, Some(Mode::Offline));
    let tagged = seen(mirror.address(), images).await;
    (mirror.stop().await, tagged)
}

/// A mirror that asks nobody.
fn offline() -> Setup {
    Setup::empty().upstream_at(REGISTRY, &["http://127.0.0.1:1"], "default = true\nmode = \"offline\"")
}

#[tokio::test]
async fn g8_an_export_that_is_killed_leaves_no_bundle_or_a_whole_one_and_finishes_when_it_is_run_again() {
    let pulled = Pulled::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut forms = Vec::new();
    for name in ["whole.tar", "whole.tar.zst", "whole"] {
        let whole = dir.path().join(name);
        let took = time(&["export", "--all", "-o", text(&whole)], &pulled.config);
        forms.push((name.replace("whole", ""), tree(&whole), took));
    }
    let longest = forms.iter().map(|form| form.2).max().unwrap();
    let mut moments = Moments::new("export", longest);
    let mut interrupted = 0;
    for round in 0..rounds() {
        let (form, whole, _) = &forms[usize::try_from(round).unwrap() % forms.len()];
        let folder = dir.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        let bundle = folder.join(format!("site{form}"));
        let (words, moment) = (["export", "--all", "-o", text(&bundle)], moments.next());
        interrupted += u32::from(killed(&words, &pulled.config, moment));
        if !bundle.exists() {
            runs(&words, &pulled.config);
        }
        assert!(tree(&bundle) == *whole, "{form} killed after {moment:?}");
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            1,
            "{form} killed after {moment:?} leaves something"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(interrupted > 0, "no kill came in time to interrupt anything");
}

#[tokio::test]
async fn g8_an_import_that_is_killed_shows_nothing_half_and_finishes_when_it_is_run_again() {
    let pulled = Pulled::new().await;
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.tar");
    runs(&["export", "--all", "-o", text(&whole)], &pulled.config);
    let words = ["import", text(&whole)];
    let images = [("v1", &pulled.image), ("long", &pulled.long)];
    let first = cut_off();
    let mut moments = Moments::new("import", time(&words, &first.file("roadstead.toml", &first.toml())));
    let mut interrupted = 0;
    for _ in 0..rounds() {
        let setup = cut_off();
        let (config, moment) = (setup.file("roadstead.toml", &setup.toml()), moments.next());
        interrupted += u32::from(killed(&words, &config, moment));
        let (setup, half) = seen_in(setup, &images).await;
        assert!([0, images.len()].contains(&half), "{half} images are shown, killed after {moment:?}");
        runs(&words, &config);
        let again = dir.path().join("again.tar");
        runs(&["export", "--all", "-o", text(&again)], &config);
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&whole).unwrap(), "killed after {moment:?}");
        std::fs::remove_file(&again).unwrap();
        assert_eq!(files_under(&setup.data(), "/partial/"), Vec::<PathBuf>::new(), "killed after {moment:?}");
    }
    assert!(interrupted > 0, "no kill came in time to interrupt anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_warming_that_is_killed_shows_nothing_wrong_and_finishes_when_it_is_run_again() {
    let upstream = Upstream::start().await;
    let images: Vec<_> = (0..3u64).map(|seed| image(seed, &[200_000 + seed * 70_000, 30_000])).collect();
    let tags = ["one", "two", "three"];
    for (tag, image) in tags.iter().zip(&images) {
        upstream.push(REPOSITORY, Some(tag), image);
    }
    let named = tags.map(|tag| format!("{REGISTRY}/{REPOSITORY}:{tag}"));
    let words = ["warm", "--no-referrers", &named[0], &named[1], &named[2]];
    let first = Setup::of(&upstream);
    let config = first.file("roadstead.toml", &first.toml());
    // The upstream lives in this runtime, so the commands run beside it.
    let took = tokio::task::block_in_place(|| time(&words, &config));
    let mut moments = Moments::new("warm", took);
    let mut interrupted = 0;
    for _ in 0..rounds() {
        let setup = Setup::of(&upstream);
        let (config, moment) = (setup.file("roadstead.toml", &setup.toml()), moments.next());
        interrupted += u32::from(tokio::task::block_in_place(|| killed(&words, &config, moment)));
        upstream.quiet().await;
        let mirror = setup.start().await;
        mirror.set_mode(None, Some(Mode::Offline));
        for image in &images {
            for object in image.blobs() {
                let answer = mirror.get(&blob_path(&object.digest)).send().await;
                assert!(answer.status != 200 || answer.body == object.bytes, "killed after {moment:?}");
            }
        }
        let setup = mirror.stop().await;
        tokio::task::block_in_place(|| runs(&words, &config));
        let pairs: Vec<_> = tags.iter().copied().zip(&images).collect();
        let (setup, whole) = seen_in(setup, &pairs).await;
        assert_eq!(whole, images.len(), "killed after {moment:?}");
        assert_eq!(files_under(&setup.data(), "/partial/"), Vec::<PathBuf>::new(), "killed after {moment:?}");
    }
    assert!(interrupted > 0, "no kill came in time to interrupt anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_mirror_that_is_killed_in_the_middle_of_an_import_shows_nothing_half() {
    let pulled = Pulled::new().await;
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.tar");
    runs(&["export", "--all", "-o", text(&whole)], &pulled.config);
    let images = [("v1", &pulled.image), ("long", &pulled.long)];
    let mut mirror = offline().spawn().await;
    let words = |server: &str| ["import", text(&whole), "--server", server].map(str::to_owned);
    let mut moments = None;
    let mut interrupted = 0;
    for round in 0..=rounds() {
        let server = format!("http://{}", mirror.admin().unwrap());
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_roadstead"));
        command.env_clear().args(words(&server)).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let importing = tokio::spawn(command.output());
        if round == 0 {
            let output = importing.await.unwrap().unwrap();
            assert!(output.status.success(), "{output:?}");
            moments = Some(Moments::new("import into a mirror", began.elapsed()));
            mirror = offline().spawn().await;
            continue;
        }
        let moment = moments.as_mut().unwrap().next();
        // By intent: the moment of the kill is what the test varies.
        tokio::time::sleep(moment).await;
        interrupted += u32::from(!importing.is_finished());
        mirror.kill().await;
        let output = importing.await.unwrap().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        mirror.start_again().await;
        let half = seen(mirror.address(), &images).await;
        assert!([0, images.len()].contains(&half), "{half} images are shown, killed after {moment:?}");
        let server = format!("http://{}", mirror.admin().unwrap());
        let mut again = tokio::process::Command::new(env!("CARGO_BIN_EXE_roadstead"));
        let output = again.env_clear().args(words(&server)).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(seen(mirror.address(), &images).await, images.len());
        mirror = offline().spawn().await;
    }
    assert!(interrupted > 0, "no kill came in time to interrupt anything");
}
