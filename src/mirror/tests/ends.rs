//! How fills begin and end beside their usual course.

use std::time::Duration;

use tokio::time::timeout;

use super::super::answer::Refusal;
use super::super::fill::{Begin, Place, Right, Source, Turned};
use super::{Scene, Wanted, content};
use crate::oci::{Algorithm, Digest};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_no_fill_is_started_for_a_blob_that_arrived_between_two_looks() {
    let bytes = content(100_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let scene = Scene::new(bytes.clone()).await;
    assert!(scene.read(&digest).await == bytes);
    let gone = async {
        while scene.mirror.fills().find(&digest).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, gone).await.expect("the fill leaves the table");
    // As a request does that looked into the store before the commit, and among the fills after it.
    let place = scene.mirror.fills().start(&digest, begin(Source::of(&scene.target())));
    assert!(matches!(place, Place::Stored));
    assert_eq!(scene.registry.sent(), bytes.len() as u64);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_fill_whose_task_ended_early_is_told_to_its_readers_and_forgotten() {
    let bytes = content(100_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let scene = Scene::new(bytes.clone()).await;
    let source = Source::of(&scene.target());
    // A runtime that goes takes its tasks with it, wherever they are.
    let begun = {
        let (mirror, digest, source) = (scene.mirror.clone(), digest.clone(), source.clone());
        let short = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async { mirror.fills().start(&digest, begin(source)) })
        };
        tokio::task::spawn_blocking(short).await.expect("a fill")
    };
    let Place::Started(fill) = begun else { panic!("there was nothing before") };
    let verdict = timeout(SOON, fill.verdict(&source)).await.expect("readers are told");
    assert!(matches!(verdict, Err(Turned::Refused(Refusal::Internal { .. }))), "{verdict:?}");
    assert!(scene.mirror.fills().find(&digest).is_none(), "it is still in the table");
    assert!(scene.read(&digest).await == bytes, "the next request begins anew");
    scene.end().await;
}

fn begin(source: Source) -> Begin {
    Begin { source, right: Right::Asked, elsewhere: Vec::new(), opening: Wanted::Whole }
}
