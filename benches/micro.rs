//! What one request costs before any socket or disk: the pure parts that every request goes through.
//!
//! `cargo bench` runs it; a part of a name after `--` picks benchmarks. What every request does once should not be visible
//! beside a system call, and what grows with its input should grow no faster than that.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]

#[path = "micro/decisions.rs"]
mod decisions;

use std::fmt::Write as _;
use std::hint::black_box;
use std::iter::repeat_n;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use decisions::{index, rules};
use roadstead::http::{answer, parse_range};
use roadstead::oci::{Algorithm, Digest, Hasher, Manifest, Namespace, Namespaces, Query, Route};
use roadstead::store::Ranges;

const MIB: usize = 1 << 20;

criterion_group!(micro, routes, queries, namespaces, ranges, digests, manifests, present, rules, index);
criterion_main!(micro);

fn routes(c: &mut Criterion) {
    let digest = digest_text();
    let mut group = c.benchmark_group("route");
    for (name, path) in [
        ("ping", "/v2/".to_owned()),
        ("tag", "/v2/library/nginx/manifests/1.29-alpine".to_owned()),
        ("blob", format!("/v2/library/nginx/blobs/{digest}")),
        ("blob with a path name before", format!("/docker.io/v2/library/nginx/blobs/{digest}")),
        ("the longest name", format!("/v2/{}/blobs/{digest}", vec!["a"; 128].join("/"))),
        ("refused traversal", format!("/v2/{}/manifests/latest", "..%2f".repeat(50))),
    ] {
        group.bench_function(name, |b| b.iter(|| Route::parse(black_box(&path))));
    }
}

fn queries(c: &mut Criterion) {
    let mut group = c.benchmark_group("query");
    for (name, query) in [("none", ""), ("ns", "ns=docker.io"), ("all", "ns=docker.io&n=100&last=v1%2e2&x=y")]
    {
        group.bench_function(name, |b| b.iter(|| Query::parse(black_box(query))));
    }
}

fn namespaces(c: &mut Criterion) {
    let many = (0..100).map(|i| namespace(&format!("registry-{i}.example"), &[]));
    let docker =
        Namespace { default: true, ..namespace("docker.io", &["index.docker.io", "registry-1.docker.io"]) };
    let namespaces = Namespaces::new(&many.chain([docker]).collect::<Vec<_>>()).unwrap();
    let mut group = c.benchmark_group("namespace");
    let host = Some("mirror.example:5000");
    group.bench_function("by ns", |b| {
        b.iter(|| namespaces.select(black_box(Some("docker.io")), None, host, black_box("nginx")))
    });
    group.bench_function("by path", |b| {
        b.iter(|| namespaces.select(None, None, host, black_box("registry-99.example/team/app")))
    });
    group.bench_function("by default", |b| {
        b.iter(|| namespaces.select(None, None, host, black_box("team/app")))
    });
}

fn ranges(c: &mut Criterion) {
    let mut group = c.benchmark_group("range");
    for count in [1_u64, 1024] {
        let asked =
            (0..count).map(|i| format!("{}-{}", i * 8192, i * 8192 + 4095)).collect::<Vec<_>>().join(",");
        let header = format!("bytes={asked}");
        group.throughput(Throughput::Elements(count));
        group.bench_with_input(BenchmarkId::new("parse", count), &header, |b, header| {
            b.iter(|| parse_range(black_box(header)));
        });
        let asked = parse_range(&header);
        group.bench_with_input(BenchmarkId::new("answer", count), &asked, |b, asked| {
            b.iter(|| answer(black_box(asked), black_box(64 << 20)));
        });
    }
}

fn digests(c: &mut Criterion) {
    let text = digest_text();
    let digest: Digest = text.parse().unwrap();
    let mut group = c.benchmark_group("digest");
    group.bench_function("parse", |b| b.iter(|| black_box(&text).parse::<Digest>()));
    group.bench_function("format", |b| {
        b.iter_batched_ref(
            || String::with_capacity(text.len()),
            |out| write!(out, "{}", black_box(&digest)),
            BatchSize::SmallInput,
        );
    });
    let content = vec![7; MIB];
    group.throughput(Throughput::Bytes(content.len() as u64));
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        group.bench_function(BenchmarkId::new("hash", algorithm), |b| {
            b.iter(|| {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(black_box(&content));
                hasher.finish()
            });
        });
    }
}

fn manifests(c: &mut Criterion) {
    let mut group = c.benchmark_group("manifest");
    for layers in [4, 127] {
        let body = image(layers);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("parse", layers), |b| {
            b.iter(|| Manifest::parse(IMAGE, black_box(body.as_bytes())));
        });
    }
}

/// A fill notes what arrived in pieces of 64 KiB: in order, or each between two that are there already.
fn present(c: &mut Criterion) {
    const PIECE: u64 = 64 << 10;
    let mut group = c.benchmark_group("present ranges");
    let sparse = |count: u64| {
        let mut present = Ranges::new();
        (0..count).for_each(|i| present.insert(2 * i * PIECE..(2 * i + 1) * PIECE));
        present
    };
    for runs in [1, 1024] {
        let present = sparse(runs);
        let (end, middle) = (present.end(), (runs / 2 * 2 + 1) * PIECE);
        for (name, piece) in [("append", end..end + PIECE), ("close a gap", middle..middle + PIECE)] {
            group.bench_function(BenchmarkId::new(name, runs), |b| {
                let again = || present.clone();
                b.iter_batched_ref(again, |it| it.insert(black_box(piece.clone())), BatchSize::SmallInput);
            });
        }
        group.bench_function(BenchmarkId::new("next missing", runs), |b| {
            b.iter(|| present.missing_in(black_box(0..end)).next());
        });
    }
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn image(layers: usize) -> String {
    let descriptor = |kind: &str| {
        format!(r#"{{"mediaType":"application/{kind}","digest":"{}","size":31357311}}"#, digest_text())
    };
    let config = descriptor("vnd.oci.image.config.v1+json");
    let layers: Vec<_> = repeat_n(descriptor("vnd.oci.image.layer.v1.tar+gzip"), layers).collect();
    let layers = layers.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{config},"layers":[{layers}]}}"#)
}

fn digest_text() -> String {
    Digest::of(Algorithm::Sha256, b"roadstead").to_string()
}

fn namespace(name: &str, aliases: &[&str]) -> Namespace {
    Namespace {
        name: name.to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        path: Some(name.to_owned()),
        hosts: Vec::new(),
        default: false,
    }
}
