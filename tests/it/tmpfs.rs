//! A data directory far smaller than what is pulled through it: 64 MB, 100 pulls, some of an image that is more than four
//! times as large. G7. Where `ROADSTEAD_TEST_FULL` is set its largest layer is of 300 MB.
//!
//! The real binary over a tmpfs of its own, in a mount namespace that ends with it. Where this is not permitted, the
//! server in this process over a disk of the kit that is as small; how much memory it takes is not looked at then, which
//! is said.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::body::Body;
use crate::support::client;
use crate::support::disk::FaultDisk;
use crate::support::images::{Image, Object, image_of, large_layer};
use crate::support::mirror::{Binary, Mirror, Setup};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path, manifest_path};

const MB: u64 = 1_000_000;
/// How large the directory is.
const DISK: u64 = 64 * MB;
/// How many clients pull the same image at the same time.
const CLIENTS: u64 = 10;
/// How many such groups there are, one after the other.
const GROUPS: u64 = 10;
/// What the link to upstream carries in a second. A client that comes a moment after the others has not missed much.
const LINK: u64 = 40 * MB;
/// After a group in which somebody was behind the link is half as fast, down to this: the machine may be too busy to bring
/// the same to all of them sooner.
const SLOWEST: u64 = 10 * MB;
/// What may be lost of a blob for which the disk has room at first: what two sockets hold when they are closed.
const LOST: u64 = 10 * MB;
/// On the slowest link, in so many groups somebody may have a transfer of his own: who is more than two seconds behind the
/// others, all his stumbling together, is not waited for; and all of this runs on one machine, which may be busy with other
/// tests.
const LAGGING: u64 = 3;
/// How often upstream may send a blob in such a group: to each who pulls it once.
const TRANSFERS: u64 = CLIENTS;
/// Every so many groups the image that is far larger than the disk is pulled.
const LARGE_EVERY: u64 = 5;
/// The most memory that the mirror may ever take, whatever is pulled: 64 MiB for all windows past the store, and what it
/// takes without them.
const MEMORY: u64 = 160 * MB;

/// The server over a small disk.
enum Small {
    Process(Box<Binary>),
    Here(Box<Mirror>),
}

impl Small {
    async fn start(upstream: &Upstream) -> Self {
        let setup = Setup::of(upstream);
        match mounting(&setup.data()) {
            Some(command) => Self::Process(Box::new(setup.under(command).spawn().await)),
            None => {
                let disk = FaultDisk::new();
                disk.resize(DISK);
                Self::Here(Box::new(setup.disk(Arc::new(disk)).start().await))
            }
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Process(binary) => binary.address(),
            Self::Here(mirror) => mirror.address(),
        }
    }

    /// The most memory it ever had in use, where it is a process of its own.
    fn most_memory(&self) -> Option<u64> {
        match self {
            Self::Process(binary) => Some(binary.most_memory()),
            Self::Here(_) => None,
        }
    }
}

/// A figure, for who runs the test with its output shown.
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn show(text: &str) {
    println!("{text}");
}

/// The command that makes `data` a file system of its own for what it then runs, if that is permitted.
fn mounting(data: &Path) -> Option<Vec<String>> {
    const SCRIPT: &str =
        "mkdir -p \"$0\" && mount -t tmpfs -o size=\"$1\" none \"$0\" && shift && exec \"$@\"";
    for user in [&[][..], &["--map-root-user"]] {
        let mut command = vec!["unshare".to_owned(), "--mount".to_owned()];
        command.extend(user.iter().map(|&word| word.to_owned()));
        let script = ["sh", "-c", SCRIPT, &data.to_string_lossy(), &DISK.to_string()].map(str::to_owned);
        command.extend(script);
        let tried = std::process::Command::new(&command[0]).args(&command[1..]).arg("true").output();
        if tried.is_ok_and(|output| output.status.success()) {
            show(&format!("the data directory is a tmpfs of {DISK} bytes"));
            return Some(command);
        }
    }
    show(&format!("no mount is permitted here: the data directory is a disk of the kit of {DISK} bytes"));
    None
}

