//! An image in the parts that one mapping of YAML holds: `repository` and `tag` among the values of a chart, `registry`,
//! `image` and `digest`, `name` and `newTag` of a kustomization, or whole, as in `image: nginx:1.27`.

use super::variables::replaced;

/// The key of an image.
pub(super) const IMAGE: &str = "image";

/// The key of a list of images.
pub(super) const IMAGES: &str = "images";

/// The longest value that one mapping takes from another. No part of an image is longer, and a text that repeats a long
/// one by its name shall not cost more than its size.
const MOST_MERGED: usize = 256;

/// What one mapping says that may be of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// Where the image is: the line of its key, or of its repository.
    line: usize,
    image: Option<String>,
    reference: Option<String>,
    registry: Option<String>,
    repository: Option<String>,
    name: Option<String>,
    new_name: Option<String>,
    tag: Option<String>,
    new_tag: Option<String>,
    version: Option<String>,
    digest: Option<String>,
    value: Option<String>,
    /// Something is said that belongs to a repository of sources or of charts.
    is_of_sources: bool,
}

/// What a mapping comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// This image.
    Image(String),
    /// What should be one, and why it cannot be read.
    Puzzle(String, &'static str),
}

const NOT_WHICH: &str = "neither a tag nor a digest is with it: it may depend on the version of its chart";

impl Parts {
    /// What begins at this line.
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Takes a plain value.
    pub(super) fn take(&mut self, key: &str, value: &str, line: usize) {
        let part = match key {
            IMAGE => &mut self.image,
            "reference" => &mut self.reference,
            "registry" => &mut self.registry,
            "repository" => &mut self.repository,
            "name" => &mut self.name,
            "newName" => &mut self.new_name,
            "tag" => &mut self.tag,
            "newTag" => &mut self.new_tag,
            "version" => &mut self.version,
            "digest" | "sha" => &mut self.digest,
            "value" => &mut self.value,
            "branch" | "chart" | "commit" | "repoURL" | "revision" | "url" => {
                self.is_of_sources = true;
                return;
            }
            _ => return,
        };
        *part = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        if matches!(key, IMAGE | "repository") {
            self.line = line;
        }
    }

