//! The inner loops, eight outputs at a time: in plain Rust, and with the machine's own instructions where it has them. Both give
//! the same numbers; what is here knows nothing of layers.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod plain;

use super::rule::{Ends, Rule, SumRule};

/// Outputs that are computed together.
pub(super) const LANES: usize = 8;

/// Sums of eight outputs. Aligned, so that no load crosses a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(super) struct Sums(pub [i32; LANES]);

impl Sums {
    pub const ZERO: Sums = Sums([0; LANES]);
}

/// Weights of two inputs for eight outputs, those of an output side by side: the two are multiplied and added up by one
/// instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(super) struct Pairs(pub [i16; 2 * LANES]);

impl Pairs {
    pub const ZERO: Pairs = Pairs([0; 2 * LANES]);
}

/// Where a convolution reads: for each of `places`, inputs or pairs of inputs at each of `steps`.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The image with its padding, widened.
    pub x: &'a [i16],
    /// The first element of each place's window.
    pub places: &'a [u32],
    /// The first channel, behind `places`.
    pub channel: usize,
    /// What is multiplied with one weight, or pair of weights, after the other: elements behind `places` and `channel`.
    pub steps: &'a [u32],
}

impl Reading<'_> {
    /// Panics where reading `width` elements at the last of all steps would end behind `x`: what makes reading by pointers
    /// sound.
    #[inline(always)] // into loops that may use vectors
    fn check(&self, width: usize) {
        let last = |all: &[u32]| all.iter().fold(0, |most: u32, &one| most.max(one)) as usize;
        let end = last(self.places) + self.channel + last(self.steps) + width;
        assert!(end <= self.x.len(), "windows end at {end} of {}", self.x.len());
    }
}

/// Which instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    /// Those that the compiler finds.
    Plain,
    /// 256 bits, integers, on x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

/// There is one only where the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

/// Calls the same function of the one or the other.
macro_rules! of {
    ($lanes:expr, $name:ident $arguments:tt) => {
        match $lanes {
            Lanes::Plain => plain::$name $arguments,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` is made only where the machine has these instructions.
            Lanes::Avx2(_) => unsafe { avx2::$name $arguments },
        }
    };
}

impl Lanes {
    /// The best that this machine has.
    pub fn detect() -> Lanes {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Lanes::Avx2(Avx2(()));
        }
        Lanes::Plain
    }

    /// Sums of products of pairs of inputs with `weights` [blocks, steps], beginning with `bias` [blocks]: [blocks, places].
    ///
    /// Sums may wrap on the way; the last fits 32 bits, which `Linear::check` sees to, so it is exact.
    pub fn products(self, from: &Reading, weights: &[Pairs], bias: &[Sums], sums: &mut [Sums]) {
        assert!(
            weights.len() == bias.len() * from.steps.len() && sums.len() == bias.len() * from.places.len()
        );
        of!(self, products(from, weights, bias, sums));
    }

    /// As [`Lanes::products`], one input for each output: eight channels of which each has its own weights
    /// [steps]; the second halves of pairs are 0. One block: [places].
    pub fn channelwise(self, from: &Reading, weights: &[Pairs], bias: &Sums, sums: &mut [Sums]) {
        assert!(weights.len() == from.steps.len() && sums.len() == from.places.len());
        of!(self, channelwise(from, weights, bias, sums));
    }

    /// Codes of the largest of each `area` sums, `lanes` of each, `stride` apart.
    pub fn requantize(self, sums: &[Sums], area: usize, rule: &Rule, ends: Ends, out: Strided<'_>) {
        assert!(out.lanes <= LANES && out.lanes <= out.stride && sums.len().is_multiple_of(area));
        of!(self, requantize(sums, area, rule, ends, out));
    }

    /// Codes of sums of two codes each.
    pub fn add(self, a: &[i8], b: &[i8], rule: &SumRule, codes: &mut [i8]) {
        assert!(a.len() == codes.len() && b.len() == codes.len());
        of!(self, add(a, b, rule, codes));
    }

    /// Codes, in 16 bits.
    pub fn widen(self, codes: &[i8], wide: &mut [i16]) {
        of!(self, widen(codes, wide));
    }

    /// The higher of two codes each, into `most`.
    pub fn raise(self, most: &mut [i8], codes: &[i8]) {
        of!(self, raise(most, codes));
    }
}

/// Where codes of a block of outputs go.
pub(super) struct Strided<'a> {
    /// From the block's first output of the first place on.
    pub codes: &'a mut [i8],
    /// Outputs of a place.
    pub stride: usize,
    /// Outputs of the block.
    pub lanes: usize,
}
