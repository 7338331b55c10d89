//! What is known of some of the digests, in the order of last use.

use super::digests::Id;
use std::mem::replace;

/// Nowhere.
const NONE: u32 = u32::MAX;

/// Values by the numbers of digests, as a list from the most to the least recently used.
#[derive(Debug)]
pub(super) struct Recent<T> {
    /// The place of each number's value.
    places: Vec<u32>,
    /// The values, without gaps.
    slots: Vec<Slot<T>>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Slot<T> {
    id: Id,
    newer: u32,
    older: u32,
    value: T,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { places: Vec::new(), slots: Vec::new(), newest: NONE, oldest: NONE }
    }
}

impl<T> Recent<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contains(&self, id: Id) -> bool {
        self.place(id).is_some()
    }

    /// A value; this is no use of it.
    pub(super) fn get(&self, id: Id) -> Option<&T> {
        Some(&self.slots[self.place(id)? as usize].value)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.place(id)?;
        Some(&mut self.slots[place as usize].value)
    }

    /// A value, which is used now.
    pub(super) fn use_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.place(id)?;
        if self.newest != place {
            self.unlink(place);
            self.link_newest(place);
        }
        Some(&mut self.slots[place as usize].value)
    }

    /// Enters a value, which is used now; the former one.
    pub(super) fn insert(&mut self, id: Id, value: T) -> Option<T> {
        if let Some(known) = self.use_mut(id) {
            return Some(replace(known, value));
        }
        if self.places.len() <= id.place() {
            self.places.resize(id.place() + 1, NONE);
        }
        // There are not more of them than numbers.
        let place = u32::try_from(self.slots.len()).unwrap_or(NONE);
        self.places[id.place()] = place;
        self.slots.push(Slot { id, newer: NONE, older: NONE, value });
        self.link_newest(place);
        None
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.place(id)?;
        self.unlink(place);
        self.places[id.place()] = NONE;
        let slot = self.slots.swap_remove(place as usize);
        // The last one is there now.
        if let Some(moved) = self.slots.get(place as usize) {
            let Slot { id, newer, older, .. } = *moved;
            self.places[id.place()] = place;
            *self.older_of(newer) = place;
            *self.newer_of(older) = place;
        }
        Some(slot.value)
    }

    /// All, the most recently used first.
    pub(super) fn iter(&self) -> Iter<'_, T> {
        Iter { slots: &self.slots, front: self.newest, back: self.oldest, left: self.slots.len() }
    }

    /// Puts them in the order of a time; of equal ones in that in which they came.
    pub(super) fn order_by(&mut self, time: impl Fn(&T) -> u64) {
        let times = self.slots.iter().map(|slot| time(&slot.value)).zip(0_u32..);
        let mut order: Vec<(u64, u32)> = times.collect();
        order.sort_unstable();
        (self.newest, self.oldest) = (NONE, NONE);
        for (_, place) in order {
            self.link_newest(place);
        }
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.slots.reserve(more);
    }

    fn place(&self, id: Id) -> Option<u32> {
        self.places.get(id.place()).copied().filter(|place| *place != NONE)
    }

    fn link_newest(&mut self, place: u32) {
        let former = replace(&mut self.newest, place);
        let slot = &mut self.slots[place as usize];
        (slot.newer, slot.older) = (NONE, former);
        *self.newer_of(former) = place;
    }

    fn unlink(&mut self, place: u32) {
        let Slot { newer, older, .. } = self.slots[place as usize];
        *self.older_of(newer) = older;
        *self.newer_of(older) = newer;
    }

    /// Where it is written who is older than a slot; before the first one, that is the newest.
    fn older_of(&mut self, place: u32) -> &mut u32 {
        if place == NONE { &mut self.newest } else { &mut self.slots[place as usize].older }
    }

    /// The opposite.
    fn newer_of(&mut self, place: u32) -> &mut u32 {
        if place == NONE { &mut self.oldest } else { &mut self.slots[place as usize].newer }
    }
}

/// A walk over [`Recent`].
#[derive(Debug)]
pub(super) struct Iter<'a, T> {
    slots: &'a [Slot<T>],
    front: u32,
    back: u32,
    left: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Id, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let slot = &self.slots[self.front as usize];
        self.front = slot.older;
        Some((slot.id, &slot.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let slot = &self.slots[self.back as usize];
        self.back = slot.newer;
        Some((slot.id, &slot.value))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
