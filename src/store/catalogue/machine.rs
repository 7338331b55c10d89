//! Machines that images are wanted for: `linux/arm64`, `linux/arm/v7`.
//!
//! Who names no variant means all of them. A variant that a machine has by default may be left out on either side, as
//! clients do.

use std::fmt;
use std::str::FromStr;

/// What an index says of the manifests that are for no machine: attestations, by the custom of their builder.
const OF_NO_MACHINE: &str = "unknown/unknown";

/// A kind of machine that images are wanted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    os: Box<str>,
    architecture: Box<str>,
    variant: Option<Box<str>>,
}

/// A text that is no kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineError(String);

impl Machine {
    /// Whether an image is for it that an index lists for this platform, `os/architecture[/variant]`.
    pub fn takes(&self, platform: &str) -> bool {
        let mut parts = platform.splitn(3, '/');
        let same = parts.next() == Some(&*self.os) && parts.next() == Some(&*self.architecture);
        let variant = parts.next().filter(|variant| !variant.is_empty());
        let usual = usual_variant(&self.architecture);
        same && match &self.variant {
            None => true,
            Some(wanted) => variant.or(usual) == Some(wanted),
        }
    }
}

/// The variant that is meant where none is told.
fn usual_variant(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("v1"),
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    }
}

/// Whether this is listed for no machine at all, as what is attached to images is.
pub(super) fn is_of_no_machine(platform: &str) -> bool {
    platform.starts_with(OF_NO_MACHINE)
}

impl FromStr for Machine {
    type Err = MachineError;

    fn from_str(text: &str) -> Result<Self, MachineError> {
        let parts: Vec<&str> = text.split('/').collect();
        let legal = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() < 2 && parts.iter().all(legal) => Ok(Self {
                os: os.to_ascii_lowercase().into(),
                architecture: usual_name(&architecture.to_ascii_lowercase()).into(),
                variant: variant.first().map(|variant| variant.to_ascii_lowercase().into()),
            }),
            _ => Err(MachineError(text.to_owned())),
        }
    }
}

/// The name that indexes have for an architecture.
fn usual_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        other => other,
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no platform; one looks like linux/amd64 or linux/arm/v7", self.0)
    }
}

impl std::error::Error for MachineError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_that_is_usual_may_be_left_out_and_who_names_none_means_all() {
        for (wanted, listed, takes) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/amd64/v1", "linux/amd64", true),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/aarch64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm", "linux/arm/v5", true),
            ("Linux/x86_64", "linux/amd64", true),
            ("windows/amd64", "linux/amd64", false),
            ("linux/s390x", "linux/s390x", true),
            ("linux/s390x/x", "linux/s390x", false),
            ("linux/amd64", "unknown/unknown", false),
            ("linux/amd64", "linux", false),
        ] {
            assert_eq!(wanted.parse::<Machine>().unwrap().takes(listed), takes, "{wanted} {listed}");
        }
    }

    #[test]
    fn what_is_no_machine_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux//v7"] {
            assert!(text.parse::<Machine>().is_err(), "{text}");
        }
        assert_eq!("linux/arm/v7".parse::<Machine>().unwrap().to_string(), "linux/arm/v7");
    }
}
