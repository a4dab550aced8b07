//! From sums to codes, prepared for the inner loops.

use super::lanes::LANES;
use crate::deploy::{Layer, Multiplier};

/// Codes that a layer gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The code of 0.
    pub zero: i16,
    /// The lowest code.
    pub low: i16,
    /// The highest code.
    pub high: i16,
}

impl Ends {
    pub fn of(layer: &Layer) -> Ends {
        let [low, high] = layer.ends().map(i16::from);
        Ends { zero: layer.grid.zero_point.into(), low, high }
    }

    /// A rounded sum's code.
    fn code(self, rounded: i32) -> i8 {
        rounded.saturating_add(self.zero.into()).clamp(self.low.into(), self.high.into()) as i8
    }
}

/// Multipliers of eight outputs. Numbers of 64 bits stand in two rows: those of the even lanes and those of the odd, as
/// vectors multiply them.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub mantissa: [[u64; LANES / 2]; 2],
    pub shift: [[u64; LANES / 2]; 2],
    /// 2^(shift - 1): added before the shift, it rounds.
    pub half: [[u64; LANES / 2]; 2],
    /// The lowest magnitude of a sum that lies [`BEYOND`] all codes. Higher ones are cut off, which changes no code and keeps
    /// what is rounded below 2^31.
    pub cap: [u32; LANES],
}

/// Farther than any code is from any zero point.
const BEYOND: u128 = 512;

impl Rule {
    /// For up to eight outputs.
    pub fn new(multipliers: &[Multiplier]) -> Rule {
        let of = |lane: usize| multipliers.get(lane).copied().unwrap_or(Multiplier { mantissa: 0, shift: 1 });
        let wide = |number: fn(Multiplier) -> u64| {
            [0, 1].map(|odd| std::array::from_fn(|pair| number(of(2 * pair + odd))))
        };
        let cap = |Multiplier { mantissa, shift }: Multiplier| match mantissa {
            0 => 1 << 31,
            _ => (BEYOND << shift).div_ceil(mantissa.into()).min(1 << 31) as u32,
        };
        Rule {
            mantissa: wide(|m| m.mantissa.into()),
            shift: wide(|m| m.shift.into()),
            half: wide(|m| 1 << (m.shift - 1)),
            cap: std::array::from_fn(|lane| cap(of(lane))),
        }
    }

    /// What [`Multiplier::apply`] and [`Ends`] make of a sum.
    pub fn code(&self, lane: usize, sum: i32, ends: Ends) -> i8 {
        let (odd, pair) = (lane % 2, lane / 2);
        let product = u64::from(sum.unsigned_abs().min(self.cap[lane])) * self.mantissa[odd][pair];
        let rounded = ((product + self.half[odd][pair]) >> self.shift[odd][pair]) as i32;
        ends.code(if sum < 0 { -rounded } else { rounded })
    }
}

/// What adds up two layers' codes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SumRule {
    pub mantissa: [u32; 2],
    /// Of both.
    pub shift: u32,
    /// Zero points of both.
    pub zeros: [i16; 2],
    pub ends: Ends,
}

impl SumRule {
    /// A shift makes the product of 31 bits and a distance of up to 255, added to another, less than 2^31.
    pub fn fits_32_bits(&self) -> bool {
        self.shift >= 9
    }

