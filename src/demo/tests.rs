//! The play as a whole, small.

use std::fs::read_dir;

use super::*;

fn small() -> Options {
    Options { nodes: 4, size_mb: 2, show: Show::Nothing }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_play_holds_every_guarantee_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let report = play(small(), temporary.path(), std::future::pending()).await.unwrap();
    assert!(report.holds(), "{report}");
    assert_eq!(read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_play_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let interrupted = tokio::time::sleep(Duration::from_millis(500));
    let played = play(Options { size_mb: 50, ..small() }, temporary.path(), interrupted).await;
    assert!(matches!(played, Err(DemoError::Interrupted)), "{played:?}");
    assert_eq!(read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_play_without_a_place_for_its_data_says_so() {
    let played = play(small(), Path::new("/nonexistent"), std::future::pending()).await;
    let said = played.unwrap_err().to_string();
    assert!(said.starts_with("the demonstration cannot have a directory for the mirror's data: "), "{said}");
}
