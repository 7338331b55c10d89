//! The walk, over a shelf of the tests.

use super::*;
use crate::oci::Algorithm;
use std::collections::HashSet;

/// A shelf on which everything is named by a letter.
#[derive(Default)]
struct Letters {
    manifests: HashMap<Digest, Graph>,
    blobs: HashSet<Digest>,
    unfinished: HashSet<Digest>,
    /// Who belongs to the repository; the others are here, and only given out when something names them.
    members: HashSet<Digest>,
    /// What came with credentials.
    private: HashSet<Digest>,
    tags: HashMap<Tag, Digest>,
}

fn digest(letter: char) -> Digest {
    Digest::of(Algorithm::Sha256, letter.to_string().as_bytes())
}

fn letter(digest: &Digest) -> char {
    ('!'..='~').find(|&letter| self::digest(letter) == *digest).unwrap()
}

/// Size 10, so that sums are easy.
fn link(letter: char) -> Link {
    Link { digest: digest(letter), size: 10, platform: None, role: Role::Part }
}

impl Letters {
    /// An index of these, with their platforms; all of them members.
    fn index(mut self, name: char, children: &[(char, &str)]) -> Self {
        let child = |&(letter, platform): &(char, &str)| {
            let platform = (!platform.is_empty()).then(|| platform.to_owned());
            Link { platform, ..link(letter) }
        };
        let graph = Graph { children: children.iter().map(child).collect(), ..Graph::default() };
        self.manifests.insert(digest(name), graph);
        self.members.insert(digest(name));
        self
    }

    /// An image of a configuration and layers; the blobs that are written in capitals are here.
    fn image(self, name: char, blobs: &str) -> Self {
        self.about(name, blobs, None)
    }

    /// One that is about another.
    fn about(mut self, name: char, blobs: &str, subject: Option<char>) -> Self {
        let roles = std::iter::once(Role::Config).chain(std::iter::repeat(Role::Part));
        let links = blobs.chars().zip(roles).map(|(letter, role)| Link { role, ..link(letter) });
        let graph = Graph { blobs: links.collect(), subject: subject.map(digest), ..Graph::default() };
        self.manifests.insert(digest(name), graph);
        self.members.insert(digest(name));
        self.blobs.extend(blobs.chars().filter(char::is_ascii_uppercase).map(digest));
        self
    }

    fn tag(mut self, tag: &str, letter: char) -> Self {
        self.tags.insert(tag.parse().unwrap(), digest(letter));
        self
    }

    fn no_member(mut self, letter: char) -> Self {
        self.members.remove(&digest(letter));
        self
    }

    fn walk(&self, root: char, wanted: &Wanted) -> Closure {
        closure(self, &digest(root), wanted)
    }
}

impl Shelf for Letters {
    fn manifest(&self, digest: &Digest) -> Option<Graph> {
        self.manifests.get(digest).cloned()
    }

    fn standing(&self, kind: Kind, digest: &Digest, by_name: bool) -> (Standing, Option<u64>) {
        let here = match kind {
            Kind::Manifest => self.manifests.contains_key(digest),
            Kind::Blob => self.blobs.contains(digest),
        };
        let given = self.members.contains(digest) || (by_name && !self.private.contains(digest));
        match (here, given) {
            (true, true) => (Standing::Here, Some(10)),
            (true, false) => (Standing::NoMember, Some(10)),
            (false, _) if self.unfinished.contains(digest) => (Standing::Unfinished, Some(10)),
            (false, _) => (Standing::Absent, None),
        }
    }

    fn referrers(&self, subject: &Digest) -> Vec<Digest> {
        let about = self.manifests.iter().filter(|(_, graph)| graph.subject.as_ref() == Some(subject));
        let mut about: Vec<_> = about.map(|(digest, _)| digest.clone()).collect();
        about.sort();
        about
    }

    fn bound(&self, tag: &Tag) -> Option<Digest> {
        self.tags.get(tag).cloned()
    }
}

