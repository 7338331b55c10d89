//! What may be expected of an upstream before it is asked: plain values, for whoever decides whether to ask.

use std::time::Duration;

use crate::oci::Repository;

use super::Upstream;
use super::limit::Prospect;

/// What may be expected of an upstream that is asked about a repository now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// It has told us to ask less: for how long no endpoint is asked, not even after a manifest. A limit on pulls alone is
    /// none of these.
    pub limited: Option<Duration>,
    /// Fewer pulls are left than are kept for what is not here at all, by what it told in the last minutes.
    pub scarce: bool,
    /// It counts pulls, and tells how many are left: a question that costs none comes before one that does.
    pub counted: bool,
    /// None of its endpoints has answered lately.
    pub down: bool,
}

impl Upstream {
    /// What may be expected if this repository is asked about now. Asks nobody about it; an endpoint that has been
    /// away for a while may be probed.
    #[must_use]
    pub fn outlook(&self, repository: &Repository) -> Outlook {
        let Prospect { limited, scarce, counted } = self.prospect(repository);
        Outlook { limited, scarce, counted, down: self.is_down() }
    }
}
