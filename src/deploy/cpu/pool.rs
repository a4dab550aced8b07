//! Pooling of planes [H, W, C].

use super::lanes::{LANES, Lanes, Strided, Sums};
use super::rule::{Ends, Rule};
use super::workers::Workers;
use crate::deploy::{Multiplier, Window};
use rayon::prelude::*;

/// A pooling; what differs is what happens to a window.
pub(super) struct Pool {
    window: Window,
    /// [C, H, W] of the input.
    planes: [usize; 3],
    /// Height and width of what it gives.
    given: [usize; 2],
    mean: Option<Mean>,
}

/// What makes means of sums.
struct Mean {
    rule: Rule,
    ends: Ends,
    /// The input's zero point.
    zero: i32,
}

impl Pool {
    /// The highest code of each window.
    pub fn max(window: &Window, planes: [usize; 3], given: [usize; 3]) -> Pool {
        Pool { window: *window, planes, given: [given[1], given[2]], mean: None }
    }

    /// The mean of each window.
    pub fn mean(self, multiplier: Multiplier, ends: Ends, zero: i8) -> Pool {
        let rule = Rule::new(&[multiplier; LANES]);
        Pool { mean: Some(Mean { rule, ends, zero: zero.into() }), ..self }
    }

    /// Codes of an image.
    pub fn run(&self, workers: Workers, input: &[i8], codes: &mut [i8]) {
        let ([channels, ..], [height, width]) = (self.planes, self.given);
        let row = width * channels;
        // Taking a code takes about as long as eight products.
        let per = workers.share(height, codes.len().saturating_mul(self.window.area() * 8));
        let part = |(part, codes): (usize, &mut [i8])| {
            for (place, codes) in codes.chunks_mut(channels).enumerate() {
                self.window_at([part * per + place / width, place % width], workers.lanes, input, codes);
            }
        };
        if per >= height {
            part((0, codes));
        } else {
            codes.par_chunks_mut(per * row).enumerate().for_each(part);
        }
    }

    fn window_at(&self, place: [usize; 2], lanes: Lanes, input: &[i8], codes: &mut [i8]) {
        let [channels, height, width] = self.planes;
        // What of the window lies in the image.
        let inside = |axis: usize, extent: usize| {
            let first = place[axis] * self.window.stride[axis];
            let last = (first + self.window.kernel[axis]).saturating_sub(self.window.padding[axis]);
            first.saturating_sub(self.window.padding[axis])..last.min(extent)
        };
        let (rows, columns) = (inside(0, height), inside(1, width));
        let taps = rows.flat_map(|y| columns.clone().map(move |x| (y * width + x) * channels));
        let Some(Mean { rule, ends, zero }) = &self.mean else {
            codes.fill(i8::MIN);
            taps.for_each(|at| lanes.raise(codes, &input[at..at + channels]));
            return;
        };
        let at_zero = -zero * taps.clone().count() as i32;
        for (block, codes) in codes.chunks_mut(LANES).enumerate() {
            let mut sums = Sums([at_zero; LANES]);
            for at in taps.clone() {
                let from = &input[at + block * LANES..at + channels];
                sums.0.iter_mut().zip(from).for_each(|(sum, &code)| *sum += i32::from(code));
            }
            let count = codes.len();
            lanes.requantize(&[sums], 1, rule, *ends, Strided { codes, stride: count, lanes: count });
        }
    }
}
