//! Integer networks of random layers.

use crate::deploy::{Conv2d, Function, Grid, Int8Model, Layer, Linear, Op, Padding, Table, Window};
use crate::{Error, Result};

/// Numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.bits() >> 16).rem_euclid((high - low + 1) as u64) as i64
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// So many codes of this width.
    pub fn codes(&mut self, count: usize, bits: u32) -> Vec<i8> {
        let half = 1i64 << (bits - 1);
        (0..count).map(|_| self.between(-half, half - 1) as i8).collect()
    }

    /// Scales over four powers of ten, any zero point.
    pub fn grid(&mut self) -> Grid {
        let scale = 10f64.powf(self.unit() * 2.0 - 3.0) as f32;
        Grid { scale, zero_point: self.between(-128, 127) as i8, low: -128, high: 127 }
    }
}

/// A network under construction.
pub struct Builder {
    /// The layers so far; the last one is the output.
    pub model: Int8Model,
    /// What weights and grids are drawn from.
    pub random: Random,
    /// The first layer that did not fit the one before it.
    refused: Option<Error>,
}

impl Builder {
    /// An input of `shape`, `[C, H, W]` or `[features]`, on a random grid.
    pub fn new(seed: u64, shape: &[usize]) -> Builder {
        let mut random = Random::new(seed);
        let input = Layer {
            name: "input".into(),
            op: Op::Input,
            inputs: Vec::new(),
            shape: shape.to_vec(),
            grid: random.grid(),
            activation: Function::Identity,
        };
        let model =
            Int8Model { name: "random".into(), layers: vec![input], output: 0, metadata: Default::default() };
        Builder { model, random, refused: None }
    }

    /// Number of the latest layer.
    pub fn last(&self) -> usize {
        self.model.layers.len() - 1
    }

    fn push(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        shape: Vec<usize>,
        grid: Grid,
        activation: Function,
    ) -> usize {
        let name = format!("layer{}", self.model.layers.len());
        self.model.layers.push(Layer { name, op, inputs, shape, grid, activation });
        self.model.output = self.last();
        self.last()
    }

    /// Weights whose sums spread over the codes of a new grid, some beyond its ends.
    fn linear(&mut self, from: usize, outputs: usize, inputs: usize, bits: u32) -> (Linear, Grid) {
        let grid = self.random.grid();
        // A sum of so many products of random codes is about as large as this.
        let spread = (inputs as f64).sqrt() * 85.0 * f64::from(1u32 << bits) / 3.5;
        let ratio = f64::from(grid.scale) / f64::from(self.model.layers[from].grid.scale);
        let mut scale = || (60.0 / spread * ratio * (0.5 + self.random.unit())) as f32;
        let scale: Vec<f32> = (0..outputs).map(|_| scale()).collect();
        let reach = spread as i64;
        let bias = (0..outputs).map(|_| self.random.between(-reach, reach) as i32).collect();
        (Linear { weight: self.random.codes(outputs * inputs, bits), scale, bits, bias }, grid)
    }

    /// A convolution with random weights.
    pub fn conv(&mut self, from: usize, outputs: usize, shape: ConvShape) -> usize {
        let [channels, h, w] = self.model.layers[from].planes();
        let ConvShape { kernel, stride, dilation, padding, groups, bits, activation } = shape;
        let (linear, grid) = self.linear(from, outputs, channels / groups * kernel[0] * kernel[1], bits);
        let conv = Conv2d { linear, kernel, stride, dilation, padding, groups };
        let [h, w] = self.fitting(conv.output([h, w]));
        self.push(Op::Conv2d(conv), vec![from], vec![outputs, h, w], grid, activation)
    }

    /// A dense layer with random weights.
    pub fn dense(&mut self, from: usize, outputs: usize, bits: u32, activation: Function) -> usize {
        let inputs = self.model.layers[from].shape.iter().product();
        let (linear, grid) = self.linear(from, outputs, inputs, bits);
        self.push(Op::Dense(linear), vec![from], vec![outputs], grid, activation)
    }

