//! The image, built from nothing, and the pod of the chart, run from it by a docker engine of the test's own: with the same
//! user, read-only root, mounts, arguments and environment, it resolves names, fetches, and serves a pull.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::chart::Chart;
use crate::node::Node;
use crate::process::{Process, command, free_port, have, outcome, run, skip};
use crate::{http, project};

const NEEDED: [(&str, &str); 5] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("ldd", "libc-bin"),
];

/// Of the upstream, which only the test's own name server knows.
const NAME: &str = "registry.roadstead.test";

#[test]
fn the_rendered_pod_runs_from_an_image_built_of_nothing_and_serves_a_pull() {
    let Some(chart) = Chart::at_hand() else { return };
    if !have(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(node) = Node::start(folder.path()) else { return };
    let Some(names) = name_server() else { return };
    let upstream = Upstream::start();
    let engine = Engine::start(&node);
    let (registry, admin) = (address(free_port()), address(free_port()));
    let values = json!({
        "image": { "repository": "roadstead.test/roadstead", "tag": "built" },
        "config": {
            "server": { "listen": [registry.to_string()] },
            "admin": { "listen": admin.to_string() },
            "upstream": [{
                "name": "upstream.test",
                "endpoints": [format!("http://{NAME}:{}", upstream.address.port())],
                "default": true,
            }],
        },
    });
    let values = node.file("values.yaml", &values.to_string());
    let manifests = chart.manifests(&values);
    let set = manifests.object("StatefulSet", "roadstead");
    let pod = &set["spec"]["template"]["spec"];
    let image = pod["containers"][0]["image"].as_str().unwrap();

    build(&engine, folder.path(), image);
    let resolver = node.file("resolv.conf", &format!("nameserver {}\n", names.ip()));
    let mut arguments = vec!["run".to_owned(), "--detach".to_owned(), "--name=mirror".to_owned()];
    arguments.push("--network=host".to_owned());
    arguments.push(format!("--volume={}:/etc/resolv.conf:ro", resolver.display()));
    arguments.extend(as_docker(&node, pod, set, manifests.configuration()));
    engine.docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    let mut engine = engine;
    engine.daemon.wait_for("mirror", |_| {
        http::request(admin, "GET", "/readyz", &[], b"").filter(|answer| answer.status == 200)
    });
    let get = |path: &str| {
        let answer = http::request(registry, "GET", path, &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    };
    let manifest = get("/v2/team/app/manifests/1");
    assert_eq!(manifest, *upstream.manifest);
    assert_eq!(get(&format!("/v2/team/app/blobs/{}", digest(&upstream.blob))), *upstream.blob);
    // The commands of whoever is inside, as the chart and the image have them.
    assert_eq!(engine.docker(&["exec", "mirror", "roadstead", "health"]), "ready\n");
    let status = engine.docker(&["exec", "mirror", "roadstead", "status"]);
    assert!(status.contains("upstream.test"), "{status}");
    let checked: Value = serde_json::from_str(&engine.docker(&["image", "inspect", image])).unwrap();
    assert_eq!(checked[0]["Config"]["Healthcheck"]["Test"], json!(["CMD", "/usr/bin/roadstead", "health"]));
    assert_eq!(checked[0]["Config"]["User"], "65532:65532");
    // By itself, without anything mounted, it is as ready, and its health check finds it so.
    let (alone, of_alone) = (address(free_port()), address(free_port()));
    let listen = format!("--env=ROADSTEAD_SERVER__LISTEN={alone}");
    let operate = format!("--env=ROADSTEAD_ADMIN__LISTEN={of_alone}");
    let plain = ["run", "--detach", "--name=plain", "--network=host", "--read-only", "--cap-drop=ALL"];
    engine.docker(&[&plain[..], &["--health-interval=1s", &listen, &operate, image]].concat());
    let mut health = engine.command();
    health.args(["inspect", "--format={{.State.Health.Status}}", "plain"]);
    engine.daemon.wait_for("health", |_| outcome(&mut health).stdout.starts_with(b"healthy").then_some(()));
    assert_eq!(http::request(alone, "GET", "/v2/", &[], b"").unwrap().status, 200);
    engine.docker(&["stop", "--time=45", "plain"]);
    // SIGTERM is understood by a process that is the first of its namespace.
    engine.docker(&["stop", "--time=45", "mirror"]);
    assert_eq!(engine.docker(&["inspect", "--format={{.State.ExitCode}}", "mirror"]), "0\n");
}

/// Builds the image of this very program, as `make image` does of the released one.
fn build(engine: &Engine<'_>, folder: &Path, image: &str) {
    let context = folder.join("context");
    let root = context.join("target/image");
    std::fs::create_dir_all(root.parent().unwrap()).unwrap();
    let rootfs = project("packaging/rootfs");
    run(command(&rootfs, folder).arg(env!("CARGO_BIN_EXE_roadstead")).arg(&root));
    for file in ["Dockerfile", ".dockerignore"] {
        std::fs::copy(project(file), context.join(file)).unwrap();
    }
    engine.docker(&["build", "--network=none", "--tag", image, context.to_str().unwrap()]);
}

/// The pod's container as docker is told of it, as far as docker knows such things: what there is to mount is made.
fn as_docker(node: &Node, pod: &Value, set: &Value, configuration: &str) -> Vec<String> {
    let container = &pod["containers"][0];
    let of_pod = &pod["securityContext"];
    let (user, group) = (&of_pod["runAsUser"], &of_pod["runAsGroup"]);
    assert_eq!(of_pod["fsGroup"], *group);
    let security = &container["securityContext"];
    assert_eq!(
        (&security["readOnlyRootFilesystem"], &security["allowPrivilegeEscalation"]),
        (&true.into(), &false.into())
    );
    assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
    let mut told =
        vec![format!("--user={user}:{group}"), "--read-only".to_owned(), "--cap-drop=ALL".to_owned()];
    told.push("--security-opt=no-new-privileges".to_owned());
    for variable in container["env"].as_array().into_iter().flatten() {
        told.push(format!(
            "--env={}={}",
            variable["name"].as_str().unwrap(),
            variable["value"].as_str().unwrap()
        ));
    }
    let claims = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let claims: Vec<_> = claims.map(|claim| &claim["metadata"]["name"]).collect();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let (name, at) = (&mount["name"], mount["mountPath"].as_str().unwrap());
        let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == *name);
        let from = match volume {
            None => {
                assert!(claims.contains(&name), "no volume {name}");
                // A fresh volume is root's, and the kubelet gives it to the group.
                let folder = node.folder("volume");
                run(command("chgrp", &folder).arg(group.to_string()).arg(&folder));
                run(command("chmod", &folder).arg("2775").arg(&folder));
                folder
            }
            Some(volume) if volume["emptyDir"].is_object() => {
                told.push(format!("--tmpfs={at}:mode=2777,gid={group}"));
                continue;
            }
            Some(volume) => {
                assert!(volume["configMap"].is_object(), "{volume}");
                assert_eq!(mount["subPath"], "roadstead.toml");
                node.file("roadstead.toml", configuration)
            }
        };
        let read_only = if mount["readOnly"] == true { ":ro" } else { "" };
        told.push(format!("--volume={}:{at}{read_only}", from.display()));
    }
    told.push(container["image"].as_str().unwrap().to_owned());
    told.extend(container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()));
    told
}

