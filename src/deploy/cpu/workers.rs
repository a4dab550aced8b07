//! Who works on a layer.

use super::lanes::Lanes;

/// Instructions and threads.
#[derive(Clone, Copy)]
pub(super) struct Workers {
    pub lanes: Lanes,
    /// Parts that large work is split into.
    pub threads: usize,
}

impl Workers {
    /// How many of `items` a thread takes, where all together cost `work` products or what takes as long: all of them, unless waking
    /// others pays.
    pub fn share(&self, items: usize, work: usize) -> usize {
        /// About 30 microseconds; waking a thread takes some of them.
        const LARGE: usize = 1 << 21;
        if self.threads < 2 || work < LARGE {
            return items.max(1);
        }
        // Twice as many parts as threads, where parts stay large enough: threads are not equally fast.
        let parts = if items >= 32 * self.threads { 2 * self.threads } else { self.threads };
        items.div_ceil(parts).max(1)
    }
}