    /// `[C, H, W]` to `[features]`.
    pub fn flatten(&mut self, from: usize) -> usize {
        let Layer { shape, grid, .. } = self.model.layers[from].clone();
        self.push(Op::Flatten, vec![from], vec![shape.iter().product()], grid, Function::Identity)
    }

    /// Max pooling.
    pub fn max_pool(&mut self, from: usize, window: Window) -> usize {
        let ([c, h, w], grid) = (self.model.layers[from].planes(), self.model.layers[from].grid);
        let [h, w] = self.fitting(window.output([h, w]));
        self.push(Op::MaxPool2d(window), vec![from], vec![c, h, w], grid, Function::Identity)
    }

    /// Average pooling.
    pub fn avg_pool(&mut self, from: usize, window: Window) -> usize {
        let [c, h, w] = self.model.layers[from].planes();
        let [h, w] = self.fitting(window.output([h, w]));
        let grid = Grid { scale: self.model.layers[from].grid.scale * 0.4, ..self.random.grid() };
        self.push(Op::AvgPool2d(window), vec![from], vec![c, h, w], grid, Function::Identity)
    }

    /// A sum of two layers of one shape.
    pub fn add(&mut self, a: usize, b: usize, activation: Function) -> usize {
        let scale = self.model.layers[a].grid.scale.max(self.model.layers[b].grid.scale) * 1.3;
        let (shape, grid) = (self.model.layers[a].shape.clone(), Grid { scale, ..self.random.grid() });
        self.push(Op::Add, vec![a, b], shape, grid, activation)
    }

    /// A function looked up by code.
    pub fn table(&mut self, from: usize, function: Function) -> usize {
        let (shape, before) = (self.model.layers[from].shape.clone(), self.model.layers[from].grid);
        let grid = Grid { scale: before.scale * 0.8, ..self.random.grid() };
        let table = Table::new(function, &before, &grid);
        self.push(Op::Table(table), vec![from], shape, grid, Function::Identity)
    }

    /// The network, checked.
    ///
    /// # Errors
    /// If a layer does not fit the one before it.
    pub fn finish(self) -> Result<Int8Model> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        self.model.check()?;
        Ok(self.model)
    }

    /// A plane, or one pixel if there is none; [`Builder::finish`] tells why.
    fn fitting(&mut self, plane: Result<[usize; 2]>) -> [usize; 2] {
        plane.unwrap_or_else(|error| {
            self.refused.get_or_insert(error);
            [1, 1]
        })
    }
}

/// A convolution's numbers; stride 1 and no padding unless said.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// [height, width].
    pub kernel: [usize; 2],
    /// [y, x].
    pub stride: [usize; 2],
    /// [y, x].
    pub dilation: [usize; 2],
    /// Zeros around the planes.
    pub padding: Padding,
    /// Groups of channels.
    pub groups: usize,
    /// Of the weights.
    pub bits: u32,
    /// Of the output.
    pub activation: Function,
}

