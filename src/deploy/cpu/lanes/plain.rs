//! In plain Rust, written so that compilers find vectors in it.

use super::{Pairs, Reading, Strided, Sums};
use crate::deploy::cpu::rule::{Ends, Rule, SumRule};

pub(super) fn products(from: &Reading, weights: &[Pairs], bias: &[Sums], sums: &mut [Sums]) {
    let blocks = bias.iter().zip(weights.chunks(from.steps.len()));
    for ((bias, weights), sums) in blocks.zip(sums.chunks_mut(from.places.len())) {
        for (&place, sum) in from.places.iter().zip(sums) {
            let x = &from.x[place as usize + from.channel..];
            *sum = *bias;
            for (&step, weights) in from.steps.iter().zip(weights) {
                let pair = [x[step as usize], x[step as usize + 1]].map(i32::from);
                for (sum, w) in sum.0.iter_mut().zip(weights.0.chunks_exact(2)) {
                    *sum = sum.wrapping_add(pair[0] * i32::from(w[0]) + pair[1] * i32::from(w[1]));
                }
            }
        }
    }
}

pub(super) fn channelwise(from: &Reading, weights: &[Pairs], bias: &Sums, sums: &mut [Sums]) {
    for (&place, sum) in from.places.iter().zip(sums) {
        let x = &from.x[place as usize + from.channel..];
        *sum = *bias;
        for (&step, weights) in from.steps.iter().zip(weights) {
            let x = &x[step as usize..];
            for ((sum, w), &x) in sum.0.iter_mut().zip(weights.0.chunks_exact(2)).zip(x) {
                *sum = sum.wrapping_add(i32::from(x) * i32::from(w[0]));
            }
        }
    }
}

pub(super) fn requantize(sums: &[Sums], area: usize, rule: &Rule, ends: Ends, out: Strided<'_>) {
    for (sums, codes) in sums.chunks(area).zip(out.codes.chunks_mut(out.stride)) {
        for (lane, code) in codes[..out.lanes].iter_mut().enumerate() {
            let sum = sums.iter().fold(i32::MIN, |most, sums| most.max(sums.0[lane]));
            *code = rule.code(lane, sum, ends);
        }
    }
}

#[inline(always)]
pub(super) fn add(a: &[i8], b: &[i8], rule: &SumRule, codes: &mut [i8]) {
    for ((&a, &b), code) in a.iter().zip(b).zip(codes) {
        *code = rule.code(a, b);
    }
}

#[inline(always)]
pub(super) fn widen(codes: &[i8], wide: &mut [i16]) {
    for (&code, wide) in codes.iter().zip(wide) {
        *wide = code.into();
    }
}

#[inline(always)]
pub(super) fn raise(most: &mut [i8], codes: &[i8]) {
    for (most, &code) in most.iter_mut().zip(codes) {
        *most = code.max(*most);
    }
}
