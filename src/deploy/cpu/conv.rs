//! Convolutions and dense layers, packed for the inner loops.

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::{LANES, Lanes, Pairs, Reading, Strided, Sums};
use super::rule::{Ends, Rule};
use super::workers::Workers;
use crate::deploy::{Conv2d, Int8Model, Layer, Linear, Padding, Window};
use crate::{Error, Result};

/// Places whose sums stay in the first cache between products and codes: a multiple of what the inner loops take at once.
const PLACES: usize = 48;
/// Blocks of outputs that share a reading of the input; where there is one place alone, twice as many.
const BLOCKS: usize = 2;
/// Room behind an image, where reading whole pairs or whole blocks may end.
const BEHIND: usize = LANES;

/// A convolution, or a dense layer as a convolution of one place. Its input is widened to 16 bits with its padding around it,
/// [H, W, C]; the input's zero point is in the biases.
pub(super) struct Conv {
    /// [C, H, W] of the input.
    planes: [usize; 3],
    padding: Padding,
    /// The input's zero point, which padding is filled with.
    zero: i8,
    /// Whether each channel has weights of its own, and gives one output.
    channelwise: bool,
    /// Where in a window pairs of inputs are; where `channelwise`, a channel's inputs.
    steps: Vec<u32>,
    blocks: Vec<Block>,
    /// [blocks, steps]
    weights: Vec<Pairs>,
    /// [blocks]
    bias: Vec<Sums>,
    outputs: usize,
    ends: Ends,
    own: Places,
    pooled: Option<Places>,
    /// Products for an image, as they are computed.
    products: usize,
}

/// Up to eight outputs of one group.
struct Block {
    /// The group's first input channel; where each channel is a group, the block's first.
    input: usize,
    output: usize,
    lanes: usize,
    rule: Rule,
}

/// Where windows begin, `area` for each of what is given: the highest counts.
struct Places {
    begin: Vec<u32>,
    area: usize,
}

impl Conv {
    /// A convolution of a model that was checked; with `pool` where a pooling is all that follows it.
    /// [C, H, W] are its input's; `pool` has the planes of what it gives.
    pub fn new(
        model: &Int8Model,
        layer: &Layer,
        conv: &Conv2d,
        planes: [usize; 3],
        pool: Option<(&Window, [usize; 3])>,
    ) -> Result<Conv> {
        let input = &model.layers[layer.inputs[0]];
        let Conv2d { linear, kernel: [kh, kw], dilation, padding, groups, .. } = conv;
        let rows = planes[1] + padding.top + padding.bottom;
        let row = (planes[2] + padding.left + padding.right) * planes[0];
        if rows.checked_mul(row).is_none_or(|size| size > (u32::MAX >> 1) as usize) {
            return Err(Error::Invalid(format!(
                "layer \"{}\": its padded input of {rows} rows of {row} codes is too large",
                layer.name
            )));
        }
        let (per_group, outputs) = (conv.channels_per_group(), linear.scale.len());
        let channelwise = *groups > 1 && per_group == 1 && outputs == *groups;

        // Elements of a window in the order in which they lie, and their weights.
        let mut taps = Vec::new();
        for y in 0..*kh {
            for x in 0..*kw {
                let start = y * dilation[0] * row + x * dilation[1] * planes[0];
                taps.extend((0..per_group).map(|c| (start + c, (c * kh + y) * kw + x)));
            }
        }
        let side_by_side = |a: &(usize, usize), b: &(usize, usize)| a.0 + 1 == b.0 && !channelwise;
        // Of those that lie side by side, two at a time.
        let runs = taps.chunk_by(side_by_side);
        let pairs: Vec<&[(usize, usize)]> = runs.flat_map(|run| run.chunks(2)).collect();

        let multipliers = model.linear_multipliers(layer)?;
        let zero = input.grid.zero_point;
        let group_outputs = outputs / groups;
        let parts = if channelwise { 1 } else { *groups };
        let mut all = Conv {
            planes,
            padding: *padding,
            zero,
            channelwise,
            steps: pairs.iter().map(|pair| pair[0].0 as u32).collect(),
            blocks: Vec::new(),
            weights: Vec::new(),
            bias: Vec::new(),
            outputs,
            ends: Ends::of(layer),
            own: Places::of(conv, planes, layer, None)?,
            pooled: pool.map(|pool| Places::of(conv, planes, layer, Some(pool))).transpose()?,
            products: [layer.planes()[1], layer.planes()[2], pairs.len(), 2]
                .iter()
                .fold(outputs, |products, &n| products.saturating_mul(n)),
        };
        for group in 0..parts {
            let end = if channelwise { outputs } else { (group + 1) * group_outputs };
            for output in (group * group_outputs..end).step_by(LANES) {
                let lanes = LANES.min(end - output);
                let multipliers = &multipliers[output..output + lanes];
                let input = if channelwise { output } else { group * per_group };
                all.blocks.push(Block { input, output, lanes, rule: Rule::new(multipliers) });
                all.pack(linear, &pairs, output..output + lanes, zero);
            }
        }
        Ok(all)
    }

