//! With AVX2. Not with `maddubs`, whose sums of two products saturate: codes are widened, and `madd` is exact.

use std::arch::x86_64::*;

use super::{LANES, Pairs, Reading, Strided, Sums, plain};
use crate::deploy::cpu::rule::{Ends, Rule, SumRule};

/// Places that share one reading of the weights: with two blocks, their sums and what feeds them fill the 16 registers.
const PLACES: usize = 6;

#[target_feature(enable = "avx2")]
pub(super) fn products(from: &Reading, weights: &[Pairs], bias: &[Sums], sums: &mut [Sums]) {
    from.check(2);
    let count = from.places.len();
    let mut block = 0;
    while block < bias.len() {
        // One place alone is fed by its weights: more blocks share a reading of it.
        let most = if count == 1 { 4 } else { 2 };
        let blocks = most.min(bias.len() - block);
        let (weights, bias) = (&weights[block * from.steps.len()..], &bias[block..]);
        let sums = &mut sums[block * count..];
        for first in (0..count).step_by(PLACES) {
            match (blocks, PLACES.min(count - first)) {
                (1, 1) => tile::<1, 1>(from, weights, bias, sums, first),
                (1, 2) => tile::<2, 1>(from, weights, bias, sums, first),
                (1, 3) => tile::<3, 1>(from, weights, bias, sums, first),
                (1, 4) => tile::<4, 1>(from, weights, bias, sums, first),
                (1, 5) => tile::<5, 1>(from, weights, bias, sums, first),
                (1, _) => tile::<PLACES, 1>(from, weights, bias, sums, first),
                (2, 1) => tile::<1, 2>(from, weights, bias, sums, first),
                (2, 2) => tile::<2, 2>(from, weights, bias, sums, first),
                (2, 3) => tile::<3, 2>(from, weights, bias, sums, first),
                (2, 4) => tile::<4, 2>(from, weights, bias, sums, first),
                (2, 5) => tile::<5, 2>(from, weights, bias, sums, first),
                (2, _) => tile::<PLACES, 2>(from, weights, bias, sums, first),
                (3, _) => tile::<1, 3>(from, weights, bias, sums, first),
                (_, _) => tile::<1, 4>(from, weights, bias, sums, first),
            }
        }
        block += blocks;
    }
}