/// A docker engine with an empty store, in a node of its own.
struct Engine<'a> {
    daemon: Process,
    node: &'a Node,
    socket: PathBuf,
}

impl<'a> Engine<'a> {
    fn start(node: &'a Node) -> Self {
        let socket = node.folder("run").join("docker.sock");
        let arguments = [
            format!("--config-file={}", node.file("daemon.json", "{}").display()),
            format!("--data-root={}", node.folder("data").display()),
            format!("--exec-root={}", node.folder("exec").display()),
            format!("--pidfile={}", node.folder("run").join("docker.pid").display()),
            format!("--host=unix://{}", socket.display()),
            format!("--cgroup-parent=/{}", node.control_group()),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            "--storage-driver=vfs".to_owned(),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--ip-forward=false".to_owned(),
            "--ip-masq=false".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let daemon = node.daemon("dockerd", &arguments, "dockerd.log");
        let mut engine = Self { daemon, node, socket };
        let mut version = engine.command();
        version.arg("version");
        engine.daemon.wait_for("engine", |_| outcome(&mut version).status.success().then_some(()));
        engine
    }

    fn docker(&self, arguments: &[&str]) -> String {
        run(self.command().args(arguments))
    }

    /// The builder that is in the engine, and needs no program beside it.
    fn command(&self) -> Command {
        let mut docker = self.node.command("docker");
        docker.env("DOCKER_BUILDKIT", "0").arg("--host").arg(format!("unix://{}", self.socket.display()));
        docker
    }
}

/// A registry with one image, whose server takes what it is asked and knows nothing else.
struct Upstream {
    address: SocketAddr,
    manifest: Arc<Vec<u8>>,
    blob: Arc<Vec<u8>>,
}

impl Upstream {
    /// It serves until the process of the test ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let blob = Arc::new(vec![7_u8; 100_000]);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let described = |of: &str| json!({ "mediaType": of, "digest": digest(&blob), "size": blob.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": described("application/vnd.oci.image.config.v1+json"),
            "layers": [described("application/vnd.oci.image.layer.v1.tar")],
        });
        let manifest = Arc::new(manifest.to_string().into_bytes());
        let (manifests, blobs) = (Arc::clone(&manifest), Arc::clone(&blob));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manifests, blobs) = (Arc::clone(&manifests), Arc::clone(&blobs));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let asked = lines.next().unwrap_or_default();
                    lines.take_while(|line| !line.is_empty()).for_each(drop);
                    let (kind, body) = match asked.split(' ').nth(1).unwrap_or_default() {
                        path if path.contains("/manifests/") => (kind, manifests),
                        path if path.contains("/blobs/") => ("application/octet-stream", blobs),
                        _ => ("application/json", Arc::new(b"{}".to_vec())),
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                         Docker-Content-Digest: {}\r\nConnection: close\r\n\r\n",
                        body.len(),
                        digest(&body),
                    );
                    let body: &[u8] = if asked.starts_with("HEAD ") { b"" } else { &body };
                    // Whoever has gone has no need of it.
                    let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body));
                });
            }
        });
        Self { address, manifest, blob }
    }
}

