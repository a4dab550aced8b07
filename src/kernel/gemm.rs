//! Matrix products.

use super::catalogue::Entry;
use super::extent;
use super::plan::{self, GemmShape, Machine, Plan};
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Which operand is transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// [M, K] [K, N]
    NN,
    /// [M, K] [N, K]^T
    NT,
    /// [K, M]^T [K, N]
    TN,
}

/// What is done to each result before it is stored.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// Added to each column of a matrix, or each channel of an image.
    pub bias: Option<&'a Tensor>,
    /// Negative results become 0.
    pub relu: bool,
}

impl Epilogue<'_> {
    /// Nothing.
    pub const NONE: Epilogue<'static> = Epilogue { bias: None, relu: false };

    pub(super) fn checked(&self, length: usize) -> Result<plan::Epilogue> {
        if let Some(bias) = self.bias {
            bias.expect(DType::F32)?;
        }
        if let Some(bias) = self.bias.filter(|b| b.count() != length) {
            let shape = bias.shape();
            return Err(Error::Shape(format!("a bias of shape {shape} does not fit {length} outputs")));
        }
        Ok(plan::Epilogue { bias: self.bias.is_some(), relu: self.relu })
    }
}

/// Which family of kernels suits the device.
pub(super) fn machine(gpu: &Gpu) -> Machine {
    match gpu.caps().subgroup_size {
        Some(lanes) if gpu.caps().prefers_broadcast() => Machine::Vector { lanes, workers: plan::WORKERS },
        _ => Machine::Gpu,
    }
}

/// The product of two matrices in the given form, with an epilogue: [M, N].
///
/// # Errors
/// Where the shapes do not fit, or the device has failed.
pub fn gemm(form: Form, a: &Tensor, b: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
    let [a0, a1] = a.shape().matrix("the left factor")?;
    let [b0, b1] = b.shape().matrix("the right factor")?;
    let (m, k, k_right, n) = match form {
        Form::NN => (a0, a1, b0, b1),
        Form::NT => (a0, a1, b1, b0),
        Form::TN => (a1, a0, b0, b1),
    };
    if k != k_right || [m, n, k].contains(&0) {
        return Err(Error::Shape(format!(
            "matrices of shapes {} and {} do not multiply in the form {form:?}",
            a.shape(),
            b.shape()
        )));
    }
    a.expect(DType::F32)?;
    b.expect(DType::F32)?;
    let shape = GemmShape {
        m: extent(m, "the number of rows")?,
        n: extent(n, "the number of columns")?,
        k: extent(k, "the inner extent")?,
        transpose_a: form == Form::TN,
        transpose_b: form == Form::NT,
    };
    let own = epilogue.checked(n)?;
    let y = Tensor::empty(a.gpu(), [m, n], DType::F32)?;
    let plan = a.gpu().memo((shape, own, machine(a.gpu())), |(s, e, m)| plan::gemm(s, *e, *m));
    run(&plan, [a, b], epilogue.bias, &y)?;
    Ok(y)
}

/// Runs a plan: its kernel, and the second pass where the sum was cut into shares.
pub(super) fn run(plan: &Plan, inputs: [&Tensor; 2], bias: Option<&Tensor>, output: &Tensor) -> Result<()> {
    let gpu = output.gpu();
    let parts = match plan.scratch {
        0 => None,
        values => Some(gpu.alloc(u64::from(values) * 4)?),
    };
    let first_output = parts.as_ref().unwrap_or(output.buffer());
    let mut launch = gpu.launch(plan.main.spec.clone());
    for input in inputs {
        launch = launch.bind(input.buffer());
    }
    if let (Some(bias), None) = (bias, &plan.reduce) {
        launch = launch.bind(bias.buffer());
    }
    launch.bind(first_output).param_bytes(&plan.main.params).groups(plan.main.workgroups)?;
    if let (Some(reduce), Some(parts)) = (&plan.reduce, &parts) {
        let mut launch = gpu.launch(reduce.spec.clone()).bind(parts);
        if let Some(bias) = bias {
            launch = launch.bind(bias.buffer());
        }
        launch.bind(output.buffer()).param_bytes(&reduce.params).groups(reduce.workgroups)?;
    }
    Ok(())
}

pub(super) fn variants() -> Vec<Entry> {
    plan::gemm_variants()
}