    /// A dense layer: a convolution with a window of all of its input, whose weights have the same order.
    pub fn dense(model: &Int8Model, layer: &Layer, linear: &Linear, planes: [usize; 3]) -> Result<Conv> {
        let [_, height, width] = planes;
        let conv = Conv2d {
            linear: linear.clone(),
            kernel: [height, width],
            stride: [1; 2],
            dilation: [1; 2],
            padding: Padding::default(),
            groups: 1,
        };
        Conv::new(model, layer, &conv, planes, None)
    }

    /// Appends the weights and the bias of a block of outputs.
    fn pack(&mut self, linear: &Linear, pairs: &[&[(usize, usize)]], outputs: Range<usize>, zero: i8) {
        let length = linear.weight.len() / linear.scale.len();
        let first = self.weights.len();
        self.weights.resize(first + pairs.len(), Pairs::ZERO);
        let mut bias = Sums::ZERO;
        for (lane, output) in outputs.enumerate() {
            let row = &linear.weight[output * length..][..length];
            let total: i64 = row.iter().map(|&weight| i64::from(weight)).sum();
            // Wraps as sums do, whose last is exact.
            bias.0[lane] = (i64::from(linear.bias[output]) - i64::from(zero) * total) as i32;
            for (packed, pair) in self.weights[first..].iter_mut().zip(pairs) {
                for (half, &(_, place)) in pair.iter().enumerate() {
                    packed.0[2 * lane + half] = row[place].into();
                }
            }
        }
        self.bias.push(bias);
    }

    /// Whether a pooling's windows can be given by a convolution's sums: its highest code is that of the highest sum.
    pub fn can_pool(window: &Window) -> bool {
        let apart = (0..2).all(|axis| window.stride[axis] >= window.kernel[axis]);
        apart && window.padding == [0; 2] && window.area() <= PLACES
    }

    /// Products for an image.
    pub fn products(&self) -> usize {
        self.products
    }

    /// Elements of the widened input.
    pub fn widened(&self) -> usize {
        let [rows, row] = self.padded();
        rows * row + BEHIND
    }

    /// Rows, and elements of a row, with padding.
    fn padded(&self) -> [usize; 2] {
        let ([channels, height, width], Padding { top, left, bottom, right }) = (self.planes, self.padding);
        [height + top + bottom, (width + left + right) * channels]
    }

    /// Codes [H, W, C] of an image from those of its input: of this layer, or of the pooling behind it.
    pub fn run(&self, workers: Workers, pooled: bool, input: &[i8], wide: &mut [i16], codes: &mut [i8]) {
        let places = self.pooled.as_ref().filter(|_| pooled).unwrap_or(&self.own);
        let wide = &mut wide[..self.widened()];
        self.widen(workers, input, wide);
        let wide = &*wide;
        if places.begin.len() == 1 {
            let per = workers.share(self.blocks.len(), self.products);
            // Whole blocks, so that each begins where its part of the codes does: groups can end within one.
            let whole = self.blocks.last().is_some_and(|last| last.output == (self.blocks.len() - 1) * LANES);
            if per < self.blocks.len() && whole {
                let parts = codes.par_chunks_mut(per * LANES).enumerate();
                parts.for_each(|(part, codes)| {
                    let blocks = part * per..self.blocks.len().min((part + 1) * per);
                    self.fill(workers.lanes, wide, &places.begin, 1, blocks, codes.len(), codes);
                });
                return;
            }
        }
        let blocks = 0..self.blocks.len();
        let per = workers.share(places.begin.len() / places.area, self.products);
        if per * self.outputs >= codes.len() {
            self.fill(workers.lanes, wide, &places.begin, places.area, blocks, self.outputs, codes);
            return;
        }
        let parts = codes.par_chunks_mut(per * self.outputs).zip(places.begin.par_chunks(per * places.area));
        parts.for_each(|(codes, begin)| {
            self.fill(workers.lanes, wide, begin, places.area, blocks.clone(), self.outputs, codes);
        });
    }

