//! How much memory each relay may use.

use super::window::{BLOCK, Window};

/// All windows together. The mirror is to run in 256 MiB beside its memory tier, and these are a makeshift.
pub(in crate::mirror) const TOTAL: u64 = 64 << 20;

/// The largest window: what a link of 100 MB/s brings while nodes that were started together stumble over one another.
const MOST: u64 = 8 << 20;

/// Every relay has this whatever the others do: the bytes of a link of 10 MB/s in the time that a reader takes to wake.
const FLOOR: u64 = 64 << 10;

/// So many relays there may be. Who needs another waits.
pub(in crate::mirror) const PLACES: usize = 512;

/// What is beyond everybody's [`FLOOR`], to be divided.
const COMMON: u64 = TOTAL - PLACES as u64 * FLOOR;

/// Divides the memory among the windows. The newest is the last, and has nothing yet. What readers still need is not
/// taken from any window, so a new one may have less than its part until the others have moved on.
pub(super) fn share_out(windows: &mut [&mut Window]) {
    let count = windows.len().max(1) as u64;
    let part = MOST.min(FLOOR + COMMON / count) / BLOCK * BLOCK;
    let mut taken = 0;
    for window in windows.iter_mut() {
        let wanted = part.min(window.capacity().max(FLOOR));
        window.fit(wanted);
        taken += window.capacity() - FLOOR;
    }
    for window in windows.iter_mut().filter(|window| window.capacity() < part) {
        let more = (part - window.capacity()).min(COMMON.saturating_sub(taken)) / BLOCK * BLOCK;
        window.fit(window.capacity() + more);
        taken += more;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::window::Next;
    use super::*;

    fn total(windows: &[Window]) -> u64 {
        windows.iter().map(Window::capacity).sum()
    }

    fn share(windows: &mut [Window]) {
        share_out(&mut windows.iter_mut().collect::<Vec<_>>());
    }

    #[test]
    fn few_have_the_largest_window_and_many_have_equal_parts_of_what_there_is() {
        let rows = [(1, MOST), (4, MOST), (8, 4 << 20), (64, 512 << 10), (PLACES, 64 << 10)];
        for (relays, common) in rows {
            let mut windows: Vec<_> = (0..relays).map(|_| Window::new(0, 0)).collect();
            share(&mut windows);
            let each = MOST.min(FLOOR + common);
            assert!(windows.iter().all(|window| window.capacity() == each), "{relays}: {each}");
            assert!(total(&windows) <= TOTAL);
        }
    }

    #[test]
    fn who_comes_when_everything_is_in_use_has_the_least_and_more_when_the_others_have_moved_on() {
        let mut windows: Vec<_> = (0..4).map(|_| Window::new(0, 0)).collect();
        share(&mut windows);
        for window in &mut windows {
            window.join(0, u64::MAX);
            while let Next::Read(most) = window.next(Duration::ZERO) {
                window.arrive(most);
            }
            // A second reader has taken everything, so the window is full and all of it is needed by the first.
            window.join(window.reach(), u64::MAX);
            while let Next::Read(most) = window.next(Duration::ZERO) {
                window.arrive(most);
            }
            assert_eq!(window.kept(), MOST);
        }
        windows.extend((4..PLACES).map(|_| Window::new(0, 0)));
        share(&mut windows);
        assert!(total(&windows) <= TOTAL);
        assert_eq!((windows[0].capacity(), windows[PLACES - 1].capacity()), (MOST, FLOOR));
        for window in &mut windows[..4] {
            window.leave(0, u64::MAX);
        }
        share(&mut windows);
        assert!(windows[0].capacity() < MOST && windows[4].capacity() > FLOOR);
        assert!(total(&windows) <= TOTAL);
    }

    proptest! {
        #[test]
        fn g7_all_windows_together_stay_within_the_bound_whoever_comes_reads_and_leaves(
            steps in prop::collection::vec((0_u8..6, 0_usize..PLACES, 0_u64..8), 1..400)
        ) {
            let mut windows: Vec<Window> = Vec::new();
            for (kind, which, much) in steps {
                match kind {
                    0 | 1 => {
                        let more = 1 << much;
                        for _ in 0..more {
                            if windows.len() < PLACES {
                                let mut window = Window::new(0, 0);
                                window.join(0, u64::MAX);
                                windows.push(window);
                                share(&mut windows);
                            }
                        }
                    }
                    2 if !windows.is_empty() => {
                        windows.remove(which % windows.len());
                        share(&mut windows);
                    }
                    _ if !windows.is_empty() => {
                        let at = which % windows.len();
                        let window = &mut windows[at];
                        if let Next::Read(most) = window.next(Duration::from_secs(much)) {
                            window.arrive(most);
                        }
                        if kind == 5 {
                            let reach = window.reach();
                            window.join(reach, u64::MAX);
                        }
                    }
                    _ => {}
                }
                prop_assert!(total(&windows) <= TOTAL);
                for window in &windows {
                    prop_assert!(window.kept() <= window.capacity());
                    prop_assert!(window.capacity() >= FLOOR);
                }
            }
        }
    }
}
