//! From sums to codes: products of 63 bits, rounded once, in shaders that have 32 bits.

use super::super::{Case, Trial};
use super::models::Random;
use crate::kernel::int8::{self, Codes, Factor, Target};
use crate::shader::SOURCES;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

pub(super) const CASES: &[Case] = &[
    Case::new(super::FAMILY, "products are rounded as in 128 bits", products),
    Case::new(super::FAMILY, "sums of two products are rounded once", two_products).on_both(),
];

/// A product over 2^shift, halves away from zero.
fn rounded(product: i128, shift: u32) -> i128 {
    product.signum() * ((product.abs() + (1 << (shift - 1))) >> shift)
}

/// Every pair of ends with every shift, then sums of every size.
fn products(t: &mut Trial<'_>) -> Result<()> {
    const COUNT: usize = 1 << 20;
    let ends = [
        0,
        1,
        -1,
        2,
        3,
        -3,
        i32::MIN,
        i32::MIN + 1,
        i32::MAX,
        i32::MAX - 1,
        1 << 16,
        -(1 << 16),
        0xffff,
        1 << 30,
    ];
    let mantissas = [
        0,
        1 << 30,
        (1 << 30) + 1,
        (1 << 31) - 1,
        (1 << 31) - 2,
        0x5555_5555,
        0x7fff_0000,
        0x4000_ffff,
        1,
        0xffff,
    ];
    let mut random = Random::new(12);
    let pairs = ends.len() * mantissas.len() * 62;
    let (mut sums, mut factors, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..COUNT {
        let (sum, mantissa, shift) = if place < pairs {
            let rest = place / ends.len();
            (ends[place % ends.len()], mantissas[rest % mantissas.len()], (rest / mantissas.len() + 1) as u32)
        } else {
            let bits = random.bits();
            let sum = (bits >> 32) as i32 >> (bits & 31);
            (sum, (1 << 30) | (random.bits() >> 34) as u32, (bits >> 5) as u32 % 62 + 1)
        };
        sums.push(sum as u32);
        factors.push(mantissa);
        shifts.push(shift);
    }
    let expected: Vec<i32> = (0..COUNT)
        .map(|k| {
            let product = i128::from(sums[k] as i32) * i128::from(factors[k]);
            rounded(product, shifts[k]).clamp(i32::MIN.into(), i32::MAX.into()) as i32
        })
        .collect();
    let found: Vec<i32> = rescale(t, &sums, &factors, &shifts)?.into_iter().map(|word| word as i32).collect();
    t.same("sums times mantissas over powers of two", &found, &expected)
}

/// The requantizer's own shader text in a kernel that does nothing else.
fn rescale(t: &Trial<'_>, sums: &[u32], mantissas: &[u32], shifts: &[u32]) -> Result<Vec<u32>> {
    let source = SOURCES.iter().find(|(path, _)| *path == "deploy/requantize.wgsl").map(|(_, text)| *text);
    let source = source
        .ok_or_else(|| Error::Mismatch("deploy/requantize.wgsl is not in the table of sources".into()))?;
    let text = format!(
        "{source}
@group(0) @binding(0) var<storage, read> sums: array<vec4<i32>>;
@group(0) @binding(1) var<storage, read> mantissas: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> shifts: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> rescaled: array<vec4<i32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
  if (id.x < arrayLength(&rescaled)) {{ rescaled[id.x] = rescale(sums[id.x], mantissas[id.x], shifts[id.x]); }}
}}"
    );
    let output = Tensor::empty(t.gpu(), [sums.len()], DType::U32)?;
    t.gpu()
        .launch_source("requantize", &text)
        .bind(t.words(sums)?.buffer())
        .bind(t.words(mantissas)?.buffer())
        .bind(t.words(shifts)?.buffer())
        .bind(output.buffer())
        .threads(sums.len() as u64 / 4, 64)?;
    output.read_u32()
}

/// Every code with every other, in factors of any two sizes.
fn two_products(t: &mut Trial<'_>) -> Result<()> {
    let pairs: Vec<(i8, i8)> =
        (i8::MIN..=i8::MAX).flat_map(|a| (i8::MIN..=i8::MAX).map(move |b| (a, b))).collect();
    let left: Vec<i8> = pairs.iter().map(|pair| pair.0).collect();
    let right: Vec<i8> = pairs.iter().map(|pair| pair.1).collect();
    let mut random = Random::new(3);
    for round in 0..36 {
        let large = [1 << 30, (1 << 31) - 1, (1 << 30) + (random.bits() >> 34) as u32][round % 3];
        let small = [large, 0, 1, large >> (random.bits() % 31)][round % 4];
        let shift = [1, 62, 31, 32, 33, random.between(1, 62) as u32][round % 6];
        let factors = [large, small].map(|mantissa| Factor { mantissa, shift });
        let mut code = || random.between(-128, 127) as i8;
        let zero_points = if round % 5 == 0 { [i8::MIN, i8::MAX] } else { [code(), code()] };
        let target = Target { zero_point: code(), ends: [-128, 127] };
        let shape = [1, 256, 16, 16];
        let a = Codes::upload(t.gpu(), shape, &left)?;
        let b = Codes::upload(t.gpu(), shape, &right)?;
        let found = int8::add([&a, &b], zero_points, factors, target)?.read()?;
        let expected: Vec<i8> = pairs
            .iter()
            .map(|&(a, b)| {
                let apart = |code: i8, zero_point: i8| i128::from(code) - i128::from(zero_point);
                let product = apart(a, zero_points[0]) * i128::from(large)
                    + apart(b, zero_points[1]) * i128::from(small);
                (rounded(product, shift) + i128::from(target.zero_point)).clamp(-128, 127) as i8
            })
            .collect();
        t.same(format_args!("zero points {zero_points:?}, {factors:?}"), &found, &expected)?;
    }
    Ok(())
}
