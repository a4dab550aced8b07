//! Which kernel, tile and dispatch a product or a convolution of given shape gets. Pure arithmetic: it knows no
//! device, so it can be tested without one.
//!
//! Two families. [`Machine::Vector`] is an adapter whose subgroup is one vector of a CPU (lavapipe): loads are dear,
//! broadcasts nearly free. [`Machine::Gpu`] is everything else.

mod conv;
mod conv_tile;
mod conv_vector;
mod cost;
mod fetch;
mod gemm;

pub(super) use conv::{conv_forward, conv_input_grad, conv_variants, conv_weight_grad};
pub(super) use gemm::{GemmShape, gemm, gemm_variants};

use super::catalogue::{Entry, entry};
use super::params::{Block, params};
use crate::gpu::VECTOR_LANES;
use crate::shader::{Constant, ShaderSpec};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// `lanes` per subgroup, `workers` CPU threads running workgroups.
    Vector {
        lanes: u32,
        workers: u32,
    },
    Gpu,
}

impl Machine {
    /// One for each kind of kernels, for the catalogue.
    pub fn kinds() -> impl Iterator<Item = Machine> {
        let vectors = VECTOR_LANES.map(|lanes| Machine::Vector { lanes, workers: WORKERS });
        vectors.into_iter().chain([Machine::Gpu])
    }
}

/// Threads that a CPU adapter is planned for. A constant, since how a sum is cut decides about its last bits, and
/// those may not depend on how many processors a process is allowed; measured with two.
pub const WORKERS: u32 = 2;

/// A convolution in numbers; [y, x] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    pub n: u32,
    pub c: u32,
    pub h: u32,
    pub w: u32,
    pub oc: u32,
    pub kh: u32,
    pub kw: u32,
    /// Height and width of the output.
    pub out: [u32; 2],
    pub stride: [u32; 2],
    /// Rows of zeros above, columns left. What lies below and right follows from the output.
    pub pad: [u32; 2],
    pub dilation: [u32; 2],
    pub groups: u32,
}

impl ConvShape {
    pub fn taps(&self) -> u32 {
        self.kh * self.kw
    }
    pub fn in_per_group(&self) -> u32 {
        self.c / self.groups
    }
    pub fn out_per_group(&self) -> u32 {
        self.oc / self.groups
    }
    pub fn weights(&self) -> u32 {
        self.oc * self.in_per_group() * self.taps()
    }
}

/// What a kernel does to each result before storing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epilogue {
    pub bias: bool,
    pub relu: bool,
}

type Constants = Vec<(&'static str, Constant)>;

/// Template constants by the names of the variables that hold them.
macro_rules! constants {
    ($($name:ident $(: $value:expr)?),* $(,)?) => { vec![$((stringify!($name), constants!(@ $name $(: $value)?).into())),*] };
    (@ $name:ident) => { $name };
    (@ $name:ident : $value:expr) => { $value };
}

use constants;

/// One dispatch: a shader with its constants, and the numbers that stay data.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub spec: ShaderSpec,
    pub workgroups: [u32; 3],
    /// The bytes of the kernel's `Params`; empty where it has none.
    pub params: Vec<u8>,
    /// Names and offsets of its fields.
    layout: &'static [(&'static str, usize)],
}

fn dispatch<P: Block>(file: &'static str, constants: Constants, workgroups: [u32; 3], params: P) -> Dispatch {
    let spec =
        constants.into_iter().fold(ShaderSpec::new(file), |spec, (name, value)| spec.with(name, value));
    Dispatch { spec, workgroups, params: params.bytes(), layout: P::LAYOUT }
}

/// A kernel and, where its sum is cut into shares, the second pass that adds the parts up in a fixed order.
#[derive(Clone, Debug)]
pub struct Plan {
    pub main: Dispatch,
    /// f32 values of scratch that `main` writes and `reduce` reads; 0 when `main` writes the result itself.
    pub scratch: u32,
    pub reduce: Option<Dispatch>,
}

impl From<Dispatch> for Plan {
    fn from(main: Dispatch) -> Self {
        Plan { main, scratch: 0, reduce: None }
    }
}

impl Plan {
    fn entries(self) -> impl Iterator<Item = Entry> {
        [Some(self.main), self.reduce].into_iter().flatten().map(|d| entry(d.spec, d.layout))
    }
}

params!(SumPartsParams { length: u32, count: u32 });

/// `columns`: what the bias, if any, runs over; each of its values is for `inner` results in a row.
fn with_reduction(
    main: Dispatch,
    length: u32,
    count: u32,
    epilogue: Epilogue,
    [columns, inner]: [u32; 2],
) -> Plan {
    if count == 1 {
        return main.into();
    }
    let threads = 64u32;
    let reduce = dispatch(
        "common/sum_parts.wgsl",
        constants! { threads, bias: epilogue.bias, relu: epilogue.relu, columns, inner },
        [length.div_ceil(threads).min(65_535), 1, 1],
        SumPartsParams { length, count },
    );
    Plan { main, scratch: length * count, reduce: Some(reduce) }
}
