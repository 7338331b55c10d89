//! `roadstead verify`: the proof that images could be pulled from here, were upstream gone.

use clap::Args;
use roadstead::api::{Desk, Gap, GapKind, GapReason, Problem, Verified, VerifiedImage, Verify, Warm};

use super::proof_bar::ProofBar;
use super::warm::{bring, seconds};
use super::{Reach, at_desk, show};
use crate::Failure;

#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// Images, patterns, upstreams or digests; without any, everything that is here
    #[arg(value_name = "REF", conflicts_with = "all")]
    images: Vec<String>,
    /// Everything that is here
    #[arg(long)]
    all: bool,
    /// Only what is pinned
    #[arg(long)]
    pinned: bool,
    /// Only what was pulled, or came, within this time, as in 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pulled_within: Option<u32>,
    /// Only these machines, as in linux/amd64,linux/arm64; without it, all that an index lists
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<String>,
    /// Leave out signatures, attestations, SBOMs and what else is attached
    #[arg(long)]
    no_referrers: bool,
    /// Hash every byte again
    #[arg(long)]
    deep: bool,
    /// Fetch what is missing, and look again
    #[arg(long)]
    fix: bool,
    /// Print one JSON object to standard output, in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

const EXAMPLES: &str = "\
Examples:
  roadstead verify --all                               everything that is here
  roadstead verify nginx:1.27 'ghcr.io/org/**' --platform linux/amd64
  roadstead verify --pulled-within 30d --fix           what is in use; what is missing is fetched
  roadstead verify --all --deep --json | jq '.images[] | select(.whole | not)'

It asks no upstream, but with --fix. It exits 0 only when all of it could be pulled from here, with what is attached to it,
while every upstream is away; else it names each gap and exits 1.";

pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let verified = at_desk(&args.reach, |desk| {
        let verified = all(desk, args)?;
        if args.fix && !verified.whole {
            fix(desk, args, &verified)?;
            return all(desk, args);
        }
        Ok(verified)
    })?;
    if args.json {
        show::print_json(&verified)?;
    } else {
        show::print(&told(&verified))?;
    }
    if verified.whole { Ok(()) } else { Err(Failure::Failed(String::new())) }
}

/// Everything that is named, one after the other: each may take long where every byte is read.
fn all(desk: &dyn Desk, args: &VerifyArgs) -> Result<Verified, Problem> {
    let of: Vec<Option<String>> = match args.images.as_slice() {
        [] => vec![None],
        images => images.iter().cloned().map(Some).collect(),
    };
    let mut images: Vec<VerifiedImage> = Vec::new();
    let mut bar = ProofBar::as_fits(args.json);
    for of in of {
        let asked = Verify {
            of,
            pinned: args.pinned,
            pulled_within: args.pulled_within.map(u64::from),
            platforms: args.platform.clone(),
            without_referrers: args.no_referrers,
            deep: args.deep,
        };
        for image in desk.verify(&asked, &mut |progress| bar.draw(progress))?.images {
            if !images.iter().any(|other| other.reference == image.reference) {
                images.push(image);
            }
        }
    }
    bar.end();
    Ok(Verified { whole: images.iter().all(|image| image.whole), images })
}

fn fix(desk: &dyn Desk, args: &VerifyArgs, verified: &Verified) -> Result<(), Problem> {
    let images: Vec<String> = verified.images.iter().flat_map(to_ask_for).collect();
    if images.is_empty() {
        return Ok(());
    }
    let asked = Warm {
        images,
        newest: None,
        platforms: args.platform.clone(),
        without_referrers: args.no_referrers,
        at_once: None,
        patience: None,
    };
    bring(desk, &asked, args.json).map(drop)
}

/// What is asked for to mend an image: what was looked at, whatever its tag stands for upstream by now; and, where it is the
/// tag that nobody has confirmed, the tag. What no upstream can help is not asked for.
fn to_ask_for(image: &VerifiedImage) -> Vec<String> {
    let is_lacking = |reasons: &[GapReason]| image.gaps.iter().any(|gap| reasons.contains(&gap.why));
    let is_of_no_use =
        |gap: &Gap| matches!(gap.why, GapReason::NoUpstream | GapReason::NotWhole | GapReason::Denied);
    if image.whole || is_lacking(&[GapReason::NoUpstream]) {
        return Vec::new();
    }
    let by_digest = match &image.digest {
        Some(digest) if !image.reference.contains('@') => format!("{}@{digest}", image.reference),
        _ => image.reference.clone(),
    };
    let is_unconfirmed = is_lacking(&[GapReason::TooOld, GapReason::Deleted]);
    let is_by_digest =
        !image.gaps.iter().all(|gap| is_of_no_use(gap) || gap.kind == GapKind::Tag) || image.gaps.is_empty();
    let mut asked = Vec::new();
    asked.extend(is_unconfirmed.then(|| image.reference.clone()));
    asked.extend(is_by_digest.then_some(by_digest));
    asked.dedup();
    asked
}

fn told(verified: &Verified) -> String {
    let mut text = String::new();
    for image in &verified.images {
        if image.whole {
            text.push_str(&format!(
                "complete    {}  {}, {}\n",
                image.reference,
                show::count(image.objects, "object"),
                show::bytes(image.bytes)
            ));
            continue;
        }
        text.push_str(&format!("incomplete  {}\n", image.reference));
        if image.digest.is_none() {
            text.push_str("    nothing of it is known here\n");
        }
        for gap in &image.gaps {
            text.push_str(&format!("    {}\n", of_gap(gap)));
        }
        for platform in &image.unoffered {
            text.push_str(&format!("    no image for {platform}\n"));
        }
    }
    let incomplete = verified.images.iter().filter(|image| !image.whole).count();
    text.push_str(&format!(
        "{}: {} complete, {incomplete} incomplete\n",
        show::count(verified.images.len() as u64, "image"),
        verified.images.len() - incomplete
    ));
    text
}

fn of_gap(gap: &Gap) -> String {
    let kind = match gap.kind {
        GapKind::Manifest => "manifest",
        GapKind::Config => "config",
        GapKind::Layer => "layer",
        GapKind::Referrer => "referrer",
        GapKind::Tag => "tag",
        GapKind::List => "list of what is attached to",
    };
    let why = match gap.why {
        GapReason::Absent => "is not here",
        GapReason::Unfinished => "is here in part",
        GapReason::NoMember => "is here, but not known to be of this repository",
        GapReason::TooOld => "is here, but was confirmed too long ago (max_stale)",
        GapReason::Deleted => "is here, but upstream has deleted it, and it is kept no longer",
        GapReason::NoUpstream => "is here, but its upstream is configured no more",
        GapReason::NotWhole => "is here, but is kept back as not whole (complete_only)",
        GapReason::Denied => "is here, but the rules of access give it to nobody",
    };
    let size = gap.size.map(|size| format!(", {}", show::bytes(size))).unwrap_or_default();
    let platform = gap.platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
    let tag = gap.tag.as_ref().map(|tag| format!("{tag}, ")).unwrap_or_default();
    format!("{kind} {tag}{}{platform}{size} {why}", gap.digest)
}