fn platforms(names: &[&str]) -> Vec<Platform> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn these(names: &[&str]) -> Wanted {
    Wanted { platforms: Platforms::These(platforms(names)), ..Wanted::ALL }
}

/// The objects in their order, and of them the gaps.
fn told(closure: &Closure) -> (String, String) {
    let letters = |needed: &Needed| letter(&needed.digest);
    (closure.objects.iter().map(letters).collect(), closure.gaps().map(letters).collect())
}

fn expect(closure: &Closure, objects: &str, gaps: &str) {
    assert_eq!(told(closure), (objects.to_owned(), gaps.to_owned()));
    assert_eq!(closure.is_whole(), gaps.is_empty() && !closure.cut);
}

/// Two images with a layer in common, and an attestation of the first; `c` is not here.
fn two() -> Letters {
    Letters::default()
        .index('i', &[('a', "linux/amd64"), ('b', "linux/arm/v7"), ('t', "unknown/unknown")])
        .image('a', "AL")
        .image('b', "cL")
        .image('t', "T")
}

#[test]
fn an_image_needs_its_index_its_configuration_and_its_layers_each_once() {
    let closure = two().walk('i', &Wanted::ALL);
    expect(&closure, "iabtALcT", "c");
    assert_eq!((closure.bytes(), closure.missing_bytes()), (80, 10));
    let whys: Vec<_> = closure.objects.iter().map(|needed| needed.why.clone()).collect();
    let (listed, config) = (Why::Listed, Why::Config);
    assert_eq!(
        whys,
        [
            Why::Root,
            listed.clone(),
            listed.clone(),
            listed,
            config.clone(),
            Why::Layer,
            config.clone(),
            config
        ]
    );
    let layer = &closure.objects[5];
    assert_eq!((layer.parent.clone(), layer.platform.as_deref()), (Some(digest('a')), Some("linux/amd64")));
}

#[test]
fn only_the_platforms_that_are_wanted_count_and_attestations_go_with_what_is_attached() {
    let bare = |names: &[&str]| Wanted { referrers: false, ..these(names) };
    for (wanted, objects, gaps) in [
        (these(&["linux/amd64"]), "iatALT", ""),
        (bare(&["linux/amd64"]), "iaAL", ""),
        (bare(&["linux/arm"]), "ibcL", "c"),
        (bare(&["linux/amd64", "linux/arm/v7"]), "iabALc", "c"),
        (Wanted { referrers: false, ..Wanted::ALL }, "iabALc", "c"),
    ] {
        expect(&two().walk('i', &wanted), objects, gaps);
    }
}

#[test]
fn a_platform_that_no_index_offers_an_image_for_is_told_and_is_no_gap() {
    let wanted = Wanted { referrers: false, ..these(&["linux/s390x", "linux/amd64"]) };
    let closure = two().walk('i', &wanted);
    expect(&closure, "iaAL", "");
    assert_eq!(closure.unoffered, platforms(&["linux/s390x"]));
    // What lists none is for all.
    let closure = Letters::default().index('i', &[('a', "")]).image('a', "A").walk('i', &wanted);
    expect(&closure, "iaA", "");
    assert!(closure.unoffered.is_empty());
    assert!(two().walk('a', &wanted).unoffered.is_empty());
}

#[test]
fn indexes_of_indexes_are_followed_and_hand_the_platform_down() {
    let shelf = Letters::default()
        .index('o', &[('i', "linux/amd64"), ('x', "linux/arm64")])
        .index('i', &[('a', "")])
        .image('a', "A");
    let closure = shelf.walk('o', &Wanted { referrers: false, ..these(&["linux/amd64"]) });
    expect(&closure, "oiaA", "");
    assert!(closure.objects[1..].iter().all(|needed| needed.platform.as_deref() == Some("linux/amd64")));
    expect(&shelf.walk('o', &Wanted::ALL), "oixaA", "x");
}

