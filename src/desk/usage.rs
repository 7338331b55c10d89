//! `du`: who takes how much of the disk.

use std::collections::{BTreeMap, HashMap};

use super::Office;
use super::images::is_on_disk;
use super::select::Selection;
use crate::api::{Problem, RepositoryUsage, Usage};
use crate::oci::{Digest, Repository};
use crate::store::{Kind, Wanted};

/// What the images of one repository need and is here.
#[derive(Default)]
struct Share {
    images: u64,
    objects: HashMap<(Kind, Digest), u64>,
}

impl Office {
    pub(super) fn measure(&self, of: Option<&str>) -> Result<Usage, Problem> {
        let selection = self.selection(of)?;
        let mut shares: BTreeMap<(String, Repository), Share> = BTreeMap::new();
        for found in self.find(&Selection::All) {
            let closure = self.closure(&found, &found.digest, &Wanted::ALL);
            let share = shares.entry((found.upstream.clone(), found.repository.clone())).or_default();
            let here = closure.objects.into_iter().filter(is_on_disk);
            let before = share.objects.len();
            share.objects.extend(here.map(|needed| ((needed.kind, needed.digest), needed.size)));
            // A tag of whose image nothing is here takes nothing.
            let is_here = share.objects.len() > before || self.store.has_manifest(&found.digest);
            share.images += u64::from(is_here);
        }
        let mut users: HashMap<&(Kind, Digest), (u64, u64)> = HashMap::new();
        for (object, size) in shares.values().flat_map(|share| &share.objects) {
            users.entry(object).or_insert((*size, 0)).1 += 1;
        }
        let is_alone = |object: &(Kind, Digest)| users.get(object).is_some_and(|(_, users)| *users == 1);
        let meant = shares.iter().filter(|((upstream, repository), share)| {
            !share.objects.is_empty() && selection.may_be_in(upstream, repository)
        });
        let usage = |((upstream, repository), share): (&(String, Repository), &Share)| RepositoryUsage {
            upstream: upstream.clone(),
            repository: repository.to_string(),
            images: share.images,
            size: share.objects.values().sum(),
            alone: share.objects.iter().filter(|(object, _)| is_alone(object)).map(|(_, size)| size).sum(),
        };
        let mut repositories: Vec<_> = meant.map(usage).collect();
        repositories.sort_by_key(|usage| std::cmp::Reverse(usage.size));
        let stats = self.store.stats();
        Ok(Usage {
            used_bytes: stats.used_bytes,
            max_bytes: stats.max_bytes,
            images_bytes: users.values().map(|(size, _)| size).sum(),
            repositories,
        })
    }
}
