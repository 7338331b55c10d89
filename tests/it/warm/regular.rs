//! Warmings that the configuration has.

use super::named;
use crate::support::images::image;
use crate::support::mirror::Setup;
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG};

#[tokio::test]
async fn what_the_configuration_names_is_brought_in_unasked_and_told_of() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let table = format!("\n[[warm]]\nname = \"ours\"\nimages = [{:?}, {:?}]", named(TAG), named("gone"));
    let mirror = Setup::with(&upstream, &table).start().await;
    let told = soon("it has run", async {
        loop {
            let verbose = mirror.admin("/readyz?verbose").await.expect(200).body;
            let verbose = String::from_utf8(verbose).unwrap();
            if let Some(line) = verbose.lines().find(|line| line.ends_with("incomplete")) {
                return line.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(told, "warm ours: 2 images, 1 of them incomplete");
    for blob in image.blobs() {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }
    mirror.stop().await;
}