#[test]
fn what_is_attached_is_found_by_its_subject_by_the_fallback_tag_and_by_the_tags_of_cosign() {
    let text = format!("sha256-{}", digest('a').hex());
    let shelf = Letters::default()
        .image('a', "A")
        .about('s', "S", Some('a'))
        .about('u', "U", Some('s'))
        .index('f', &[('g', "")])
        .image('g', "g")
        .image('c', "C")
        .tag(&text, 'f')
        .tag(&format!("{text}.sig"), 'c')
        .tag(&format!("{text}.att"), 'n')
        .tag("latest", 'a');
    let closure = shelf.walk('a', &Wanted::ALL);
    expect(&closure, "aAsfcnSugCUg", "ng");
    let why = |at: usize| closure.objects[at].why.clone();
    assert_eq!(why(2), Why::Referrer);
    assert_eq!(why(3), Why::Attached(text.parse().unwrap()));
    expect(&shelf.walk('a', &Wanted { referrers: false, ..Wanted::ALL }), "aA", "");
}

#[test]
fn g9_what_is_here_and_not_given_to_this_repository_is_a_gap_of_its_own_kind() {
    let mut shelf = two().no_member('a').no_member('b');
    shelf.private.extend([digest('A'), digest('b')]);
    shelf.unfinished.insert(digest('c'));
    let closure = shelf.walk('i', &Wanted { referrers: false, ..Wanted::ALL });
    let kinds: Vec<_> = closure.gaps().map(|needed| (letter(&needed.digest), needed.standing)).collect();
    assert_eq!(kinds, [('b', Standing::NoMember), ('A', Standing::NoMember), ('c', Standing::Unfinished)]);
    // The root is named by nothing.
    let closure = two().no_member('a').walk('a', &Wanted::ALL);
    assert_eq!(closure.objects[0].standing, Standing::NoMember);
}

#[test]
fn a_layer_that_its_registry_need_not_have_is_no_gap_unless_it_is_wanted() {
    let mut shelf = Letters::default().image('a', "Al");
    let graph = shelf.manifests.get_mut(&digest('a')).unwrap();
    graph.blobs[1].role = Role::Foreign;
    expect(&shelf.walk('a', &Wanted::ALL), "aA", "");
    expect(&shelf.walk('a', &Wanted { foreign: true, ..Wanted::ALL }), "aAl", "l");
    shelf.blobs.insert(digest('l'));
    shelf.members.insert(digest('l'));
    expect(&shelf.walk('a', &Wanted::ALL), "aAl", "");
}

#[test]
fn circles_end_and_what_goes_too_deep_is_not_said_to_be_whole() {
    let tag = format!("sha256-{}", digest('a').hex());
    let shelf =
        Letters::default().index('a', &[('b', ""), ('a', "")]).index('b', &[('a', "")]).tag(&tag, 'a');
    expect(&shelf.walk('a', &Wanted::ALL), "ab", "");

    let deep: String = ('A'..='Z').collect();
    let pairs = deep.chars().zip(deep.chars().skip(1));
    let shelf = pairs.fold(Letters::default(), |shelf, (one, next)| shelf.index(one, &[(next, "")]));
    let closure = shelf.image('Z', "").walk('A', &Wanted::ALL);
    assert!(closure.cut && !closure.is_whole());
    assert_eq!(closure.objects.len(), usize::from(MOST_DEEP) + 1);
}

#[test]
fn nothing_here_is_one_gap() {
    expect(&Letters::default().walk('x', &Wanted::ALL), "x", "x");
}

#[test]
fn t90_the_tags_of_what_is_attached_fit_into_tags() {
    let short = attached_tags(&Digest::of(Algorithm::Sha256, b"x"));
    assert_eq!(short.len(), 4);
    assert!(short.iter().all(Tag::is_attached));
    let long = attached_tags(&Digest::of(Algorithm::Sha512, b"x"));
    assert_eq!(long.len(), 1);
}
