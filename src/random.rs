//! Counter-based random numbers: value `i` of a stream is a function of (seed, stream, i) alone, so nothing
//! has to be saved to go on where one stopped, and the order of threads changes nothing.
//!
//! Philox4x32-10, from Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". The same function in
//! WGSL is `shaders/random/philox.wgsl`; both give the same bits.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Philox {
    seed: u64,
    stream: u64,
    next: u64,
    /// The second of a pair of normals.
    spare: Option<f32>,
}

impl Philox {
    /// Stream number `stream` of `seed`, from its beginning.
    pub fn new(seed: u64, stream: u64) -> Self {
        Philox { seed, stream, next: 0, spare: None }
    }

    /// Four random words for a counter: the generator itself.
    pub fn block(seed: u64, stream: u64, index: u64) -> [u32; 4] {
        let mut key = [seed as u32, (seed >> 32) as u32];
        let mut c = [index as u32, (index >> 32) as u32, stream as u32, (stream >> 32) as u32];
        for _ in 0..ROUNDS {
            let [a, b] =
                [u64::from(c[0]) * u64::from(MULTIPLIERS[0]), u64::from(c[2]) * u64::from(MULTIPLIERS[1])];
            c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
            key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
        }
        c
    }

    /// The next word.
    pub fn next_u32(&mut self) -> u32 {
        let word = Philox::block(self.seed, self.stream, self.next / 4)[(self.next % 4) as usize];
        self.next += 1;
        word
    }

    /// Uniform in [0, 1), with 24 random bits.
    pub fn uniform(&mut self) -> f32 {
        unit(self.next_u32())
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller 1958). They come in pairs from two words,
    /// as on the device.
    pub fn normal(&mut self) -> f32 {
        if let Some(second) = self.spare.take() {
            return second;
        }
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * f64::from(self.uniform())).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }

    /// Uniform in 0..n, without the bias of a remainder (Lemire 2019, arXiv 1805.10941).
    pub fn below(&mut self, n: u32) -> u32 {
        let n = n.max(1);
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u64::from(self.next_u32()) * u64::from(n);
            if wide as u32 >= threshold {
                return (wide >> 32) as u32;
            }
        }
    }

    /// The numbers 0..n in random order (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u32 + 1) as usize);
        }
        order
    }
}

/// A word as a number in [0, 1).
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 with 10 rounds).
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(Philox::block(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = u64::MAX;
        assert_eq!(Philox::block(ones, ones, ones), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn a_permutation_has_every_number_once_and_depends_on_its_stream() {
        let a = Philox::new(7, 1).permutation(1000);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &v)| i as u32 == v));
        assert_ne!(a, Philox::new(7, 2).permutation(1000));
        assert_eq!(a, Philox::new(7, 1).permutation(1000));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut r = Philox::new(1, 0);
        let values: Vec<f32> = (0..100_000).map(|_| r.normal()).collect();
        let mean = values.iter().sum::<f32>() / 1e5;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 1e5;
        // Standard errors: 1/sqrt(1e5) = 0.003 and sqrt(2/1e5) = 0.0045; four of each.
        assert!(mean.abs() < 0.013 && (variance - 1.0).abs() < 0.018, "{mean} {variance}");
    }
}