    /// Takes what another mapping says, where this one says nothing: `<<: *other`.
    pub(super) fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.image, &other.image),
            (&mut self.reference, &other.reference),
            (&mut self.registry, &other.registry),
            (&mut self.repository, &other.repository),
            (&mut self.tag, &other.tag),
            (&mut self.version, &other.version),
            (&mut self.digest, &other.digest),
        ];
        for (own, others) in pairs {
            if own.is_none() && others.as_ref().is_some_and(|others| others.len() <= MOST_MERGED) {
                own.clone_from(others);
            }
        }
        self.is_of_sources |= other.is_of_sources;
    }

    /// The image, if this is one. `key` is what the mapping is the value of, or the list that it is in.
    pub(super) fn named(&self, key: &str) -> Option<Named> {
        let is_image = key == IMAGE;
        if is_image && let Some(reference) = &self.reference {
            return Some(Named::Image(reference.clone()));
        }
        if key == IMAGES
            && let Some(named) = self.of_kustomization()
        {
            return Some(named);
        }
        if let Some(image) = &self.image {
            return Some(self.of_image(image, is_image));
        }
        let is_names = is_image && self.repository.is_none();
        let repository = self.repository.as_ref().or_else(|| self.name.as_ref().filter(|_| is_names));
        if let Some(repository) = repository.filter(|repository| is_image || self.is_of_images(repository)) {
            let whole = self.prefixed(repository);
            return match (self.which(), says_which(repository)) {
                (Some(which), _) => Some(Named::Image(whole + &which)),
                (None, true) => Some(Named::Image(whole)),
                (None, false) if is_image => Some(Named::Puzzle(whole, NOT_WHICH)),
                (None, false) => None,
            };
        }
        // A variable of the environment, by which operators are told of images that they will deploy.
        let is_of_image = self.name.as_ref().is_some_and(|name| name.to_ascii_lowercase().contains(IMAGE));
        self.value.as_deref().filter(|_| is_of_image).and_then(plainly).map(Named::Image)
    }

    /// The value of a key `image`, which may need what is beside it.
    fn of_image(&self, image: &str, is_in_image: bool) -> Named {
        if says_which(image) {
            return Named::Image(if is_in_image { self.prefixed(image) } else { image.to_owned() });
        }
        let of = self.repository.as_ref().filter(|repository| !is_url(repository));
        let whole = match of {
            Some(repository) => self.prefixed(&format!("{repository}/{image}")),
            None => self.prefixed(image),
        };
        let version = self.version.as_ref().filter(|_| of.is_some()).map(|version| suffix(version));
        match self.which().or(version) {
            Some(which) => Named::Image(whole + &which),
            None if is_in_image => Named::Puzzle(whole, NOT_WHICH),
            None => Named::Image(whole),
        }
    }

    /// `name` stands for whatever is deployed; what takes its place is an image only if it is said which.
    fn of_kustomization(&self) -> Option<Named> {
        let name = self.new_name.as_ref().or(self.name.as_ref())?;
        let tag = self.new_tag.as_ref().map(|tag| format!(":{tag}"));
        let which = self.digest.as_ref().map(|digest| suffix(digest)).or(tag);
        match which {
            Some(which) => Some(Named::Image(name.clone() + &which)),
            None => Some(Named::Image(name.clone())).filter(|_| says_which(name)),
        }
    }

    /// Whether a repository that is no part of a key `image` is one of images: its tag or digest is with it, and nothing
    /// that belongs to sources or charts.
    fn is_of_images(&self, repository: &str) -> bool {
        let is_of_sources = self.is_of_sources || is_url(repository) || repository.ends_with(".git");
        !is_of_sources && (self.tag.is_some() || self.digest.is_some())
    }

    fn prefixed(&self, repository: &str) -> String {
        match &self.registry {
            Some(registry) => format!("{}/{repository}", registry.trim_end_matches('/')),
            None => repository.to_owned(),
        }
    }

    /// What follows the repository.
    fn which(&self) -> Option<String> {
        let tag = self.tag.as_ref().map(|tag| suffix(tag));
        let digest = self.digest.as_ref().map(|digest| {
            if digest.contains(':') { format!("@{digest}") } else { format!("@sha256:{digest}") }
        });
        match (tag, digest) {
            (None, None) => None,
            (tag, digest) => Some(tag.unwrap_or_default() + &digest.unwrap_or_default()),
        }
    }
}