    pub fn code(&self, a: i8, b: i8) -> i8 {
        let product = |code: i8, which: usize| {
            i64::from(i16::from(code) - self.zeros[which]) * i64::from(self.mantissa[which])
        };
        let multiplier = Multiplier { mantissa: self.mantissa[0], shift: self.shift };
        self.ends.code(multiplier.round(product(a, 0) + product(b, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::cpu::lanes::{Lanes, Strided, Sums};

    const ALL: Ends = Ends { zero: 0, low: -128, high: 127 };

    /// Over 2^shift, half away from zero, in 128 bits.
    fn exact(sum: i32, Multiplier { mantissa, shift }: Multiplier) -> i128 {
        let product = i128::from(sum) * i128::from(mantissa);
        let magnitude = (2 * product.abs() + (1 << shift)) >> (shift + 1);
        product.signum() * magnitude
    }

    /// Ten million sums and multipliers, random ones and those at the ends, through `Multiplier` and through vectors.
    #[test]
    fn ten_million_sums_get_the_exact_codes() {
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut random = move || {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        let forms = [Lanes::Plain, Lanes::detect()];
        for round in 0..20_000 {
            let multipliers: [Multiplier; LANES] = std::array::from_fn(|lane| {
                let mantissa = match random() % 8 {
                    0 => 1 << 30,
                    1 => u32::MAX >> 1,
                    2 if lane == 0 => 0,
                    _ => (1 << 30) | (random() >> 34) as u32,
                };
                Multiplier { mantissa, shift: 1 + (random() % 62) as u32 }
            });
            let ends = Ends { zero: (random() % 256) as i16 - 128, ..ALL };
            let rule = Rule::new(&multipliers);
            let sums: Vec<Sums> = (0..63)
                .map(|_| {
                    Sums(std::array::from_fn(|lane| {
                        let Multiplier { mantissa, shift } = multipliers[lane];
                        // The sum that lies nearest to the middle between two codes, and its neighbours.
                        let middle = (2 * (random() % 300) as i128 - 299) << shift;
                        let edge = middle / (2 * i128::from(mantissa.max(1)));
                        match random() % 8 {
                            0 => [i32::MIN, i32::MIN + 1, i32::MAX, 0, 1, -1][(random() % 6) as usize],
                            1..=4 => (edge + (random() % 3) as i128 - 1)
                                .clamp(i32::MIN.into(), i32::MAX.into())
                                as i32,
                            n => (random() as i32) >> (random() % (8 * n)).min(31),
                        }
                    }))
                })
                .collect();
            let mut expected = Vec::new();
            for sums in &sums {
                for (&sum, multiplier) in sums.0.iter().zip(multipliers) {
                    let exact = exact(sum, multiplier);
                    let held = exact.clamp(i32::MIN.into(), i32::MAX.into());
                    assert_eq!(i128::from(multiplier.apply(sum)), held, "{sum} {multiplier:?}");
                    let code = (exact + i128::from(ends.zero)).clamp(-128, 127);
                    expected.push(code as i8);
                }
            }
            for lanes in forms {
                let mut codes = vec![99; expected.len()];
                let out = Strided { codes: &mut codes, stride: LANES, lanes: LANES };
                lanes.requantize(&sums, 1, &rule, ends, out);
                assert_eq!(codes, expected, "{lanes:?}, round {round}, {multipliers:?}");
            }
        }
    }

    #[test]
    fn sums_of_two_codes_get_the_exact_codes_in_vectors() {
        let codes: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        // Up to factors whose products pass 32 bits.
        for (factors, zeros) in [
            ([0.5, 0.5], [0, 0]),
            ([0.731, 0.0123], [-128, 127]),
            ([1.0, 1.0], [3, -7]),
            ([2f64.powi(22), 1.0], [5, 5]),
            ([2f64.powi(-33), 2f64.powi(-34)], [0, 0]),
            ([2f64.powi(29), 2f64.powi(29)], [-128, 127]),
        ] {
            let [a, b] = Multiplier::sharing(factors).unwrap();
            let ends = Ends { zero: -3, low: -100, high: 120 };
            let rule = SumRule { mantissa: [a.mantissa, b.mantissa], shift: a.shift, zeros, ends };
            for (&left, right) in codes.iter().zip(codes.iter().cycle().skip(77)) {
                // One more than whole vectors.
                let (left, right) = (vec![left; codes.len() + 1], [&codes[..], &[*right]].concat());
                let expected: Vec<i8> = left
                    .iter()
                    .zip(&right)
                    .map(|(&l, &r)| {
                        let product = i128::from(i16::from(l) - zeros[0]) * i128::from(a.mantissa)
                            + i128::from(i16::from(r) - zeros[1]) * i128::from(b.mantissa);
                        let rounded =
                            product.signum() * ((2 * product.abs() + (1 << a.shift)) >> (a.shift + 1));
                        (rounded - 3).clamp(-100, 120) as i8
                    })
                    .collect();
                for lanes in [Lanes::Plain, Lanes::detect()] {
                    let mut sums = vec![99; left.len()];
                    lanes.add(&left, &right, &rule, &mut sums);
                    assert_eq!(sums, expected, "{lanes:?} {factors:?}");
                }
            }
        }
    }
}
