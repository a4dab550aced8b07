//! Convolutions, and dense layers as convolutions whose kernel is the whole plane.

use super::codes::Codes;
use super::dots::has_byte_dots;
use super::prepare::Layout;
use super::{Factor, Target, threads};
use crate::gpu::Gpu;
use crate::kernel::catalogue::{Entry, entry};
use crate::kernel::gemm::machine;
use crate::kernel::params::params;
use crate::kernel::plan::Machine;
use crate::kernel::pool::Window;
use crate::kernel::{extent, product};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(WordsParams {
    invocations: u32,
    in_words: u32,
    in_group: u32,
    out_words: u32,
    out_group: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    strips: u32,
    blocks: u32,
    groups: u32,
    kernel_height: u32,
    runs: u32,
    exact_words: u32,
    stride_y: u32,
    dilation_y: u32,
    pad_top: u32,
    pad_left: u32,
    padding: u32,
    zero_point: i32,
    low: i32,
    high: i32,
});
params!(GroupedParams {
    invocations: u32,
    in_words: u32,
    out_words: u32,
    in_group: u32,
    out_group: u32,
    out_channels: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_top: u32,
    pad_left: u32,
    padding: u32,
    zero_point: i32,
    low: i32,
    high: i32,
});

/// A convolution in numbers; [y, x] each.
#[derive(Clone, Debug)]
pub struct ConvNumbers<'a> {
    /// [C, H, W]
    pub input: [usize; 3],
    /// [O, H', W']
    pub output: [usize; 3],
    /// Codes [O, C / groups, kh, kw] of zero point 0.
    pub weight: &'a [i8],
    /// [kh, kw]
    pub kernel: [usize; 2],
    /// Steps of the kernel over the input.
    pub stride: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: [usize; 2],
    /// Rows of zeros above, columns left. What lies below and right follows from the output.
    pub pad: [usize; 2],
    /// Parts that know nothing of each other.
    pub groups: usize,
    /// Of windows of the output that lie side by side, the highest codes are kept; [1, 1] for all codes.
    pub pool: [usize; 2],
    /// The input's code of 0.
    pub zero_point: i8,
    /// Added to the sums, for each output.
    pub bias: &'a [i32],
    /// What takes a sum to the output's scale, for each output.
    pub factors: &'a [Factor],
    /// What becomes of it there.
    pub target: Target,
}

impl ConvNumbers<'_> {
    fn check(&self) -> Result<()> {
        let ([c, ..], [o, ..]) = (self.input, self.output);
        let taps = product(&self.kernel);
        let positive =
            [&self.input[..], &self.output, &self.stride, &self.dilation, &self.pool, &[self.groups, taps]];
        // Places in shaders have 32 bits and a sign.
        let countable = |n: usize| n <= i32::MAX as usize;
        let fits = positive.concat().iter().all(|&n| n > 0 && countable(n))
            && self.pad.iter().all(|&n| countable(n))
            && (0..2).all(|axis| {
                self.pool[axis] <= self.output[axis + 1] && self.reaches(axis).is_some_and(countable)
            })
            && c.is_multiple_of(self.groups)
            && o.is_multiple_of(self.groups)
            && self.weight.len() == product(&[o, c / self.groups, taps])
            && self.bias.len() == o
            && self.factors.len() == o;
        if fits {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "{:?} to {:?} [C, H, W] with a kernel of {:?}, {} groups, {} weights and {} biases make no convolution",
            self.input,
            self.output,
            self.kernel,
            self.groups,
            self.weight.len(),
            self.bias.len()
        )))
    }

    /// One past the last row, or column, that a tap of the last window looks at, with the padding before the first.
    fn reaches(&self, axis: usize) -> Option<usize> {
        let last = self.output[axis + 1].checked_mul(self.stride[axis])?;
        last.checked_add(self.kernel[axis].checked_mul(self.dilation[axis])?)
    }

    fn layout(&self, machine: Machine) -> Layout {
        let [channels, outputs] = self.of_group();
        let words = channels.is_multiple_of(4) && outputs.is_multiple_of(4);
        match machine {
            _ if self.groups > 1 && channels == 1 && outputs == 1 => Layout::Depthwise,
            _ if self.groups > 1 && !words => Layout::Grouped,
            Machine::Vector { .. } if self.exact_words() > 0 => Layout::WordsOfOutputs,
            _ => Layout::Words,
        }
    }

    /// Height and width of what is kept.
    fn kept(&self) -> [usize; 2] {
        [self.output[1] / self.pool[0], self.output[2] / self.pool[1]]
    }

    /// Channels in a word that are any.
    fn bytes(&self) -> usize {
        self.of_group()[0].min(4)
    }

    /// Words of channels whose products f32 adds up exactly: 2^24 over products of at most 2^14.
    fn exact_words(&self) -> usize {
        1024 / (self.bytes() * self.kernel[0] * self.kernel[1])
    }
}

