//! The machines that an image is for, and which of them are wanted.
//!
//! A platform is written `os/architecture/variant`, as in `linux/arm64/v8`. Some variants have two spellings, the plain
//! one among them: `linux/arm64` is `linux/arm64/v8`. A wanted platform that names no variant takes every one there is,
//! because nodes choose among them by themselves.

use std::fmt;
use std::str::FromStr;

use super::descriptor::Descriptor;
use super::json::Object;
use super::name::quoted;

/// What attestations in an index have in place of a platform.
const UNKNOWN: &str = "unknown";

/// The machines that an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`, `windows`; `unknown` for attestations.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v7`, `v8`.
    pub variant: Option<String>,
    /// The build of Windows.
    pub os_version: Option<String>,
}

/// A text that is no platform; quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformError(String);

/// Which of an index's manifests are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Platforms {
    /// All.
    #[default]
    All,
    /// Those for any of these machines, and those that are for no machine in particular.
    These(Vec<Platform>),
}

impl Platform {
    pub(super) fn read(object: &Object<'_>) -> Self {
        Self {
            os: object.get("os").unwrap_or_default(),
            architecture: object.get("architecture").unwrap_or_default(),
            variant: object.get("variant"),
            os_version: object.get("os.version"),
        }
    }

    /// The machines that an image is for by the word of its configuration; none where that is no image's, or names none.
    pub fn of_config(config: &[u8]) -> Option<Self> {
        let platform = Self::read(&Object::parse(config).ok()?);
        (!platform.os.is_empty() && !platform.architecture.is_empty()).then_some(platform)
    }

    /// Whether it says of no machine: what attestations have, and indexes of other things than images.
    pub fn is_unknown(&self) -> bool {
        let says_nothing = |text: &str| text.is_empty() || text == UNKNOWN;
        says_nothing(&self.os) && says_nothing(&self.architecture)
    }

    /// Whether an image for this platform is what somebody means by `wanted`.
    pub fn is_meant_by(&self, wanted: &Self) -> bool {
        let version = match (&wanted.os_version, &self.os_version) {
            (None, _) => true,
            // Nodes look at the first three numbers only; 10.0.17763 is any build of it.
            (Some(wanted), Some(own)) => {
                own.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            (Some(_), None) => false,
        };
        let variant = wanted.variant.is_none() || wanted.usual_variant() == self.usual_variant();
        self.os == wanted.os && self.architecture == wanted.architecture && variant && version
    }

    /// The variant, or the one that the architecture alone stands for.
    fn usual_variant(&self) -> Option<&str> {
        let usual = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        self.variant.as_deref().filter(|variant| !variant.is_empty()).or(usual)
    }
}

impl Platforms {
    /// Whether a manifest that an index lists is wanted. One that names no platform always is, because nobody can tell
    /// for whom it is: an attestation, or an artifact.
    pub fn want(&self, listed: &Descriptor) -> bool {
        listed.platform.as_ref().is_none_or(|platform| self.want_platform(platform))
    }

    /// Whether images for these machines are wanted.
    pub fn want_platform(&self, platform: &Platform) -> bool {
        match self {
            Self::All => true,
            Self::These(wanted) => {
                platform.is_unknown() || wanted.iter().any(|wanted| platform.is_meant_by(wanted))
            }
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError(quoted(text));
        let mut parts = text.split('/');
        let (Some(os), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        // As in windows(10.0.17763)/amd64.
        let (os, version) = match os.split_once('(') {
            Some((os, version)) => (os, Some(version.strip_suffix(')').ok_or_else(wrong)?)),
            None => (os, None),
        };
        let is_word = |word: &str| {
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            !word.is_empty() && word.len() <= 64 && word.bytes().all(legal)
        };
        if ![Some(os), Some(architecture), variant, version].into_iter().flatten().all(is_word) {
            return Err(wrong());
        }
        let (architecture, implied) = architecture_of(&architecture.to_ascii_lowercase());
        Ok(Self {
            os: os_of(&os.to_ascii_lowercase()),
            architecture,
            variant: variant.map(str::to_ascii_lowercase).or(implied),
            os_version: version.map(str::to_owned),
        })
    }
}

/// As kernels and people call an operating system, and as images do.
fn os_of(name: &str) -> String {
    if name == "macos" { "darwin".to_owned() } else { name.to_owned() }
}

/// As compilers and kernels call an architecture, and as images do, with a variant that its name implies.
fn architecture_of(name: &str) -> (String, Option<String>) {
    let (architecture, variant) = match name {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i486" | "i586" | "i686" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        other => (other, None),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match self.variant.as_deref().filter(|variant| !variant.is_empty()) {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no platform: it is written os/architecture or os/architecture/variant", self.0)
    }
}

impl std::error::Error for PlatformError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_platform_is_read_in_all_its_spellings() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), shown, "{text}");
            assert_eq!(platform(shown), platform(text), "{text}");
        }
        for text in
            ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "windows(10/amd64", "*/amd64"]
        {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_configuration_names_the_machines_of_its_image() {
        for (config, expected) in [
            (r#"{"os":"linux","architecture":"amd64","rootfs":{}}"#, Some("linux/amd64")),
            (r#"{"architecture":"arm","variant":"v7","os":"linux"}"#, Some("linux/arm/v7")),
            (r#"{"os":"","architecture":""}"#, None),
            (r#"{"os":"linux"}"#, None),
            (r#"{"os":7,"architecture":"amd64"}"#, None),
            ("{}", None),
            ("[]", None),
            ("", None),
        ] {
            let platform = Platform::of_config(config.as_bytes());
            assert_eq!(platform.map(|platform| platform.to_string()).as_deref(), expected, "{config}");
        }
    }

    #[test]
    fn a_wanted_platform_without_a_variant_takes_all_and_one_with_it_both_spellings() {
        for (wanted, meant, others) in [
            ("linux/amd64", vec!["linux/amd64", "linux/amd64/v3"], vec!["linux/arm64", "windows/amd64"]),
            ("linux/amd64/v1", vec!["linux/amd64"], vec!["linux/amd64/v3"]),
            ("linux/arm64", vec!["linux/arm64", "linux/arm64/v8", "linux/arm64/v9"], vec!["linux/arm/v8"]),
            ("linux/arm64/v8", vec!["linux/arm64", "linux/arm64/v8"], vec!["linux/arm64/v9"]),
            ("linux/arm", vec!["linux/arm", "linux/arm/v5", "linux/arm/v7"], vec!["linux/arm64"]),
            ("linux/arm/v7", vec!["linux/arm", "linux/arm/v7"], vec!["linux/arm/v6"]),
            ("windows/amd64", vec!["windows(10.0.17763.1)/amd64"], vec![]),
            (
                "windows(10.0.17763)/amd64",
                vec!["windows(10.0.17763)/amd64", "windows(10.0.17763.5)/amd64"],
                vec!["windows(10.0.177630)/amd64", "windows/amd64"],
            ),
        ] {
            let these = Platforms::These(vec![platform("plan9/mips"), platform(wanted)]);
            for own in meant {
                assert!(these.want_platform(&platform(own)), "{wanted} {own}");
            }
            for own in others {
                assert!(!these.want_platform(&platform(own)), "{wanted} {own}");
                assert!(Platforms::All.want_platform(&platform(own)));
            }
            assert!(these.want_platform(&platform("unknown/unknown")), "attestations are for all");
        }
    }
}
