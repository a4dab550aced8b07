//! Values and shapes from a seed: the same on every machine, so that a failure can be repeated.

use crate::random::Philox;

/// A stream of test values.
#[derive(Clone, Debug)]
pub struct Draw {
    random: Philox,
}

impl Draw {
    /// Stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Draw { random: Philox::new(seed, stream) }
    }

    /// A whole number from `first` to `last`, both included.
    ///
    /// # Panics
    /// If `last` is smaller than `first`.
    pub fn between(&mut self, first: usize, last: usize) -> usize {
        assert!(first <= last, "no number lies between {first} and {last}");
        first + self.random.below((last - first + 1) as u32) as usize
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        assert!(!choices.is_empty(), "there is nothing to choose from");
        choices[self.between(0, choices.len() - 1)]
    }

    /// A number from `low` up to `high`.
    pub fn number(&mut self, low: f32, high: f32) -> f32 {
        low + self.random.uniform() * (high - low)
    }

    /// So many of them.
    pub fn numbers(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.number(low, high)).collect()
    }

    /// Whole numbers from -`size` to `size`: small ones have sums that are exact in any order.
    pub fn whole_numbers(&mut self, count: usize, size: u32) -> Vec<f32> {
        (0..count).map(|_| self.random.below(2 * size + 1) as f32 - size as f32).collect()
    }

    /// The numbers below `count` in random order.
    pub fn order(&mut self, count: usize) -> Vec<u32> {
        self.random.permutation(count)
    }

    /// A shape of `axes` axes of 1 to `longest` each. Extents of one are as common as all others together, since
    /// kernels treat them apart.
    pub fn shape(&mut self, axes: usize, longest: usize) -> Vec<usize> {
        (0..axes).map(|_| if self.between(0, 1) == 0 { 1 } else { self.between(1, longest) }).collect()
    }
}
