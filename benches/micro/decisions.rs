//! Who may have what, and what is here: questions of every request that are answered from memory.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use roadstead::admission::{Name, Rule, Rules, Verb, What, Who};
use roadstead::oci::{Algorithm, Digest, Pattern, Repository, Tag};
use roadstead::store::fs::RealDisk;
use roadstead::store::{Budget, Options, Scrub, Seen, Store};

const UPSTREAM: &str = "docker.io";

/// The last of so many rules decides, by each thing that a rule may say.
pub(crate) fn rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("rules");
    let address: IpAddr = "10.9.8.7".parse().unwrap();
    let who = Who { user: Some("ci-7"), certificate: None, address: Some(address) };
    let what = What { upstream: UPSTREAM, repository: "team/app/part" };
    for count in [1, 100] {
        type Said = fn(usize, bool, &mut Rule);
        let kinds: [(&str, Said); 3] = [
            ("repositories", |at, last, rule| {
                let text = if last { "team/**".to_owned() } else { format!("other-{at}/*") };
                rule.repositories.push(Pattern::of_repositories(&text).unwrap());
            }),
            ("users", |at, last, rule| {
                let text = if last { "ci-*".to_owned() } else { format!("user-{at}") };
                rule.users.push(Name::new(&text).unwrap());
            }),
            ("networks", |at, last, rule| {
                let text = if last { "10.0.0.0/8".to_owned() } else { format!("192.0.{at}.0/24") };
                rule.networks.push(text.parse().unwrap());
            }),
        ];
        for (name, say) in kinds {
            let list = (1..=count).map(|at| {
                let mut rule = Rule {
                    verb: Verb::Allow,
                    upstreams: Vec::new(),
                    repositories: Vec::new(),
                    users: Vec::new(),
                    certificates: Vec::new(),
                    networks: Vec::new(),
                    line: at,
                };
                say(at, at == count, &mut rule);
                rule
            });
            let rules = Rules { list: list.collect(), logins: true, certificates: false };
            assert!(rules.decide(&who, &what).is_allowed());
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| rules.decide(black_box(&who), black_box(&what)));
            });
        }
    }
}

/// Of a store with tens of thousands of members and tags, what a request asks and what it notes.
pub(crate) fn index(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        path: folder.path().join("store"),
        max_bytes: Budget::Bytes(1 << 30),
        max_blob: None,
        scrub: Scrub::NEVER,
        pins: Vec::new(),
    };
    let store = Store::open(Arc::new(RealDisk), options).unwrap();
    let repositories: Vec<Repository> =
        (0..100).map(|at| format!("team/app-{at}").parse().unwrap()).collect();
    let digests: Vec<Digest> =
        (0..50_000_u32).map(|at| Digest::of(Algorithm::Sha256, &at.to_le_bytes())).collect();
    let tags: Vec<Tag> = (0..100).map(|at| format!("v{at}").parse().unwrap()).collect();
    let members = digests.iter().zip(repositories.iter().cycle());
    let bound = repositories.iter().flat_map(|repository| tags.iter().map(move |tag| (repository, tag)));
    let now = SystemTime::now();
    store.enter(
        members.map(|(digest, repository)| (UPSTREAM, repository, digest)),
        bound.zip(&digests).map(|((repository, tag), digest)| (UPSTREAM, repository, tag, digest, now)),
    );
    let (repository, tag, digest) = (&repositories[42], &tags[42], &digests[42]);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let layer = digest.to_string();
    let manifest = Bytes::from(format!(
        "{{\"schemaVersion\":2,\"mediaType\":{media_type:?},\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
         \"digest\":{layer:?},\"size\":7}},\"layers\":[]}}"
    ));
    let of_manifest = Digest::of(Algorithm::Sha256, &manifest);
    let seen = Seen { upstream: UPSTREAM.to_owned(), repository: repository.clone(), tag: Some(tag.clone()) };
    store.put_manifest(&of_manifest, media_type, &manifest, true, &seen).unwrap();
    assert!(store.is_member(UPSTREAM, repository, digest));
    assert_eq!(store.is_named(UPSTREAM, repository, digest), Some(7));

    let mut group = c.benchmark_group("index");
    group.bench_function("what a tag stands for", |b| {
        b.iter(|| store.binding(UPSTREAM, black_box(repository), black_box(tag)));
    });
    group.bench_function("is a member", |b| {
        b.iter(|| store.is_member(UPSTREAM, black_box(repository), black_box(digest)));
    });
    group.bench_function("is named", |b| {
        b.iter(|| store.is_named(UPSTREAM, black_box(repository), black_box(digest)));
    });
    group.bench_function("a blob that is not here", |b| b.iter(|| store.blob(black_box(digest))));
    group.bench_function("notes a use", |b| b.iter(|| store.touch(black_box(&of_manifest))));
    group.bench_function("binds a tag", |b| {
        b.iter(|| store.bind(UPSTREAM, repository, tag, black_box(&of_manifest), now));
    });
    group.finish();
    store.close();
}
