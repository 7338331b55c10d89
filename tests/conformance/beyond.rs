//! What the suite does not ask of pulling and content discovery, or not of each kind of content: ranges, both digest
//! algorithms, empty and large objects, manifests of every shape, digests in every answer, lists that are right at once.
//!
//! All of it goes through the router, so that what is asked for was pushed a moment ago and is cold the first time.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{Answer, Request, get, head};
use crate::support::images::{
    Image, OCI_INDEX, OCI_MANIFEST, Object, artifact, heavy, image, index, layer, manifest_json, sha256,
    sha512,
};
use crate::tools::tools;
use crate::world::{World, push_blob, push_manifest};

const MB: u64 = 1024 * 1024;

/// A repository of the registry, as its users see it.
struct Repository {
    at: SocketAddr,
    name: String,
}

impl Repository {
    fn of(world: &World, name: &str) -> Self {
        Self { at: world.router.address(), name: format!("conformance/{name}") }
    }

    fn path(&self, what: &str) -> String {
        format!("/v2/{}/{what}", self.name)
    }

    fn get(&self, what: &str) -> Request {
        get(self.at, &self.path(what))
    }

    async fn push(&self, reference: &str, image: &Image) {
        for blob in image.blobs() {
            push_blob(self.at, &self.name, blob).await;
        }
        self.push_manifest(reference, &image.manifest).await;
    }

    async fn push_manifest(&self, reference: &str, manifest: &Object) {
        push_manifest(self.at, &self.name, reference, manifest).await;
    }

    /// Asks for the object by GET and HEAD, cold and warm; everything that is said of it is right each time.
    async fn holds(&self, what: &str, object: &Object, reference: &str) {
        for temperature in ["cold", "warm"] {
            let path = self.path(&format!("{what}/{reference}"));
            // The first question is the HEAD's in one repository and the GET's in the next.
            let headers_first = object.size().is_multiple_of(2);
            let mut answers = Vec::new();
            if headers_first {
                answers.push(head(self.at, &path).send().await.expect(200));
            }
            answers.push(get(self.at, &path).send().await.expect_bytes(&object.bytes));
            answers.push(head(self.at, &path).send().await.expect(200));
            for answer in answers {
                let context = format!("{temperature}: {path}: {}", String::from_utf8_lossy(&answer.head));
                assert_eq!(answer.header("docker-content-digest"), Some(object.digest.as_str()), "{context}");
                assert_eq!(answer.length(), Some(object.size()), "{context}");
                if what == "manifests" {
                    assert_eq!(answer.header("content-type"), Some(object.media_type.as_str()), "{context}");
                }
            }
        }
    }

    async fn referrers(&self, subject: &str, query: &str) -> (Answer, Vec<Value>) {
        let answer = self.get(&format!("referrers/{subject}{query}")).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some(OCI_INDEX));
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&list["schemaVersion"], &list["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
        let found = list["manifests"].as_array().expect("a list").clone();
        (answer, found)
    }
}

#[tokio::test]
async fn t44_t45_ranges_are_right_cold_and_warm() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    for (seed, temperatures) in [(1, 1), (2, 2)] {
        for (asked, part) in [
            ("500-1499", Some((500, 1499))),
            ("500-", Some((500, 2047))),
            ("-500", Some((1548, 2047))),
            ("2000-5000", Some((2000, 2047))),
            ("0-0", Some((0, 0))),
            ("5000-10000", None),
        ] {
            let repository = Repository::of(&world, &format!("ranges-{seed}-{}", asked.len()));
            let blob = layer(seed * 100 + asked.len() as u64, 2048);
            push_blob(repository.at, &repository.name, &blob).await;
            for _ in 0..temperatures {
                let answer = repository.get(&format!("blobs/{}", blob.digest)).range(asked).send().await;
                match part {
                    Some((first, last)) => drop(answer.expect_range(&blob.bytes, first, last)),
                    None => {
                        let answer = answer.expect(416);
                        assert_eq!(answer.header("content-range"), Some("bytes */2048"));
                    }
                }
            }
        }
    }
    let repository = Repository::of(&world, "ranges-empty");
    let empty = Object::new("application/octet-stream", "");
    push_blob(repository.at, &repository.name, &empty).await;
    repository.get(&format!("blobs/{}", empty.digest)).range("0-").send().await.expect_bytes(b"");
}