/// A tag, or a digest that stands where one would.
fn suffix(tag: &str) -> String {
    if tag.starts_with("sha256:") { format!("@{tag}") } else { format!(":{tag}") }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Whether a name has a tag or a digest of its own.
pub(super) fn says_which(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    !is_url(name) && (last.contains(':') || last.contains('@'))
}

/// The image that a text names which stands where something else may stand as well: it names an image if it could be one,
/// and says which.
pub(super) fn plainly(text: &str) -> Option<String> {
    let text = replaced(text.trim()).ok()?;
    (says_which(&text) && text.parse::<crate::oci::ImageRef>().is_ok()).then_some(text)
}

/// The image in an argument of a program, as in `--solver-image=quay.io/org/solver:v1`: the flag says so, or the name has a
/// registry in front of it.
pub(super) fn in_argument(argument: &str) -> Option<String> {
    let (flag, value) = argument.split_once('=')?;
    let registry = value.split_once('/').map(|(registry, _)| registry).unwrap_or_default();
    let is_plain = flag.to_ascii_lowercase().contains(IMAGE) || registry.contains('.');
    plainly(value).filter(|_| flag.starts_with('-') && is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_together_as_those_who_wrote_them_mean_it() {
        let image = |name: &str| Some(Named::Image(name.to_owned()));
        let puzzle = |name: &str| Some(Named::Puzzle(name.to_owned(), NOT_WHICH));
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("a/b@{digest}");
        // Under which key; what is there; what it comes to.
        for (key, parts, expected) in [
            ("image", "repository=a/b tag=1", image("a/b:1")),
            ("image", "registry=r.io repository=a/b tag=1", image("r.io/a/b:1")),
            ("image", "registry=r.io image=a/b tag=1", image("r.io/a/b:1")),
            ("image", &format!("repository=a/b digest={digest}"), image(&pinned)),
            ("image", &format!("repository=a/b sha={}", "a".repeat(64)), image(&pinned)),
            ("image", &format!("repository=a/b tag={digest}"), image(&pinned)),
            ("image", "repository=a/b", puzzle("a/b")),
            ("image", "repository=a/b:1", image("a/b:1")),
            ("image", "name=ruby:3", image("ruby:3")),
            ("image", "name=a/b tag=3", image("a/b:3")),
            ("image", "reference=a/b:3 name=x", image("a/b:3")),
            ("image", "type=string", None),
            ("image", "", None),
            ("containers", "name=app image=nginx:1", image("nginx:1")),
            ("containers", "name=app image=nginx", image("nginx")),
            ("spec", "image=nginx:1 version=2 tag=3", image("nginx:1")),
            ("spec", "image=a/b tag=3", image("a/b:3")),
            ("spec", "image=a/b version=3", image("a/b")),
            (
                "driver",
                "repository=nvcr.io/nvidia image=driver version=550",
                image("nvcr.io/nvidia/driver:550"),
            ),
            ("controller", "repository=quay.io/a/b tag=1 pullPolicy=Always", image("quay.io/a/b:1")),
            ("controller", "repository=quay.io/a/b", None),
            ("dependencies", "name=x version=1 repository=https://charts.example", None),
            ("dependencies", "name=x tag=1 repository=oci://charts.example/x", None),
            ("source", "repository=org/code tag=v1 url=https://git.example", None),
            ("source", "repository=org/code.git tag=v1", None),
            ("images", "name=nginx newTag=1.27", image("nginx:1.27")),
            ("images", "name=app newName=quay.io/a/b newTag=2", image("quay.io/a/b:2")),
            ("images", &format!("name=a/b digest={digest}"), image(&pinned)),
            ("images", "name=app newName=quay.io/a/b", None),
            ("images", "image=quay.io/a/b:1 name=b", image("quay.io/a/b:1")),
            ("env", "name=RELATED_IMAGE_X value=quay.io/a/b:1", image("quay.io/a/b:1")),
            ("env", "name=IMAGE_PULL_POLICY value=Always", None),
            ("env", "name=ADDRESS value=host.example:80", None),
            ("env", "name=IMAGE_CACHE value=:8080", None),
        ] {
            let mut of = Parts::at(1);
            for part in parts.split(' ').filter(|part| !part.is_empty()) {
                let (key, value) = part.split_once('=').unwrap();
                of.take(key, value, 1);
            }
            assert_eq!(of.named(key), expected, "{key}: {parts}");
        }
    }

    #[test]
    fn an_argument_names_an_image_where_that_is_plain() {
        for (argument, expected) in [
            ("--acme-http01-solver-image=quay.io/jetstack/solver:v1", Some("quay.io/jetstack/solver:v1")),
            (
                "--config-reloader=quay.io/prometheus/reloader:v0.72",
                Some("quay.io/prometheus/reloader:v0.72"),
            ),
            ("--image=busybox:1", Some("busybox:1")),
            ("--listen=host.example:8080", None),
            ("--upstream=http://host.example/a:1", None),
            ("--path=a/b:c", None),
            ("--pull=quay.io/a/b", None),
            ("quay.io/a/b:1", None),
        ] {
            assert_eq!(in_argument(argument).as_deref(), expected, "{argument}");
        }
    }
}