/// What an invocation makes: words of output channels, and neighbours in a row.
#[derive(Clone, Copy, Debug)]
struct Tile {
    words: usize,
    pixels: usize,
}

impl Tile {
    fn of(numbers: &ConvNumbers<'_>, machine: Machine, batch: usize) -> Tile {
        let [height, width] = numbers.kept();
        let group = numbers.of_group()[1].div_ceil(4);
        let invocations = |tile: &Tile| {
            batch * height * width.div_ceil(tile.pixels) * group.div_ceil(tile.words) * numbers.groups
        };
        // What is computed, where a row or a group ends within a tile.
        let made = |tile: &Tile| width.next_multiple_of(tile.pixels) * group.next_multiple_of(tile.words);
        let one = Tile { words: 1, pixels: 1 };
        match machine {
            // Weights are fetched and unpacked for each invocation, which costs about as much as three pixels (measured);
            // more sums than these are kept in memory.
            Machine::Vector { lanes, workers } => {
                let most = (14 / numbers.pool[1]).max(1).min(width);
                let tiles = (1..=most).map(|pixels| Tile { words: 1, pixels });
                let busy = tiles.filter(|tile| invocations(tile) >= (2 * lanes * workers) as usize);
                let weights = 3usize.div_ceil(numbers.pool[0] * numbers.pool[1]);
                busy.min_by_key(|tile| made(tile) * (tile.pixels + weights) * 1024 / tile.pixels)
                    .unwrap_or(one)
            }
            // It hides its memory's delays behind many invocations.
            Machine::Gpu => {
                let area = numbers.pool[0] * numbers.pool[1];
                let tiles =
                    [(2, 4), (1, 8), (1, 4), (2, 1), (1, 2)].map(|(words, pixels)| Tile { words, pixels });
                let small = |tile: &&Tile| area == 1 || tile.words * tile.pixels * area <= 8;
                let full = |tile: &&Tile| invocations(tile) >= 16_384 && made(tile) * 8 <= width * group * 9;
                tiles.iter().filter(small).find(full).copied().unwrap_or(one)
            }
        }
    }
}

/// Taps of a kernel row that are written out, and how many times that is the row.
fn runs(width: usize) -> (usize, usize) {
    let taps = (1..=7).rev().find(|&taps| width.is_multiple_of(taps)).unwrap_or(1);
    (taps, width / taps)
}

/// `packed`: products of bytes by one instruction for four.
fn words_shader(
    numbers: &ConvNumbers<'_>,
    layout: Layout,
    machine: Machine,
    tile: Tile,
    packed: bool,
) -> ShaderSpec {
    let float = layout == Layout::WordsOfOutputs;
    let (taps, runs) = runs(numbers.kernel[1]);
    let [stride, dilation] = [numbers.stride[1], numbers.dilation[1]];
    let place = |pixel: usize, tap: usize| (pixel * stride + tap * dilation) as i64;
    let mut columns: Vec<i64> = (0..tile.pixels * numbers.pool[1])
        .flat_map(|pixel| (0..taps).map(move |tap| place(pixel, tap)))
        .collect();
    columns.sort_unstable();
    columns.dedup();
    let inside = (0..2).all(|axis| {
        let along = if axis == 1 { tile.pixels } else { 1 };
        let last = numbers.kept()[axis].next_multiple_of(along) * numbers.pool[axis] - 1;
        let reach = last * numbers.stride[axis] + (numbers.kernel[axis] - 1) * numbers.dilation[axis];
        numbers.pad[axis] == 0 && reach < numbers.input[axis + 1]
    });
    let words = numbers.of_group()[0].div_ceil(4);
    let spec = ShaderSpec::new("deploy/conv.wgsl")
        .with("threads", threads(machine))
        .with("float", float)
        .with("tile", tile.words as u32)
        .with("pixels", tile.pixels as u32)
        .with("pool_y", numbers.pool[0] as u32)
        .with("pool_x", numbers.pool[1] as u32)
        .with("taps", taps as u32)
        .with("looped", runs > 1)
        .with("stride_x", stride as u32)
        .with("dilation_x", dilation as u32)
        .with("columns", columns)
        .with("edges", !inside)
        .with("chunked", float && words > numbers.exact_words());
    // Bytes that no channel has are zeros; products of bytes take all four at once.
    if float { spec.with("bytes", numbers.bytes() as u32) } else { spec.with("packed", packed) }
}