    /// Codes of some blocks at some places, `stride` apart.
    #[allow(clippy::too_many_arguments)] // a part of the work has many ends
    fn fill(
        &self,
        lanes: Lanes,
        x: &[i16],
        begin: &[u32],
        area: usize,
        range: Range<usize>,
        stride: usize,
        codes: &mut [i8],
    ) {
        let mut room = [Sums::ZERO; PLACES * BLOCKS];
        let steps = self.steps.len();
        let most = match begin.len() {
            _ if self.channelwise => 1,
            1 => 2 * BLOCKS,
            _ => BLOCKS,
        };
        let origin = self.blocks[range.start].output;
        let mut block = range.start;
        while block < range.end {
            let input = self.blocks[block].input;
            let same = self.blocks[block..range.end].iter().take(most);
            let count = same.take_while(|block| block.input == input).count();
            let set = block..block + count;
            let weights = &self.weights[set.start * steps..set.end * steps];
            let bias = &self.bias[set.clone()];
            let per = PLACES / area;
            for (begin, codes) in begin.chunks(per * area).zip(codes.chunks_mut(per * stride)) {
                let from = Reading { x, places: begin, channel: input, steps: &self.steps };
                let sums = &mut room[..count * begin.len()];
                if self.channelwise {
                    lanes.channelwise(&from, weights, &bias[0], sums);
                } else {
                    lanes.products(&from, weights, bias, sums);
                }
                for (block, sums) in self.blocks[set.clone()].iter().zip(sums.chunks(begin.len())) {
                    let codes = &mut codes[block.output - origin..];
                    let out = Strided { codes, stride, lanes: block.lanes };
                    lanes.requantize(sums, area, &block.rule, self.ends, out);
                }
            }
            block += count;
        }
    }

    /// The input in 16 bits, with its zero point around it.
    fn widen(&self, workers: Workers, input: &[i8], wide: &mut [i16]) {
        let [rows, row] = self.padded();
        let ([channels, _, width], padding) = (self.planes, self.padding);
        let (wide, _) = wide.split_at_mut(rows * row);
        let inner = width * channels;
        let lanes = workers.lanes;
        if inner == row && rows * row == input.len() {
            lanes.widen(input, wide);
            return;
        }
        let zero = i16::from(self.zero);
        let (above, rest) = wide.split_at_mut(padding.top * row);
        let (inside, below) = rest.split_at_mut(input.len() / inner * row);
        above.fill(zero);
        below.fill(zero);
        let line = |(wide, codes): (&mut [i16], &[i8])| {
            let (left, rest) = wide.split_at_mut(padding.left * channels);
            let (middle, right) = rest.split_at_mut(inner);
            left.fill(zero);
            lanes.widen(codes, middle);
            right.fill(zero);
        };
        // Widening a code takes about as long as eight products.
        let per = workers.share(input.len() / inner, input.len() * 8);
        if per * inner >= input.len() {
            inside.chunks_mut(row).zip(input.chunks(inner)).for_each(line);
        } else {
            let parts = inside.par_chunks_mut(row).zip(input.par_chunks(inner));
            parts.with_min_len(per).for_each(line);
        }
    }
}

impl Places {
    /// Of a convolution whose input has these planes; `pool` has neither padding nor windows that overlap.
    fn of(
        conv: &Conv2d,
        planes: [usize; 3],
        layer: &Layer,
        pool: Option<(&Window, [usize; 3])>,
    ) -> Result<Places> {
        let Padding { left, right, .. } = conv.padding;
        let row = (planes[2] + left + right) * planes[0];
        let one = Window { kernel: [1; 2], stride: [1; 2], padding: [0; 2] };
        let (window, [_, height, width]) = pool.unwrap_or((&one, layer.planes()));
        let mut begin = Vec::new();
        let count = height * width * window.area();
        begin.try_reserve_exact(count).map_err(|_| {
            Error::Invalid(format!("layer \"{}\": there is no memory for {count} windows", layer.name))
        })?;
        for y in 0..height {
            for x in 0..width {
                for wy in 0..window.kernel[0] {
                    for wx in 0..window.kernel[1] {
                        let at = [y * window.stride[0] + wy, x * window.stride[1] + wx];
                        let start = at[0] * conv.stride[0] * row + at[1] * conv.stride[1] * planes[0];
                        begin.push(start as u32);
                    }
                }
            }
        }
        Ok(Places { begin, area: window.area() })
    }
}