/// `P` places from number `first` on, of `B` blocks.
#[target_feature(enable = "avx2")]
fn tile<const P: usize, const B: usize>(
    from: &Reading,
    weights: &[Pairs],
    bias: &[Sums],
    sums: &mut [Sums],
    first: usize,
) {
    let (steps, count) = (from.steps.len(), from.places.len());
    let places: &[u32; P] = from.places[first..].first_chunk().expect("a tile ends before the places do");
    assert!(weights.len() >= B * steps && bias.len() >= B);
    let mut at = [from.x.as_ptr(); P];
    for p in 0..P {
        at[p] = at[p].wrapping_add(places[p] as usize + from.channel);
    }
    let mut start = [_mm256_setzero_si256(); B];
    for (start, bias) in start.iter_mut().zip(bias) {
        *start = load_sums(bias);
    }
    let mut acc = [start; P];
    for (k, &step) in from.steps.iter().enumerate() {
        let mut w = [_mm256_setzero_si256(); B];
        for (b, w) in w.iter_mut().enumerate() {
            // SAFETY: there are `B * steps` weights (asserted), and `k` is less than `steps`.
            *w = load_pairs(unsafe { weights.get_unchecked(b * steps + k) });
        }
        for p in 0..P {
            // SAFETY: the pair at the last step of the last place ends in `x` (`Reading::check`).
            let pair = unsafe { at[p].add(step as usize).cast::<i32>().read_unaligned() };
            let x = _mm256_set1_epi32(pair);
            for b in 0..B {
                acc[p][b] = _mm256_add_epi32(acc[p][b], _mm256_madd_epi16(x, w[b]));
            }
        }
    }
    for b in 0..B {
        for p in 0..P {
            store_sums(&mut sums[b * count + first + p], acc[p][b]);
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn channelwise(from: &Reading, weights: &[Pairs], bias: &Sums, sums: &mut [Sums]) {
    from.check(LANES);
    for (places, sums) in from.places.chunks(PLACES).zip(sums.chunks_mut(PLACES)) {
        match places.len() {
            1 => channels::<1>(from, weights, bias, places, sums),
            2 => channels::<2>(from, weights, bias, places, sums),
            3 => channels::<3>(from, weights, bias, places, sums),
            4 => channels::<4>(from, weights, bias, places, sums),
            5 => channels::<5>(from, weights, bias, places, sums),
            _ => channels::<PLACES>(from, weights, bias, places, sums),
        }
    }
}

#[target_feature(enable = "avx2")]
fn channels<const P: usize>(
    from: &Reading,
    weights: &[Pairs],
    bias: &Sums,
    places: &[u32],
    sums: &mut [Sums],
) {
    let places: &[u32; P] = places.first_chunk().expect("as many places");
    let mut at = [from.x.as_ptr(); P];
    for p in 0..P {
        at[p] = at[p].wrapping_add(places[p] as usize + from.channel);
    }
    let mut acc = [load_sums(bias); P];
    for (&step, weight) in from.steps.iter().zip(weights) {
        let w = load_pairs(weight);
        for p in 0..P {
            // SAFETY: eight elements at the last step of the last place end in `x` (`Reading::check`).
            let x = unsafe { _mm_loadu_si128(at[p].add(step as usize).cast()) };
            // The upper half of a widened code meets a weight of 0.
            acc[p] = _mm256_add_epi32(acc[p], _mm256_madd_epi16(_mm256_cvtepi16_epi32(x), w));
        }
    }
    for p in 0..P {
        store_sums(&mut sums[p], acc[p]);
    }
}

/// In vectors what `Rule::code` says: magnitudes of even and of odd lanes are multiplied in 64 bits each.
#[target_feature(enable = "avx2")]
pub(super) fn requantize(sums: &[Sums], area: usize, rule: &Rule, ends: Ends, out: Strided<'_>) {
    let cap = load_lanes(&rule.cap);
    let mantissa = [load_wide(&rule.mantissa[0]), load_wide(&rule.mantissa[1])];
    let half = [load_wide(&rule.half[0]), load_wide(&rule.half[1])];
    let shift = [load_wide(&rule.shift[0]), load_wide(&rule.shift[1])];
    let ends = set_ends(ends);
    // Codes behind a lone block's are the next place's, and are overwritten by it.
    let whole = out.lanes == LANES || out.lanes == out.stride;
    for (place, sums) in sums.chunks_exact(area).enumerate() {
        let mut sum = load_sums(&sums[0]);
        for more in &sums[1..] {
            sum = _mm256_max_epi32(sum, load_sums(more));
        }
        let magnitude = _mm256_min_epu32(_mm256_abs_epi32(sum), cap);
        let even = _mm256_mul_epu32(magnitude, mantissa[0]);
        let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(magnitude), mantissa[1]);
        let even = _mm256_srlv_epi64(_mm256_add_epi64(even, half[0]), shift[0]);
        let odd = _mm256_srlv_epi64(_mm256_add_epi64(odd, half[1]), shift[1]);
        // Both are below 2^31 (`Rule::cap`).
        let rounded = _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd));
        let rounded = _mm256_sign_epi32(rounded, sum);
        let eight = narrow(rounded, ends);
        let codes = &mut out.codes[place * out.stride..];
        match codes.first_chunk_mut() {
            Some(codes) if whole => *codes = eight,
            _ => codes.iter_mut().zip(&eight[..out.lanes]).for_each(|(code, &one)| *code = one),
        }
    }
}