/// One client: the manifest, then everything that it names at once.
async fn pull(mirror: SocketAddr, image: Arc<Image>) {
    let manifest = client::get(mirror, &manifest_path(&image.manifest.digest)).send().await;
    manifest.expect_bytes(&image.manifest.bytes);
    let blobs: Vec<_> = image.blobs().map(|blob| tokio::spawn(read(mirror, blob.clone()))).collect();
    for blob in blobs {
        blob.await.unwrap();
    }
}

async fn read(mirror: SocketAddr, blob: Object) {
    Body::open(&client::get(mirror, &blob_path(&blob.digest)), blob.bytes.clone()).await.rest().await;
}

/// What was asked of upstream for a blob, after so many requests, and how many bytes each brought.
fn asked_since(upstream: &Upstream, blob: &Object, begun: usize) -> Vec<(String, u64)> {
    let seen = upstream.seen().split_off(begun);
    let of_blob = seen.iter().filter(|seen| seen.object.as_ref() == Some(&blob.digest));
    of_blob.map(|seen| (seen.asked.header("range").unwrap_or("all").to_owned(), seen.body_bytes)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g7_a_hundred_pulls_through_a_tmpfs_of_64_mb_are_right_and_share_their_transfers() {
    let upstream = Upstream::start().await;
    let mut link = LINK;
    upstream.share_link(link);
    // Layers of which most are larger than the disk; and layers that fit one by one, but not together.
    let largest = if std::env::var_os("ROADSTEAD_TEST_FULL").is_some() { 300 } else { 75 };
    let images = [vec![largest * MB, 75 * MB, 75 * MB, 35 * MB], vec![23 * MB; 3]].map(|sizes| {
        let layers = sizes.iter().zip(sizes[0]..).map(|(&size, seed)| large_layer(seed, size)).collect();
        Arc::new(image_of(sizes[0], layers))
    });
    for image in &images {
        upstream.push(REPOSITORY, None, image);
    }
    let [large, small] = &images;
    assert!(large.blobs().map(Object::size).sum::<u64>() > 4 * DISK);
    assert!(small.blobs().map(Object::size).sum::<u64>() > DISK);
    let mirror = Small::start(&upstream).await;
    let mut lagging = 0;
    let mut apart = Vec::new();
    for group in 0..GROUPS {
        let image = if group % LARGE_EVERY == 0 { large } else { small };
        let begun = upstream.seen().len();
        let before: Vec<u64> = image.blobs().map(|blob| upstream.sent_of(&blob.digest)).collect();
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(pull(mirror.address(), Arc::clone(image)))).collect();
        for client in clients {
            client.await.unwrap();
        }
        let mut together = true;
        for (blob, before) in image.blobs().zip(before) {
            let sent = upstream.sent_of(&blob.digest) - before;
            show(&format!("group {group}: {sent} bytes of {}", blob.size()));
            // What was on its way when the disk turned out to be full is not what the one transfer goes on with.
            let lost = if blob.size() < DISK { LOST } else { 0 };
            if sent > blob.size() + lost {
                together = false;
                assert!(sent <= TRANSFERS * blob.size() + lost, "{sent} bytes of {}", blob.size());
                apart.push((group, sent, blob.size(), asked_since(&upstream, blob, begun)));
            }
        }
        if !together {
            lagging += u64::from(link == SLOWEST);
            link = (link / 2).max(SLOWEST);
            upstream.share_link(link);
        }
    }
    assert!(lagging <= LAGGING, "{lagging} groups had more than one transfer on a slow link: {apart:?}");
    let Some(memory) = mirror.most_memory() else {
        show("how much memory the mirror takes was not looked at: it is no process of its own");
        return;
    };
    show(&format!("{memory} bytes of memory at the most"));
    assert!(memory > 0 && memory <= MEMORY, "{memory} bytes of memory");
}
