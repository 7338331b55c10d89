//! A mirror behind a mirror, as in a branch office: skopeo asks the leaf, the leaf asks the hub, and the hub alone may ask
//! the registry, which speaks TLS by an authority of its own and wants an account.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::http;
use crate::image::{self, Flavour, Image, Packing};
use crate::mirror::Mirror;
use crate::process::have;
use crate::registry::Registry;
use crate::scene::{QUAY, REPOSITORY};
use crate::skopeo::{self, Skopeo, assert_holds};

const ACCOUNT: &str = "hub";
/// With its hash, from the test vectors of crypt_blowfish: what makes one costs a crate.
const PASSWORD: &str = "U*U";
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// See the module.
struct Chain {
    registry: Registry,
    hub: Mirror,
    leaf: Mirror,
    skopeo: Skopeo,
    /// What is pulled.
    image: Image,
    /// What nobody has pulled yet.
    other: Image,
    hub_tables: String,
    leaf_tables: String,
    folder: TempDir,
}

impl Chain {
    fn set() -> Option<Self> {
        if !have(&[("setpriv", "util-linux"), ("docker-registry", "docker-registry")])
            || !have(&skopeo::NEEDED)
        {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("roadstead-chain-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let image = image::multi_arch("hello from behind", Flavour::Oci, Packing::Gzip);
        let other = image::artifact_about(&image.top, "not pulled yet");
        // Filled while it is open, because that is about pulling only.
        let mut open = Registry::start(&at("registry"));
        open.push(REPOSITORY, "v1", &image);
        open.push(REPOSITORY, "other", &other);
        open.stop();
        let identity = Identity::make(folder.path());
        std::fs::write(at("htpasswd"), format!("{ACCOUNT}:{HASH}\n")).unwrap();
        std::fs::write(at("password"), PASSWORD).unwrap();
        let registry =
            Registry::start_closed(&at("registry"), &identity.certificate, &identity.key, &at("htpasswd"));
        let hub_tables = format!(
            "[[upstream]]\nname = \"{QUAY}\"\nendpoints = [\"https://{}\"]\nca = {:?}\n\
             username = \"{ACCOUNT}\"\npassword_file = {:?}\n",
            registry.address(),
            identity.authority,
            at("password"),
        );
        let hub = Mirror::start_as(&at("hub"), &hub_tables);
        let leaf_tables = format!(
            "[[upstream]]\nname = \"{QUAY}\"\nendpoints = [\"http://{}\"]\npass_ns = true\n",
            hub.address()
        );
        let leaf = Mirror::start_as(&at("leaf"), &leaf_tables);
        std::fs::create_dir(at("skopeo")).unwrap();
        let skopeo = Skopeo::at(at("skopeo"));
        Some(Self { registry, hub, leaf, skopeo, image, other, hub_tables, leaf_tables, folder })
    }

    /// Pulls the image through the leaf; everything of it is right.
    fn pull(&self, name: &str) {
        let copy = self.skopeo.copy_all(self.leaf.address(), &format!("{QUAY}/{REPOSITORY}:v1"), name);
        assert_holds(&copy, &self.image);
    }

    /// What a client that asks the leaf for a tag is told.
    fn told(&self, tag: &str) -> u16 {
        let target = format!("/v2/{REPOSITORY}/manifests/{tag}?ns={QUAY}");
        let answer = http::request(self.leaf.address(), "GET", &target, &[], b"").expect("an answer");
        answer.status
    }

    /// Everything of the image, in bytes.
    fn size(&self) -> u64 {
        let manifests = self.image.children.iter().chain([&self.image.top]).map(|manifest| &manifest.blob);
        self.image.blobs.iter().chain(manifests).map(|blob| blob.bytes.len() as u64).sum()
    }
}

/// An authority, and what it says of the registry.
struct Identity {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn make(folder: &Path) -> Self {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        Self {
            authority: write("authority.pem", authority.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}

#[test]
fn a_leaf_pulls_through_a_hub_each_byte_once_on_each_link_and_then_without_the_registry() {
    let Some(mut chain) = Chain::set() else { return };
    chain.pull("cold");
    chain.registry.stop();
    // The link to the registry, by its own account.
    let sizes: BTreeMap<_, _> =
        chain.image.blobs.iter().map(|blob| (blob.digest.clone(), blob.bytes.len() as u64)).collect();
    assert_eq!(chain.registry.blob_bytes_sent(), sizes);
    let accesses = chain.registry.accesses();
    assert!(accesses.iter().all(|access| access.agent.starts_with("roadstead/")), "{accesses:?}");
    let manifests = accesses.iter().filter(|access| access.method == "GET" && access.status == 200);
    let manifests = manifests.filter(|access| access.path.contains("/manifests/")).count();
    assert_eq!(manifests, 1 + chain.image.children.len());
    // Both links, by those who took it from them.
    for mirror in [&chain.hub, &chain.leaf] {
        assert_eq!(mirror.metric("roadstead_upstream_bytes_total"), chain.size());
    }
    chain.pull("warm");
    for mirror in [&chain.hub, &chain.leaf] {
        assert_eq!(mirror.metric("roadstead_upstream_bytes_total"), chain.size());
    }
    // A leaf that has nothing gets all from the hub; the hub has it still.
    chain.leaf.stop();
    chain.leaf = Mirror::start_as(&chain.folder.path().join("other-leaf"), &chain.leaf_tables);
    chain.pull("other-leaf");
    chain.hub.stop();
    chain.pull("alone");
}

#[test]
fn a_hub_with_a_wrong_password_says_so_loudly_and_serves_what_it_has() {
    let Some(mut chain) = Chain::set() else { return };
    chain.pull("before");
    let password = chain.folder.path().join("password");
    chain.hub.stop();
    std::fs::write(&password, "wrong").unwrap();
    chain.hub = Mirror::start_as(&chain.folder.path().join("hub"), &chain.hub_tables);
    let leaf_tables = format!(
        "[[upstream]]\nname = \"{QUAY}\"\nendpoints = [\"http://{}\"]\npass_ns = true\n",
        chain.hub.address()
    );
    chain.leaf.stop();
    chain.leaf = Mirror::start_as(&chain.folder.path().join("empty-leaf"), &leaf_tables);
    chain.pull("after");
    // Whether it exists nobody can say: not 404, and no challenge to somebody who has no account there.
    assert_eq!(chain.told("other"), 503);
    let (copied, _) = chain.skopeo.try_copy_all(
        chain.leaf.address(),
        &format!("{}/{QUAY}/{REPOSITORY}:other", chain.leaf.address()),
        "refused",
    );
    assert!(!copied.status.success());
    assert!(chain.hub.metric("roadstead_upstream_credentials_refused_total") > 0);
    assert!(chain.hub.said().contains("an account is refused"), "{}", chain.hub.said());
    // The registry's next refusal makes the hub look at the file again.
    std::fs::write(&password, PASSWORD).unwrap();
    assert_eq!(chain.told("other"), 200);
    let copy = chain.skopeo.copy_all(chain.leaf.address(), &format!("{QUAY}/{REPOSITORY}:other"), "granted");
    assert_holds(&copy, &chain.other);
}