fn grouped_shader(layout: Layout, machine: Machine) -> ShaderSpec {
    let file = if layout == Layout::Depthwise { "deploy/depthwise.wgsl" } else { "deploy/grouped.wgsl" };
    ShaderSpec::new(file).with("threads", threads(machine))
}

/// A convolution on the device.
pub struct Conv {
    /// Without what is on the device: weights, biases, factors.
    numbers: ConvNumbers<'static>,
    layout: Layout,
    weight: Tensor,
    outputs: Tensor,
}

impl Conv {
    /// Uploads the weights.
    ///
    /// # Errors
    /// Where the numbers do not fit each other or the device, or the device has failed.
    pub fn upload(gpu: &Gpu, numbers: &ConvNumbers<'_>) -> Result<Conv> {
        numbers.check()?;
        let layout = numbers.layout(machine(gpu));
        let upload = |words: &[u32]| {
            let tensor = Tensor::empty(gpu, [words.len()], DType::U32)?;
            tensor.write_u32(words)?;
            Ok::<_, Error>(tensor)
        };
        Ok(Conv {
            layout,
            weight: upload(&numbers.weight_words(layout))?,
            outputs: upload(&numbers.output_words())?,
            numbers: ConvNumbers { weight: &[], bias: &[], factors: &[], ..*numbers },
        })
    }

    /// The same with max pooling behind it, in windows that lie side by side; none where this kernel cannot, since its groups do
    /// not fill words or windows are many.
    pub fn pooled(&self, window: &Window) -> Option<Conv> {
        let Window { kernel: [y, x], stride, padding } = *window;
        let whole =
            matches!(self.layout, Layout::Words | Layout::WordsOfOutputs) && self.numbers.pool == [1; 2];
        let fits = stride == [y, x] && padding == [0; 2] && (1..=4).contains(&product(&[y, x]));
        let plane = y <= self.numbers.output[1] && x <= self.numbers.output[2];
        (whole && fits && plane).then(|| Conv {
            numbers: ConvNumbers { pool: [y, x], ..self.numbers.clone() },
            layout: self.layout,
            weight: self.weight.clone(),
            outputs: self.outputs.clone(),
        })
    }

    /// Codes [N, O, H', W'] for codes [N, C, H, W]; of H' and W', so many as there are windows.
    ///
    /// # Errors
    /// Where the input is not of the shape that it was made for, or the device has failed.
    pub fn forward(&self, x: &Codes) -> Result<Codes> {
        let [n, input @ ..] = x.shape();
        if input != self.numbers.input || n == 0 {
            return Err(Error::Shape(format!(
                "codes of shape {:?} came, and the convolution takes [N, C, H, W] with {:?}",
                x.shape(),
                self.numbers.input
            )));
        }
        let (o, [h, w]) = (self.numbers.output[0], self.numbers.kept());
        let output = Codes::empty(x.gpu(), [n, o, h, w])?;
        let machine = machine(x.gpu());
        let (spec, tile) = match self.layout {
            Layout::Words | Layout::WordsOfOutputs => {
                let tile = Tile::of(&self.numbers, machine, n);
                let packed = has_byte_dots(x.gpu());
                (words_shader(&self.numbers, self.layout, machine, tile, packed), Some(tile))
            }
            Layout::Depthwise | Layout::Grouped => (grouped_shader(self.layout, machine), None),
        };
        let launch = x
            .gpu()
            .launch(spec)
            .bind(x.words().buffer())
            .bind(self.weight.buffer())
            .bind(self.outputs.buffer())
            .bind(output.words().buffer());
        match tile {
            Some(tile) => {
                let params = self.words_params(n, tile)?;
                launch.params(&params).threads(params.invocations.into(), threads(machine))?;
            }
            None => {
                let params = self.grouped_params(output.words().count())?;
                launch.params(&params).threads(params.invocations.into(), threads(machine))?;
            }
        }
        Ok(output)
    }

    fn words_params(&self, batch: usize, tile: Tile) -> Result<WordsParams> {
        let numbers = &self.numbers;
        let [out_height, out_width] = numbers.kept();
        let [in_group, out_group] = numbers.of_group().map(|channels| channels.div_ceil(4));
        let strips = out_width.div_ceil(tile.pixels);
        let blocks = out_group.div_ceil(tile.words);
        let invocations = [batch, numbers.groups, blocks, out_height, strips].iter().product();
        let size = |value: usize| extent(value, "an extent of a convolution");
        Ok(WordsParams {
            invocations: size(invocations)?,
            in_words: size(in_group * numbers.groups)?,
            in_group: size(in_group)?,
            out_words: size(out_group * numbers.groups)?,
            out_group: size(out_group)?,
            in_height: size(numbers.input[1])?,
            in_width: size(numbers.input[2])?,
            out_height: size(out_height)?,
            out_width: size(out_width)?,
            strips: size(strips)?,
            blocks: size(blocks)?,
            groups: size(numbers.groups)?,
            kernel_height: size(numbers.kernel[0])?,
            runs: size(runs(numbers.kernel[1]).1)?,
            exact_words: size(numbers.exact_words())?,
            stride_y: size(numbers.stride[0])?,
            dilation_y: size(numbers.dilation[0])?,
            pad_top: size(numbers.pad[0])?,
            pad_left: size(numbers.pad[1])?,
            padding: numbers.padding_word(),
            zero_point: numbers.target.zero_point.into(),
            low: numbers.target.ends[0].into(),
            high: numbers.target.ends[1].into(),
        })
    }

