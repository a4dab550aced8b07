use simqat::kernel::augment::{Source, gather};
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;

use super::common::{assert_close, gpu};
use super::{tensor, words};

struct Set {
    image: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
    order: Vec<u32>,
    normalization: Vec<f32>,
}

fn set(images: usize, image: [usize; 3]) -> Set {
    let mut random = Philox::new(9, 9);
    Set {
        image,
        pixels: (0..images * image.iter().product::<usize>()).map(|_| random.below(256) as u8).collect(),
        labels: (0..images as u32).map(|i| i * 3 % 10).collect(),
        order: random.permutation(images),
        normalization: (0..image[0]).flat_map(|c| [0.1 * (c + 1) as f32, 0.3 + 0.1 * c as f32]).collect(),
    }
}

/// Bilinear with half-pixel centres and repeated edges, in f64.
fn oracle(set: &Set, image: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let [channels, h, w] = set.image;
    let along = |place: usize, out: usize, extent: usize| {
        let at = ((place as f64 + 0.5) * extent as f64 / out as f64 - 0.5).max(0.0);
        let near = at as usize;
        (near, (near + 1).min(extent - 1), at - near as f64)
    };
    let mut all = Vec::new();
    for channel in 0..channels {
        let plane = &set.pixels[(image * channels + channel) * h * w..][..h * w];
        for y in 0..height {
            for x in 0..width {
                let (top, bottom, down) = along(y, height, h);
                let (left, right, across) = along(x, width, w);
                let row = |y: usize| {
                    f64::from(plane[y * w + left]) * (1.0 - across) + f64::from(plane[y * w + right]) * across
                };
                let value = row(top) * (1.0 - down) + row(bottom) * down;
                let [mean, deviation] = [0, 1].map(|i| f64::from(set.normalization[2 * channel + i]));
                all.push(((value / 255.0 - mean) / deviation) as f32);
            }
        }
    }
    all
}

fn check(set: &Set, number: usize, batch: usize, rows: usize, size: [usize; 2]) {
    let mut bytes = set.pixels.clone();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let packed: Vec<u32> = bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let source = Source {
        pixels: &words(&packed),
        labels: &words(&set.labels),
        order: &words(&set.order),
        progress: &words(&[number as u32, 0, 0]),
        image: set.image,
        normalization: &tensor([set.image[0], 2], &set.normalization),
    };
    let (images, labels) = gather(&source, batch, rows, size).unwrap();
    let picked: Vec<usize> = set.order[number * batch..][..rows].iter().map(|&i| i as usize).collect();
    assert_eq!(images.shape()[..], [rows, set.image[0], size[0], size[1]]);
    assert_eq!(labels.read_u32().unwrap(), picked.iter().map(|&i| set.labels[i]).collect::<Vec<_>>());
    let expected: Vec<f32> = picked.iter().flat_map(|&i| oracle(set, i, size)).collect();
    // Places on the source plane are f32: off by a unit of a number below 32, times a step of 255 between
    // neighbours, over 255 and a deviation of at least 0.3.
    let what = format!("{:?} to {size:?}, batch {number}", set.image);
    assert_close(&what, &images.read_f32().unwrap(), &expected, 1e-5, 2e-5);
}

#[test]
fn digits_are_enlarged_to_the_size_of_the_network() {
    let set = set(7, [1, 28, 28]);
    check(&set, 0, 3, 3, [32, 32]);
    check(&set, 1, 3, 3, [32, 32]);
    check(&set, 2, 3, 1, [32, 32]); // the short last batch
}

#[test]
fn images_of_the_right_size_are_only_normalized() {
    let set = set(5, [3, 5, 7]); // an odd number of bytes
    check(&set, 0, 2, 2, [5, 7]);
    check(&set, 2, 2, 1, [5, 7]);
}

#[test]
fn channels_are_resized_apart_and_both_ways() {
    let set = set(4, [3, 9, 6]);
    check(&set, 1, 2, 2, [13, 17]);
    check(&set, 0, 2, 2, [4, 5]); // smaller
    check(&set, 0, 1, 1, [9, 7]); // along one axis
}

#[test]
fn a_normalization_for_other_channels_is_refused() {
    let one = words(&[0]);
    let normalization = Tensor::full(&gpu(), [1, 2], 1.0).unwrap();
    let source = Source {
        pixels: &one,
        labels: &one,
        order: &one,
        progress: &one,
        image: [3, 1, 1],
        normalization: &normalization,
    };
    let error = gather(&source, 1, 1, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[1, 2]"), "{error}");
}