#[tokio::test]
async fn t31_t32_blobs_of_every_size_and_both_algorithms_are_held() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    for (seed, size) in [(1, 0), (2, 1), (3, 2048), (4, 5 * MB + 1), (5, 48 * MB)] {
        for by_sha512 in [false, true] {
            let repository = Repository::of(&world, &format!("blobs-{seed}-{by_sha512}"));
            let blob = layer(seed, size);
            let blob = if by_sha512 { blob.by_sha512() } else { blob };
            push_blob(repository.at, &repository.name, &blob).await;
            repository.holds("blobs", &blob, &blob.digest).await;
            if size > MB {
                let tail = repository.get(&format!("blobs/{}", blob.digest)).range("-1000").send().await;
                tail.expect_range(&blob.bytes, blob.bytes.len() - 1000, blob.bytes.len() - 1);
            }
        }
    }
}

#[tokio::test]
async fn t01_t08_t32_manifests_of_every_shape_are_held_by_tag_and_by_digest() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let plain = image(1, &[1000, 0]);
    let other = image(2, &[10]);
    let bent = |bend: &dyn Fn(&mut Value)| {
        let mut manifest = manifest_json(&plain.config, &plain.layers);
        bend(&mut manifest);
        Object::new(OCI_MANIFEST, manifest.to_string())
    };
    let list = |manifests: Vec<Value>| {
        Object::new(
            OCI_INDEX,
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string(),
        )
    };
    let platforms = index(&[&plain, &other]);
    let shapes = [
        ("plain", plain.manifest.clone()),
        ("large", heavy(plain.clone(), 3_900_000).manifest),
        ("index", platforms.clone()),
        ("nested-index", list(vec![platforms.descriptor(), platforms.descriptor()])),
        ("empty-index", list(vec![])),
        ("artifact", bent(&|manifest| manifest["artifactType"] = json!("application/vnd.example"))),
        ("data-field", bent(&|manifest| manifest["config"]["data"] = json!("e30="))),
        ("custom-field", bent(&|manifest| manifest["org.example.unknown"] = json!({"a": [1, null]}))),
        ("no-layers", bent(&|manifest| manifest["layers"] = json!([]))),
        (
            "non-distributable",
            bent(&|manifest| {
                let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
                let urls = ["https://store.example/never-asked"];
                manifest["layers"][0]["mediaType"] = json!(kind);
                manifest["layers"][0]["urls"] = json!(urls);
            }),
        ),
    ];
    for (name, manifest) in shapes {
        let repository = Repository::of(&world, &format!("manifests-{name}"));
        repository.push("base", &plain).await;
        repository.push("other", &other).await;
        repository.push_manifest("platforms", &platforms).await;
        repository.push_manifest(name, &manifest).await;
        repository.holds("manifests", &manifest, name).await;
        repository.holds("manifests", &manifest, &manifest.digest).await;
        let by_sha512 = Repository::of(&world, &format!("manifests-{name}-sha512"));
        by_sha512.push("base", &plain).await;
        by_sha512.push("other", &other).await;
        by_sha512.push_manifest("platforms", &platforms).await;
        let manifest = Object { digest: sha512(&manifest.bytes), ..manifest };
        by_sha512.push_manifest(&manifest.digest, &manifest).await;
        by_sha512.holds("manifests", &manifest, &manifest.digest).await;
    }
}

