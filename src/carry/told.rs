//! What was done, in words or as JSON, on standard output.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use roadstead::bundle::{Exported, Image, Imported, TagChange};
use serde_json::{Value, json};

use crate::{Failure, failed};

/// Tells what an export has made.
pub(super) fn exported(exported: &Exported, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let loads: Vec<_> = exported
            .loads
            .iter()
            .map(|loads| json!({"image": loads.name, "platform": loads.platform}))
            .collect();
        let files: Vec<_> = exported.files.iter().map(|file| file.display().to_string()).collect();
        return print(&line(&json!({
            "set": exported.set, "files": files, "images": images(&exported.images), "blobs": exported.blobs,
            "bytes": exported.bytes, "needs": exported.needs, "sparse": exported.sparse, "docker_load": loads,
        })));
    }
    let mut text = named(&exported.images);
    for loads in &exported.loads {
        let _ = writeln!(text, "docker load takes {} of {}", loads.platform, loads.name);
    }
    if exported.sparse > 0 {
        let _ = writeln!(
            text,
            "{} manifests that an index names are not here, most likely other platforms; they are left out",
            exported.sparse
        );
    }
    if exported.needs > 0 {
        let _ = writeln!(
            text,
            "{} blobs are left out: the earlier bundle has to be imported first",
            exported.needs
        );
    }
    for file in &exported.files {
        let _ = writeln!(text, "wrote {}", file.display());
    }
    let _ = writeln!(text, "set {}: {} blobs, {} bytes", exported.set, exported.blobs, exported.bytes);
    print(&text)
}

/// Tells what an import has brought.
pub(super) fn imported(imported: &Imported, as_json: bool) -> Result<(), Failure> {
    let warnings: Vec<_> = imported.warnings.iter().map(ToString::to_string).collect();
    if as_json {
        return print(&line(&json!({
            "images": images(&imported.images), "blobs": imported.blobs, "bytes": imported.bytes,
            "already": imported.already, "warnings": warnings, "moved": changes(&imported.tags.moved),
            "kept": changes(&imported.tags.kept), "evicted": imported.lost.images,
            "evicted_more": imported.lost.and_more,
        })));
    }
    for warning in &warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let mut text = named(&imported.images);
    let Imported { blobs, bytes, already, tags, lost, .. } = imported;
    for TagChange { place, tag, from, to, back } in &tags.moved {
        let way = if *back { "moved back" } else { "moved" };
        let _ = writeln!(text, "{way}: {place}:{tag} from {from} to {to}");
    }
    for TagChange { place, tag, from, to, .. } in &tags.kept {
        let _ = writeln!(
            io::stderr(),
            "warning: {place}:{tag} stays at {from}: it has stood for {to}, which was brought, before that; --move-back moves it"
        );
    }
    for image in &lost.images {
        let _ =
            writeln!(io::stderr(), "warning: {image} is not whole any more: parts were evicted to make room");
    }
    if lost.and_more {
        let _ = writeln!(io::stderr(), "warning: others are not whole any more either");
    }
    let _ = writeln!(text, "{blobs} blobs, {bytes} bytes written; {already} were here");
    print(&text)
}

fn changes(changes: &[TagChange]) -> Value {
    let change = |TagChange { place, tag, from, to, back }: &TagChange| json!({"name": format!("{place}:{tag}"), "from": from.to_string(), "to": to.to_string(), "back": back});
    changes.iter().map(change).collect()
}

fn images(images: &[Image]) -> Value {
    let image = |image: &Image| json!({"name": image.to_string(), "digest": image.digest.to_string()});
    images.iter().map(image).collect()
}

fn named(images: &[Image]) -> String {
    images.iter().fold(String::new(), |mut text, image| {
        let _ = match image.tag {
            Some(_) => writeln!(text, "{image} {}", image.digest),
            None => writeln!(text, "{image}"),
        };
        text
    })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn print(text: &str) -> Result<(), Failure> {
    let printed = io::stdout().write_all(text.as_bytes());
    printed.map_err(|error| failed(format!("the answer cannot be written: {error}")))
}
