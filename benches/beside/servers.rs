//! The servers, all of them with the same content.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::content::{Content, MANIFEST, REPOSITORY};
use crate::process::{Process, free_port};

/// A server that can be measured.
pub(crate) struct Server {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// The processor time that it has used.
    pub(crate) fn busy(&self) -> Duration {
        self.process.busy()
    }
}

/// Those that were at hand. nginx, whose files are also what the others fetch, is the first and always there.
pub(crate) struct Servers {
    /// In the order of the table.
    pub(crate) all: Vec<Server>,
}

impl Servers {
    /// Starts them.
    pub(crate) fn start(folder: &Path, content: &Content) -> Self {
        let origin = free_port();
        let mut all = vec![nginx(folder, content, origin)];
        match find("docker-registry") {
            Some(program) => all.push(registry(folder, &program, origin)),
            None => {
                println!("docker-registry is not at hand (apt-get install docker-registry): it is left out")
            }
        }
        all.push(roadstead(folder, Path::new(env!("CARGO_BIN_EXE_roadstead")), "roadstead", origin));
        if let Some(other) = env::var_os("ROADSTEAD_BENCH_AGAINST") {
            all.push(roadstead(folder, Path::new(&other), "roadstead, the other", origin));
        }
        Self { all }
    }
}

fn nginx(folder: &Path, content: &Content, origin: SocketAddr) -> Server {
    let program = find("nginx").unwrap();
    let address = free_port();
    let config = include_str!("nginx.conf")
        .replace("@folder@", folder.to_str().unwrap())
        .replace("@root@", content.root.to_str().unwrap())
        .replace("@repository@", REPOSITORY)
        .replace("@manifest@", MANIFEST)
        .replace("@origin@", &origin.to_string())
        .replace("@address@", &address.to_string());
    let tags = content.tags.iter().enumerate();
    let tags: Vec<_> =
        tags.map(|(tag, digest)| format!("/v2/{REPOSITORY}/manifests/t{tag} {digest};\n")).collect();
    fs::write(folder.join("tags.map"), tags.concat()).unwrap();
    // Its workers give up the rights of root, and are to read what only its owner may.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let path = folder.join("nginx.conf");
    fs::write(&path, format!("{user}{config}")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(path).arg("-p").arg(folder).arg("-e").arg(folder.join("nginx-error.log"));
    serve("nginx, static files", &mut command, address, &folder.join("nginx.log"))
}

fn registry(folder: &Path, program: &Path, origin: SocketAddr) -> Server {
    let address = free_port();
    let config = folder.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         proxy: {{remoteurl: \"http://{origin}\"}}\nhttp: {{addr: \"{address}\"}}\n",
        folder.join("registry").display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(config);
    serve("docker-registry, proxy", &mut command, address, &folder.join("registry.log"))
}

fn roadstead(folder: &Path, program: &Path, name: &'static str, origin: SocketAddr) -> Server {
    let address = free_port();
    let of_it = folder.join(name.replace([' ', ','], ""));
    fs::create_dir_all(&of_it).unwrap();
    let config = of_it.join("roadstead.toml");
    let text = format!(
        "[server]\nlisten = [\"{address}\"]\n[admin]\nlisten = \"\"\n[store]\npath = {:?}\nmax_bytes = \"100GiB\"\n\
         [[upstream]]\nname = \"bench.test\"\nendpoints = [\"http://{origin}\"]\ndefault = true\ntag_ttl = \"1d\"\n",
        of_it.join("store")
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(config);
    serve(name, &mut command, address, &of_it.join("log"))
}

fn serve(name: &'static str, command: &mut Command, address: SocketAddr, log: &Path) -> Server {
    let mut process = Process::start(command, log);
    process.await_port(address, log);
    Server { name, address, process }
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    // nginx is not for everybody's path.
    folders.push("/usr/sbin".into());
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}