/// In vectors what `SumRule::code` says.
#[target_feature(enable = "avx2")]
pub(super) fn add(a: &[i8], b: &[i8], rule: &SumRule, codes: &mut [i8]) {
    if !rule.fits_32_bits() {
        return plain::add(a, b, rule, codes);
    }
    let mantissa = rule.mantissa.map(|mantissa| _mm256_set1_epi64x(i64::from(mantissa)));
    let zeros = rule.zeros.map(|zero| _mm256_set1_epi32(zero.into()));
    let half = _mm256_set1_epi64x(1i64 << (rule.shift - 1));
    let shift = _mm256_set1_epi64x(rule.shift.into());
    let ends = set_ends(rule.ends);
    let nothing = _mm256_setzero_si256();
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let (codes, codes_rest) = codes.as_chunks_mut::<LANES>();
    for ((a, b), codes) in a.iter().zip(b).zip(codes) {
        let a = _mm256_sub_epi32(_mm256_cvtepi8_epi32(load_codes(a)), zeros[0]);
        let b = _mm256_sub_epi32(_mm256_cvtepi8_epi32(load_codes(b)), zeros[1]);
        let halves = [(a, b), (_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b))];
        let mut rounded = [nothing; 2];
        for (rounded, (a, b)) in rounded.iter_mut().zip(halves) {
            let sum = _mm256_add_epi64(_mm256_mul_epi32(a, mantissa[0]), _mm256_mul_epi32(b, mantissa[1]));
            let sign = _mm256_cmpgt_epi64(nothing, sum);
            let magnitude = _mm256_sub_epi64(_mm256_xor_si256(sum, sign), sign);
            let magnitude = _mm256_srlv_epi64(_mm256_add_epi64(magnitude, half), shift);
            *rounded = _mm256_sub_epi64(_mm256_xor_si256(magnitude, sign), sign);
        }
        let rounded = _mm256_blend_epi32::<0b1010_1010>(rounded[0], _mm256_slli_epi64::<32>(rounded[1]));
        let eight = narrow(rounded, ends);
        *codes = eight;
    }
    plain::add(a_rest, b_rest, rule, codes_rest);
}

/// The plain loop, which compilers make these instructions of.
#[target_feature(enable = "avx2")]
pub(super) fn widen(codes: &[i8], wide: &mut [i16]) {
    plain::widen(codes, wide);
}

/// The plain loop, which compilers make these instructions of.
#[target_feature(enable = "avx2")]
pub(super) fn raise(most: &mut [i8], codes: &[i8]) {
    plain::raise(most, codes);
}

#[target_feature(enable = "avx2")]
fn load_pairs(pairs: &Pairs) -> __m256i {
    // SAFETY: these are 32 bytes, aligned to as many.
    unsafe { _mm256_load_si256((&raw const *pairs).cast()) }
}

#[target_feature(enable = "avx2")]
fn load_sums(sums: &Sums) -> __m256i {
    // SAFETY: these are 32 bytes, aligned to as many.
    unsafe { _mm256_load_si256((&raw const *sums).cast()) }
}

#[target_feature(enable = "avx2")]
fn store_sums(sums: &mut Sums, value: __m256i) {
    // SAFETY: these are 32 bytes, aligned to as many.
    unsafe { _mm256_store_si256((&raw mut *sums).cast(), value) }
}

#[target_feature(enable = "avx2")]
fn load_lanes(lanes: &[u32; LANES]) -> __m256i {
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_wide(lanes: &[u64; LANES / 2]) -> __m256i {
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_codes(codes: &[i8; LANES]) -> __m128i {
    _mm_cvtsi64_si128(i64::from_le_bytes(codes.map(|code| code as u8)))
}

/// Zero point, lowest and highest code.
#[target_feature(enable = "avx2")]
fn set_ends(ends: Ends) -> [__m128i; 3] {
    [_mm_set1_epi16(ends.zero), _mm_set1_epi16(ends.low), _mm_set1_epi16(ends.high)]
}

/// Codes of eight rounded sums. Narrowing saturates, and what 16 bits do not hold lies beyond the ends.
#[target_feature(enable = "avx2")]
fn narrow(rounded: __m256i, [zero, low, high]: [__m128i; 3]) -> [i8; LANES] {
    let words = _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256::<1>(rounded));
    let words = _mm_min_epi16(_mm_max_epi16(_mm_adds_epi16(words, zero), low), high);
    _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_le_bytes().map(|byte| byte as i8)
}
