use simqat::kernel::random::{Distribution, fill};
use simqat::tensor::random::Philox;

use super::common::{assert_close, gpu};

/// Seeds and streams with bits in both halves.
const STREAMS: [(u64, u64); 3] = [(0, 0), (7, 3), (0x0123_4567_89ab_cdef, 0xfedc_ba98_0000_0001)];

#[test]
fn uniform_numbers_are_the_hosts_to_the_bit() {
    for (seed, stream) in STREAMS {
        for count in [1, 2, 5, 256, 1001] {
            let y = fill(&gpu(), [count], Distribution::Uniform, seed, stream).unwrap().read_f32().unwrap();
            let mut host = Philox::new(seed, stream);
            let expected: Vec<f32> = (0..count).map(|_| host.uniform()).collect();
            assert_eq!(y, expected, "seed {seed}, stream {stream}");
            assert!(y.iter().all(|v| (0.0..1.0).contains(v)));
        }
    }
}

#[test]
fn normal_numbers_are_the_hosts_but_for_rounding() {
    for (seed, stream) in STREAMS {
        for count in [1, 3, 1001] {
            let y = fill(&gpu(), [count], Distribution::Normal, seed, stream).unwrap().read_f32().unwrap();
            let mut host = Philox::new(seed, stream);
            let expected: Vec<f32> = (0..count).map(|_| host.normal()).collect();
            // Vulkan: cosine and sine within 2^-11 absolute, the logarithm within 3 units; radius below 6.
            assert_close(&format!("seed {seed}, stream {stream}"), &y, &expected, 1e-4, 3e-3);
        }
    }
}
