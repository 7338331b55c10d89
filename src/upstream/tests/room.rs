//! What a question takes while it is asked.

use super::*;
use crate::oci::Page;

/// What is on its way lies in the future of who asks, and goes over the stack when that becomes a part of another one. Below
/// it a connection is made, with TLS and all, on the same stack, which has 2 MiB.
const MOST: usize = 8 * 1024;

#[tokio::test]
async fn what_a_question_needs_is_not_on_the_stack_of_who_asks() {
    let upstream = upstream(settings(&["http://127.0.0.1:1"]));
    let (repository, digest, tag, page) = (repository(), digest(), tag(), Page::default());
    let (whereabouts, turn) = (Whereabouts::default(), upstream.turn(&Share::new()).await);
    for (what, size) in [
        ("head_manifest", size_of_val(&upstream.head_manifest(&repository, &tag))),
        ("manifest", size_of_val(&upstream.manifest(&repository, &tag))),
        ("head_blob", size_of_val(&upstream.head_blob(&repository, &digest))),
        ("blob", size_of_val(&upstream.blob(&repository, &digest, Ask::Whole, &whereabouts, &turn))),
        ("tags", size_of_val(&upstream.tags(&repository, &page))),
        ("referrers", size_of_val(&upstream.referrers(&repository, &digest))),
    ] {
        assert!(size <= MOST, "{what} takes {size} bytes");
    }
}
