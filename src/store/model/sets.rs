//! A small set of numbers for each digest, in order: most are empty or have one element, and take four bytes.

use super::digests::Id;
use std::slice;

/// No element.
const NONE: u32 = u32::MAX;
/// Not an element, but the place of a list of them.
const LIST: u32 = 1 << 31;

/// Sets by digest. Elements are numbers below 2^31.
#[derive(Debug, Default)]
pub(super) struct Sets {
    heads: Vec<u32>,
    lists: Vec<Vec<u32>>,
    /// The places of lists that nobody has.
    free: Vec<u32>,
}

impl Sets {
    pub(super) fn get(&self, of: Id) -> &[u32] {
        match self.heads.get(of.place()) {
            None | Some(&NONE) => &[],
            Some(head) if head & LIST > 0 => &self.lists[place(*head)],
            Some(one) => slice::from_ref(one),
        }
    }

    pub(super) fn contains(&self, of: Id, element: u32) -> bool {
        self.get(of).binary_search(&element).is_ok()
    }

    pub(super) fn is_empty(&self, of: Id) -> bool {
        self.get(of).is_empty()
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, of: Id, element: u32) -> bool {
        if self.heads.len() <= of.place() {
            self.heads.resize(of.place() + 1, NONE);
        }
        let head = self.heads[of.place()];
        if head == NONE {
            self.heads[of.place()] = element;
            return true;
        }
        if head & LIST > 0 {
            let list = &mut self.lists[place(head)];
            let at = list.binary_search(&element);
            if let Err(at) = at {
                list.insert(at, element);
            }
            return at.is_err();
        }
        if head == element {
            return false;
        }
        let list = vec![head.min(element), head.max(element)];
        let place = match self.free.pop() {
            Some(free) => {
                self.lists[place(free)] = list;
                free
            }
            None => {
                self.lists.push(list);
                u32::try_from(self.lists.len() - 1).unwrap_or(NONE)
            }
        };
        self.heads[of.place()] = LIST | place;
        true
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, of: Id, element: u32) -> bool {
        let Some(head) = self.heads.get_mut(of.place()) else { return false };
        if *head == NONE || *head & LIST == 0 {
            let was = *head == element && *head != NONE;
            if was {
                *head = NONE;
            }
            return was;
        }
        let list = &mut self.lists[place(*head)];
        let Ok(at) = list.binary_search(&element) else { return false };
        list.remove(at);
        if let [one] = **list {
            *list = Vec::new();
            self.free.push(*head & !LIST);
            *head = one;
        }
        true
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self, of: Id) -> Vec<u32> {
        let Some(head) = self.heads.get_mut(of.place()) else { return Vec::new() };
        let former = std::mem::replace(head, NONE);
        if former == NONE {
            return Vec::new();
        }
        if former & LIST == 0 {
            return vec![former];
        }
        self.free.push(former & !LIST);
        std::mem::take(&mut self.lists[place(former)])
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.heads.reserve(more);
    }
}

/// The place of a list.
fn place(head: u32) -> usize {
    (head & !LIST) as usize
}