    fn grouped_params(&self, words: usize) -> Result<GroupedParams> {
        let numbers = &self.numbers;
        let [in_group, out_group] = numbers.of_group();
        let size = |value: usize| extent(value, "an extent of a convolution");
        Ok(GroupedParams {
            invocations: size(words)?,
            in_words: size(numbers.input[0].div_ceil(4))?,
            out_words: size(numbers.output[0].div_ceil(4))?,
            in_group: size(in_group)?,
            out_group: size(out_group)?,
            out_channels: size(numbers.output[0])?,
            in_height: size(numbers.input[1])?,
            in_width: size(numbers.input[2])?,
            out_height: size(numbers.output[1])?,
            out_width: size(numbers.output[2])?,
            kernel_height: size(numbers.kernel[0])?,
            kernel_width: size(numbers.kernel[1])?,
            stride_y: size(numbers.stride[0])?,
            stride_x: size(numbers.stride[1])?,
            dilation_y: size(numbers.dilation[0])?,
            dilation_x: size(numbers.dilation[1])?,
            pad_top: size(numbers.pad[0])?,
            pad_left: size(numbers.pad[1])?,
            padding: numbers.padding_word(),
            zero_point: numbers.target.zero_point.into(),
            low: numbers.target.ends[0].into(),
            high: numbers.target.ends[1].into(),
        })
    }
}

pub(super) fn variants(machine: Machine) -> Vec<Entry> {
    let base = ConvNumbers {
        input: [6, 14, 14],
        output: [16, 10, 10],
        weight: &[],
        kernel: [5, 5],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
        groups: 1,
        pool: [1, 1],
        zero_point: 0,
        bias: &[],
        factors: &[],
        target: Target { zero_point: 0, ends: [i8::MIN, i8::MAX] },
    };
    let shapes = [
        ConvNumbers { input: [1, 32, 32], output: [6, 28, 28], ..base },
        ConvNumbers { input: [3, 32, 32], output: [16, 16, 16], pad: [2, 2], stride: [2, 2], ..base },
        // Sums that f32 holds a part at a time.
        ConvNumbers { input: [512, 7, 7], output: [512, 7, 7], kernel: [3, 3], pad: [1, 1], ..base },
        ConvNumbers { input: [64, 9, 9], output: [8, 9, 5], kernel: [1, 1], stride: [1, 2], ..base },
        ConvNumbers {
            input: [64, 9, 9],
            output: [8, 5, 7],
            kernel: [3, 2],
            dilation: [2, 2],
            groups: 2,
            ..base
        },
        // Dense layers, the last of a kernel that is met by products of bytes alone.
        ConvNumbers { input: [120, 1, 1], output: [84, 1, 1], kernel: [1, 1], ..base },
        ConvNumbers { input: [16, 5, 5], output: [120, 1, 1], ..base },
        ConvNumbers { input: [5, 40, 33], output: [7, 1, 1], kernel: [40, 33], ..base },
        ConvNumbers { pool: [2, 2], ..base },
        ConvNumbers {
            input: [512, 9, 9],
            output: [8, 9, 9],
            kernel: [3, 3],
            pad: [1, 1],
            pool: [1, 3],
            ..base
        },
        base,
    ];
    let words = shapes.into_iter().flat_map(|numbers| {
        let layout = numbers.layout(machine);
        // Products in f32 have one form.
        let forms = if layout == Layout::WordsOfOutputs { &[true][..] } else { &[true, false] };
        let all = [1, 64].into_iter().flat_map(|batch| forms.iter().map(move |&packed| (batch, packed)));
        all.map(|(batch, packed)| {
            let tile = Tile::of(&numbers, machine, batch);
            entry(words_shader(&numbers, layout, machine, tile, packed), WordsParams::LAYOUT)
        })
        .collect::<Vec<_>>()
    });
    let grouped = [Layout::Depthwise, Layout::Grouped];
    words.chain(grouped.map(|layout| entry(grouped_shader(layout, machine), GroupedParams::LAYOUT))).collect()
}
