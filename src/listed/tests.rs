use super::*;

/// What is found, in full, and the lines of what cannot be read.
fn read(text: &str) -> (Vec<String>, Vec<usize>) {
    let found = images_in(text);
    let puzzles = found.puzzles.iter().map(|puzzle| puzzle.line).collect();
    (found.images.iter().map(ToString::to_string).collect(), puzzles)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_list_has_an_image_a_line_and_comments() {
    let text = "# what we run\nnginx:1.27\n\n  ghcr.io/org/app:v1.*   # the newest\nhost:5000/a\nnginx:1.27\nNo/Name!\n";
    let (images, puzzles) = read(text);
    assert_eq!(
        images,
        names(&["docker.io/library/nginx:1.27", "ghcr.io/org/app:v1.*", "host:5000/a:latest"])
    );
    assert_eq!(puzzles, [7]);
    assert_eq!(read(""), (vec![], vec![]));
    assert_eq!(read("# nothing\n"), (vec![], vec![]));
}

const KUBERNETES: &str = r#"# Source: app/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
        - {name: init, image: "busybox:1.36"}
      containers:
        - name: app
          image: ghcr.io/org/app:1.2@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          imagePullPolicy: Always
        - name: side
          image: busybox:1.36
      ephemeralContainers:
        - name: debug
          image: 'registry.local:5000/debug'
      volumes:
        - name: data
          image:
            reference: quay.io/org/artifact:v2
            pullPolicy: IfNotPresent
---
# Source: app/templates/monitoring.yaml
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
spec:
  image: quay.io/prometheus/prometheus:v2.51.0
  thanos:
    image:
      registry: quay.io
      repository: thanos/thanos
      tag: v0.34.1
---
kind: CustomResourceDefinition
spec:
  versions:
    - schema:
        properties:
          image:
            type: string
            description: The image.
---
kind: ConfigMap
data:
  inner.yaml: |
    image: not/this:1
---
kind: Empty
image:
"#;

#[test]
fn images_of_kubernetes_are_found_wherever_they_are() {
    let app = format!("ghcr.io/org/app:1.2@sha256:{}", "a".repeat(64));
    let expected = names(&[
        "docker.io/library/busybox:1.36",
        &app,
        "registry.local:5000/debug:latest",
        "quay.io/org/artifact:v2",
        "quay.io/prometheus/prometheus:v2.51.0",
        "quay.io/thanos/thanos:v0.34.1",
    ]);
    assert_eq!(read(KUBERNETES), (expected.clone(), vec![]));
    assert_eq!(read(&KUBERNETES.replace('\n', "\r\n")), (expected, vec![]));
}

#[test]
fn images_of_a_list_in_json_are_found() {
    let text =
        r#"{"kind":"List","items":[{"spec":{"containers":[{"image":"nginx:1"},{"image":"redis:7"}]}}]}"#;
    assert_eq!(read(text), (names(&["docker.io/library/nginx:1", "docker.io/library/redis:7"]), vec![]));
}

#[test]
fn images_of_compose_files_are_found_with_the_defaults_of_their_variables() {
    let text = "\
x-base: &base
  image: ${REGISTRY:-docker.io}/team/base:${TAG:-3}
services:
  web:
    image: nginx:${NGINX:-1.27}
  db:
    image: postgres:${PG}
  worker:
    <<: *base
    command: run
  other:
    image: &name redis:7
  again:
    image: *name
  built:
    build: .
";
    let expected =
        names(&["docker.io/team/base:3", "docker.io/library/nginx:1.27", "docker.io/library/redis:7"]);
    assert_eq!(read(text), (expected, vec![7]));
}

#[test]
fn images_are_found_where_charts_operators_and_kustomizations_name_them() {
    let digest = format!("sha256:{}", "b".repeat(64));
    let text = MANY_WAYS.replace("DIGEST", &digest);
    let expected = [
        "quay.io/org/controller:v1".to_owned(),
        format!("registry.k8s.io/ingress-nginx/controller:v1.10@{digest}"),
        "docker.io/library/busybox:1.36".to_owned(),
        "quay.io/org/base:1".to_owned(),
        "quay.io/org/base:2".to_owned(),
        "nvcr.io/nvidia/driver:550.1".to_owned(),
        "ghcr.io/cloudnative-pg/postgresql:16".to_owned(),
        "docker.io/library/init:1".to_owned(),
        "docker.io/library/manager:1".to_owned(),
        "quay.io/jetstack/solver:v1".to_owned(),
        format!("quay.io/org/db@{digest}"),
        "quay.io/org/app:3".to_owned(),
        "quay.io/org/web:4".to_owned(),
        "quay.io/org/tool:5".to_owned(),
        "docker.io/a/b:6".to_owned(),
        "docker.io/c/d:7".to_owned(),
    ];
    assert_eq!(read(&text), (expected.to_vec(), vec![]));
}

const MANY_WAYS: &str = "\
# values of a chart
global: {registry: quay.io}
controller:
  repository: quay.io/org/controller
  tag: v1
  pullPolicy: IfNotPresent
  image:
    registry: registry.k8s.io
    image: ingress-nginx/controller
    tag: v1.10
    digest: DIGEST
sidecarImage: busybox:1.36
logoImage: img/logo.png
backgroundImage: https://example.com/a:b.png
defaults: &defaults
  repository: quay.io/org/base
  tag: '1'
job:
  image:
    <<: *defaults
    tag: '2'
---
# a resource of an operator
kind: ClusterPolicy
spec:
  driver: {repository: nvcr.io/nvidia, image: driver, version: '550.1'}
  imageName: ghcr.io/cloudnative-pg/postgresql:16
  initContainers:
  - image: init:1
---
kind: Deployment
spec:
  containers:
  - image: manager:1
    args: [--acme-http01-solver-image=quay.io/jetstack/solver:v1, --leader-elect=true, '--listen=0.0.0.0:80']
    env:
    - name: RELATED_IMAGE_DB
      value: quay.io/org/db@DIGEST
    - name: IMAGE_PULL_POLICY
      value: Always
---
kind: Kustomization
images:
- name: app
  newName: quay.io/org/app
  newTag: '3'
---
images:
  web: quay.io/org/web:4
  pullPolicy: Always
---
annotations:
  artifacthub.io/images: |
    - name: tool
      image: quay.io/org/tool:5
dependencies:
- {name: db, version: '1', repository: 'https://charts.example.com'}
---
kind: VirtualMachine
spec: {image: 'https://example.com/disk.img'}
---
images: a/b:6, c/d:7
";

#[test]
fn a_long_value_that_is_repeated_by_its_name_costs_its_text_and_no_more() {
    let (long, other) = ("a".repeat(1 << 20), "c".repeat(1 << 20));
    let mut text = format!("x: &x {long}\nb: &b {{repository: {other}, tag: '1'}}\n");
    for number in 0..20_000 {
        text.push_str(&format!("k{number}:\n  image: *x\nm{number}: &m{number} {{<<: *b, tag: '2'}}\n"));
    }
    let found = images_in(&text);
    assert!(found.images.is_empty());
    let told: usize = found.puzzles.iter().map(|puzzle| puzzle.text.len()).sum();
    assert!(told < text.len(), "{told} of {}", text.len());
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_hides_nothing_else() {
    let text = "image: a:1\n---\nkey: [unclosed\n---\nimage: b:1\n---\nimage: '{{ .Values.image }}'\n---\nimage:\n  repository: c\n";
    let (images, puzzles) = read(text);
    assert_eq!(images, names(&["docker.io/library/a:1", "docker.io/library/b:1"]));
    assert_eq!(puzzles.len(), 3, "{puzzles:?}");
    assert!((3..=4).contains(&puzzles[0]), "{puzzles:?}");
    assert_eq!(puzzles[1], 7);
    assert!((9..=10).contains(&puzzles[2]), "{puzzles:?}");
}

#[test]
fn what_refers_to_itself_over_and_over_takes_no_more_than_its_text() {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..200 {
        let below = level - 1;
        text.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n"));
    }
    text.push_str("image: a:1\n");
    assert_eq!(read(&text), (names(&["docker.io/library/a:1"]), vec![]));
    // Nesting is bounded, or costs no stack.
    for deep in ["[".repeat(100_000), "- ".repeat(50_000), "{a: ".repeat(50_000)] {
        let _ = read(&format!("image: a:1\nb: {deep}"));
    }
}

#[test]
fn a_text_that_is_too_large_is_refused() {
    let found = images_in(&"a\n".repeat(MAX_BYTES / 2 + 1));
    assert_eq!((found.images.len(), found.puzzles.len()), (0, 1));
}
