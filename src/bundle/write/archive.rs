//! A bundle as a tar archive, packed or not.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};

use crate::bundle::error::Error;
use crate::bundle::read::blob_path;
use crate::oci::Digest;

use super::Sink;
use super::output::Output;

/// How hard zstd tries. What is large is packed already; more would only take time.
const LEVEL: i32 = 3;

/// See the module.
pub(super) struct Archive<'a> {
    builder: Builder<Packer<'a>>,
    path: PathBuf,
}

enum Packer<'a> {
    Plain(Output<'a>),
    Zstd(zstd::stream::write::Encoder<'static, Output<'a>>),
}

impl<'a> Archive<'a> {
    pub(super) fn begin(output: Output<'a>, packed: bool) -> Result<Self, Error> {
        let path = output.path().to_owned();
        let packer = match packed {
            false => Packer::Plain(output),
            true => {
                let mut encoder =
                    zstd::stream::write::Encoder::new(output, LEVEL).map_err(Error::io("pack", &path))?;
                // What a medium garbles is found before it is unpacked.
                encoder.include_checksum(true).map_err(Error::io("pack", &path))?;
                Packer::Zstd(encoder)
            }
        };
        Ok(Self { builder: Builder::new(packer), path })
    }

    fn append(
        &mut self,
        kind: EntryType,
        path: &str,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        // Of nobody and no time: the same images make the same archive.
        let appended = self.builder.append_data(&mut header, path, content);
        appended.map_err(|error| unwrapped(error, &self.path))
    }
}

impl Sink for Archive<'_> {
    fn folder(&mut self, path: &str) -> Result<(), Error> {
        self.append(EntryType::Directory, &format!("{path}/"), 0, &mut io::empty())
    }

    fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        self.append(EntryType::Regular, path, size, content)
    }

    fn object(&mut self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        self.file(&blob_path(digest), size, content)
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>, Error> {
        let Self { builder, path } = *self;
        let packer = builder.into_inner().map_err(|error| unwrapped(error, &path))?;
        let output = match packer {
            Packer::Plain(output) => output,
            Packer::Zstd(encoder) => encoder.finish().map_err(|error| unwrapped(error, &path))?,
        };
        output.finish()
    }
}

impl Write for Packer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// The error that a volume could not be begun with came through a writer.
fn unwrapped(error: io::Error, path: &std::path::Path) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("write", path)(error),
    }
}
