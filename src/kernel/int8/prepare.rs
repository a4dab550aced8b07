//! Weights and what follows their sums, as kernels read them: made once, on the host.

use super::ConvNumbers;
use super::codes::four;

/// How weights lie, and so which kernel reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// [C / 4, kh, kw, O / 4], 4 x 4 codes in a vector: a word for each output with four channels.
    Words,
    /// The same, with a word for each channel with four outputs.
    WordsOfOutputs,
    /// [C / 4, kh, kw]: each channel for itself.
    Depthwise,
    /// [O / 4, C / groups, kh, kw].
    Grouped,
}

impl ConvNumbers<'_> {
    /// [C, O] of a group.
    pub(super) fn of_group(&self) -> [usize; 2] {
        [self.input[0] / self.groups, self.output[0] / self.groups]
    }

    fn weight(&self, output: usize, channel: usize, tap: usize) -> i8 {
        let [channels, _] = self.of_group();
        let taps = self.kernel[0] * self.kernel[1];
        // What fills up words is 0.
        if output >= self.output[0] || channel >= channels {
            return 0;
        }
        self.weight[(output * channels + channel) * taps + tap]
    }

    /// Words of weights.
    pub(super) fn weight_words(&self, layout: Layout) -> Vec<u32> {
        let [channels, _] = self.of_group();
        let (words, out_words) = (channels.div_ceil(4), self.output[0].div_ceil(4));
        let taps = self.kernel[0] * self.kernel[1];
        let word = |code: &dyn Fn(usize) -> i8| u32::from_le_bytes([0, 1, 2, 3].map(|byte| code(byte) as u8));
        let mut all = Vec::new();
        match layout {
            Layout::Words | Layout::WordsOfOutputs => {
                all.reserve(words * taps * out_words * 4);
                for (c, tap, o) in each(words, taps, out_words) {
                    all.extend((0..4).map(|k| match layout {
                        Layout::Words => word(&|byte| self.weight(o * 4 + k, c * 4 + byte, tap)),
                        _ => word(&|byte| self.weight(o * 4 + byte, c * 4 + k, tap)),
                    }));
                }
            }
            Layout::Depthwise | Layout::Grouped => {
                all.reserve(out_words * channels * taps);
                for (o, c, tap) in each(out_words, channels, taps) {
                    all.push(word(&|byte| self.weight(o * 4 + byte, c, tap)));
                }
            }
        }
        all
    }

    /// For four outputs at a time: biases, mantissas, shifts. The input's zero point goes into the biases.
    pub(super) fn output_words(&self) -> Vec<u32> {
        let inputs = self.weight.len() / self.output[0];
        let bias = |output: usize| {
            let row = &self.weight[output * inputs..][..inputs];
            let sum: i32 = row.iter().map(|&w| i32::from(w)).sum();
            // Sums wrap on the device, and the whole sum is in range, so the parts need not be.
            self.bias[output].wrapping_sub(sum.wrapping_mul(self.zero_point.into())) as u32
        };
        let last = self.output[0] - 1;
        let of =
            |first: usize, number: &dyn Fn(usize) -> u32| [0, 1, 2, 3].map(|k| number(last.min(first + k)));
        (0..=last)
            .step_by(4)
            .flat_map(|first| {
                let mantissa = |output: usize| self.factors[output].mantissa;
                let shift = |output: usize| self.factors[output].shift;
                [of(first, &bias), of(first, &mantissa), of(first, &shift)]
            })
            .flatten()
            .collect()
    }

    /// What stands for padding.
    pub(super) fn padding_word(&self) -> u32 {
        four(self.zero_point)
    }
}

fn each(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
}