impl ConvShape {
    /// A square kernel, 8 bits, no activation.
    pub fn square(kernel: usize) -> ConvShape {
        ConvShape {
            kernel: [kernel; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padding: Padding::default(),
            groups: 1,
            bits: 8,
            activation: Function::Identity,
        }
    }

    /// With so many zeros on all sides.
    pub fn padded(self, size: usize) -> ConvShape {
        ConvShape { padding: Padding { top: size, left: size, bottom: size, right: size }, ..self }
    }
}

/// LeNet5's layers with random weights.
///
/// # Errors
/// Never, unless a layer's rules change.
pub fn lenet5(seed: u64) -> Result<Int8Model> {
    let mut b = Builder::new(seed, &[1, 32, 32]);
    let relu = ConvShape { activation: Function::Relu, ..ConvShape::square(5) };
    let pool = Window { kernel: [2; 2], stride: [2; 2], padding: [0; 2] };
    let x = b.conv(0, 6, relu);
    let x = b.max_pool(x, pool);
    let x = b.conv(x, 16, relu);
    let x = b.max_pool(x, pool);
    let x = b.flatten(x);
    let x = b.dense(x, 120, 8, Function::Relu);
    let x = b.dense(x, 84, 8, Function::Relu);
    b.dense(x, 10, 8, Function::Identity);
    b.finish()
}

/// Every kind of layer at odd sizes, with a residual connection.
///
/// # Errors
/// As [`lenet5`].
pub fn mixed(seed: u64) -> Result<Int8Model> {
    let mut b = Builder::new(seed, &[3, 13, 11]);
    let relu = ConvShape { activation: Function::Relu, ..ConvShape::square(3).padded(1) };
    let stem = b.conv(0, 7, ConvShape { kernel: [5, 3], stride: [2, 1], ..relu });
    let a = b.conv(stem, 12, ConvShape { bits: 4, ..relu });
    let a = b.conv(a, 12, ConvShape { groups: 12, activation: Function::Identity, ..relu });
    let shortcut = b.conv(stem, 12, ConvShape { bits: 2, ..ConvShape::square(1) });
    let x = b.add(a, shortcut, Function::Relu);
    let x = b.max_pool(x, Window { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
    let uneven = Padding { top: 2, left: 1, bottom: 0, right: 3 };
    let x = b.conv(
        x,
        10,
        ConvShape { dilation: [2, 1], groups: 2, padding: uneven, activation: Function::Relu6, ..relu },
    );
    let x = b.table(x, Function::HSwish);
    let [_, h, w] = b.model.layers[x].planes();
    let x = b.avg_pool(x, Window { kernel: [h, w], stride: [1; 2], padding: [0; 2] });
    let x = b.flatten(x);
    b.dense(x, 5, 3, Function::Identity);
    b.finish()
}

/// A graph of random layers at odd sizes: branches, layers that nobody needs, flattened images beside features, any layer as
/// the output.
///
/// # Errors
/// As [`lenet5`].
pub fn any_graph(seed: u64, layers: usize) -> Result<Int8Model> {
    let mut random = Random::new(seed ^ 0x5eed);
    let mut up_to = |high: usize| random.between(1, high as i64) as usize;
    let mut b = Builder::new(seed, &[up_to(9), up_to(8), up_to(8)]);
    for _ in 0..layers {
        // The latest more often than others, so that graphs become deep.
        let known = b.last();
        let from = if up_to(2) == 1 { known } else { up_to(known + 1) - 1 };
        let activation = [Function::Identity, Function::Relu, Function::Relu6][up_to(3) - 1];
        let shape = b.model.layers[from].shape.clone();
        let alike: Vec<usize> = (0..=known).filter(|&id| b.model.layers[id].shape == shape).collect();
        let (op, flat) = (up_to(7), shape.len() == 1);
        match op {
            1 => drop(b.table(from, Function::HSwish)),
            2 => drop(b.add(from, alike[up_to(alike.len()) - 1], activation)),
            3 => drop(b.flatten(from)),
            _ if flat => drop(b.dense(from, up_to(19), 8, activation)),
            4 | 5 => {
                let groups = if up_to(3) == 1 { shape[0] } else { 1 };
                let kernel = [1, 2].map(|axis: usize| up_to(shape[axis].min(3)));
                let mut conv = ConvShape { kernel, groups, activation, ..ConvShape::square(1) };
                if up_to(2) == 1 {
                    conv = ConvShape { stride: [up_to(2), up_to(2)], ..conv.padded(1) };
                }
                b.conv(from, groups * if groups > 1 { 1 } else { up_to(19) }, conv);
            }
            _ => {
                let kernel = [1, 2].map(|axis: usize| up_to(shape[axis].min(3)));
                let stride = if up_to(2) == 1 { kernel } else { [up_to(3), up_to(3)] };
                let window = Window { kernel, stride, padding: [0, 0] };
                if op == 6 {
                    b.max_pool(from, window)
                } else {
                    b.avg_pool(from, window)
                };
            }
        }
    }
    b.model.output = up_to(b.last() + 1) - 1;
    b.finish()
}