#[tokio::test]
async fn t32_what_is_missing_or_malformed_is_told_as_that() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let repository = Repository::of(&world, "missing");
    repository.push("here", &image(1, &[10])).await;
    let (short, long) = (sha256(b"missing"), sha512(b"missing"));
    for (what, statuses) in [
        ("manifests/missing", &[404][..]),
        (&format!("manifests/{short}"), &[404]),
        (&format!("manifests/{long}"), &[404]),
        (&format!("blobs/{short}"), &[404]),
        (&format!("blobs/{long}"), &[404]),
        ("manifests/sha256:baddigeststring", &[400, 404]),
        ("blobs/sha256:baddigeststring", &[400, 404]),
        ("referrers/sha256:baddigeststring", &[400]),
    ] {
        let path = repository.path(what);
        for answer in [get(repository.at, &path).send().await, head(repository.at, &path).send().await] {
            assert!(statuses.contains(&answer.status), "{what}: {}", answer.status);
        }
    }
    // What comes into being after it was asked for is there the next time: nothing is remembered in this profile.
    let late = image(2, &[20]);
    repository.get("manifests/late").send().await.expect(404);
    repository.get(&format!("blobs/{}", late.layers[0].digest)).send().await.expect(404);
    repository.push("late", &late).await;
    repository.holds("manifests", &late.manifest, "late").await;
    repository.holds("blobs", &late.layers[0], &late.layers[0].digest).await;
}

#[tokio::test]
async fn t85_t87_referrers_are_listed_filtered_and_right_at_once() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let repository = Repository::of(&world, "referrers");
    let subject = image(1, &[10]);
    for never_heard_of in [sha256(b"nothing"), sha512(b"nothing"), subject.manifest.digest.clone()] {
        assert_eq!(repository.referrers(&never_heard_of, "").await.1, Vec::<Value>::new());
    }
    let signature = artifact(1, &subject.manifest);
    repository.push(&signature.manifest.digest, &signature).await;
    let (_, found) = repository.referrers(&subject.manifest.digest, "").await;
    assert_eq!(found.len(), 1, "a subject that is not there has its referrers: {found:?}");
    repository.push("subject", &subject).await;
    let mut other = manifest_json(&signature.config, &signature.layers);
    other["artifactType"] = json!("application/vnd.example.other");
    other["subject"] = subject.manifest.descriptor();
    other["annotations"] = json!({"org.example": "kept"});
    let other = Object::new(OCI_MANIFEST, other.to_string());
    repository.push_manifest(&other.digest, &other).await;
    let (_, found) = repository.referrers(&subject.manifest.digest, "").await;
    assert_eq!(found.len(), 2, "{found:?}");
    let query = "?artifactType=application%2Fvnd.example.other";
    let (answer, found) = repository.referrers(&subject.manifest.digest, query).await;
    assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], other.digest);
    assert_eq!(found[0]["annotations"], json!({"org.example": "kept"}));
    repository.holds("manifests", &other, &other.digest).await;
}

#[tokio::test]
async fn t82_t83_tags_are_listed_in_order_in_pages_and_right_at_once() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let repository = Repository::of(&world, "tags");
    let nobody = repository.get("tags/list").send().await;
    assert!(matches!(nobody.status, 200 | 404), "{}", nobody.status);
    let image = image(1, &[10]);
    repository.push("a", &image).await;
    for (pushed, tags) in [("c", vec!["a", "c"]), ("b", vec!["a", "b", "c"]), ("d", vec!["a", "b", "c", "d"])]
    {
        repository.push_manifest(pushed, &image.manifest).await;
        assert_eq!(tags_of(&repository.get("tags/list").send().await), tags);
    }
    for (query, tags) in [
        ("?n=2", &["a", "b"][..]),
        ("?n=2&last=b", &["c", "d"]),
        ("?last=b", &["c", "d"]),
        ("?n=10&last=d", &[]),
        ("?n=0", &[]),
    ] {
        let answer = repository.get(&format!("tags/list{query}")).send().await;
        assert_eq!(tags_of(&answer), tags, "{query}");
        if query == "?n=0" {
            assert_eq!(answer.header("link"), None);
        }
    }
    let mut all = Vec::new();
    let mut next = Some(repository.path("tags/list?n=1"));
    while let Some(target) = next {
        let answer = get(repository.at, &target).send().await;
        all.extend(tags_of(&answer));
        next = answer.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    assert_eq!(all, ["a", "b", "c", "d"]);
}

fn tags_of(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200);
    let list: Value = serde_json::from_slice(&answer.body).unwrap();
    list["tags"].as_array().expect("a list").iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}
