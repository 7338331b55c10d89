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