/// A name server at an address of this machine that nobody else has: [`NAME`] is 127.0.0.1, and nothing else is anything.
fn name_server() -> Option<SocketAddr> {
    // The port is where every resolver looks for one.
    let bound = (1..=250).find_map(|last| UdpSocket::bind(SocketAddr::from(([127, 0, 53, last], 53))).ok());
    let Some(socket) = bound else {
        skip("no name server can be started (port 53 needs root)");
        return None;
    };
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, who)) = socket.recv_from(&mut asked) {
            // Whoever does not get it asks again.
            let _ = socket.send_to(&answer(&asked[..length]), who);
        }
    });
    Some(address)
}

/// The answer to one question, as RFC 1035 has it.
fn answer(asked: &[u8]) -> Vec<u8> {
    const HEADER: usize = 12;
    let labels = asked[HEADER..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &asked[HEADER..HEADER + labels + 4];
    let is_address = question[labels..labels + 2] == [0, 1];
    let name: Vec<u8> =
        NAME.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    let known = question[..labels - 1].eq_ignore_ascii_case(&name);
    let mut answer = asked[..2].to_vec();
    answer.extend([
        0x81,
        if known { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::from(known && is_address),
        0,
        0,
        0,
        0,
    ]);
    answer.extend(question);
    if known && is_address {
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
