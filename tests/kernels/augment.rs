use simqat::kernel::augment::{Source, gather, unpack};
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;

use super::common::{assert_close, gpu};
use super::{tensor, words};

struct Set {
    image: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
    order: Vec<u32>,
    /// For each place of the order: first row and column of the part, and whether it is mirrored.
    places: Vec<(i32, i32, bool)>,
    part: Option<[usize; 2]>,
    normalization: Vec<f32>,
}

/// Random images, taken whole.
fn set(images: usize, image: [usize; 3]) -> Set {
    let mut random = Philox::new(9, 9);
    Set {
        image,
        pixels: (0..images * image.iter().product::<usize>()).map(|_| random.below(256) as u8).collect(),
        labels: (0..images as u32).map(|i| i * 377 % 1000).collect(),
        order: random.permutation(images),
        places: vec![(0, 0, false); images],
        part: None,
        normalization: (0..image[0]).flat_map(|c| [0.1 * (c + 1) as f32, 0.3 + 0.1 * c as f32]).collect(),
    }
}

/// Random images, of which parts are taken that reach up to `pad` over the edges; every second one is mirrored.
fn set_with_parts(images: usize, image: [usize; 3], part: [usize; 2], pad: i32) -> Set {
    let mut random = Philox::new(9, 10);
    let mut place = |axis: usize| {
        let room = image[axis + 1] as i32 + 2 * pad - part[axis] as i32 + 1;
        random.below(room as u32) as i32 - pad
    };
    let places = (0..images).map(|i| (place(0), place(1), i % 2 == 1)).collect();
    Set { places, part: Some(part), ..set(images, image) }
}

/// The values of a line of `extent` that make up value `place` of `out`, with their weights: a triangle around the place's
/// half-pixel centre, as wide as a step of the coarser grid to both sides, as in Pillow's resize. Where it grows larger,
/// that is linear between two neighbours, edges repeated.
fn weights(place: usize, out: usize, extent: usize) -> Vec<(usize, f64)> {
    let scale = extent as f64 / out as f64;
    let reach = scale.max(1.0);
    let middle = (place as f64 + 0.5) * scale;
    let near = |at: usize| (at, (1.0 - (at as f64 + 0.5 - middle).abs() / reach).max(0.0));
    let near: Vec<_> = (0..extent).map(near).filter(|(_, weight)| *weight > 0.0).collect();
    let sum: f64 = near.iter().map(|(_, weight)| weight).sum();
    near.into_iter().map(|(at, weight)| (at, weight / sum)).collect()
}

/// The image at a place of the order, in f64.
fn oracle(set: &Set, place: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let [channels, h, w] = set.image;
    let (top, left, flip) = set.places[place];
    let [part_height, part_width] = set.part.unwrap_or([h, w]);
    let mut all = Vec::new();
    for channel in 0..channels {
        let plane = &set.pixels[(set.order[place] as usize * channels + channel) * h * w..][..h * w];
        let pixel = |y: usize, x: usize| {
            let (y, x) = (y as i32 + top, x as i32 + left);
            let inside = (0..h as i32).contains(&y) && (0..w as i32).contains(&x);
            if inside { f64::from(plane[y as usize * w + x as usize]) } else { 0.0 }
        };
        for y in 0..height {
            for x in 0..width {
                let x = if flip { width - 1 - x } else { x };
                let rows = weights(y, height, part_height);
                let columns = weights(x, width, part_width);
                let line = |y| columns.iter().map(|&(x, weight)| weight * pixel(y, x)).sum::<f64>();
                let value: f64 = rows.iter().map(|&(y, weight)| weight * line(y)).sum();
                let [mean, deviation] = [0, 1].map(|i| f64::from(set.normalization[2 * channel + i]));
                all.push(((value / 255.0 - mean) / deviation) as f32);
            }
        }
    }
    all
}

fn packed(bytes: &[u8]) -> Tensor {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
    words(&bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>())
}

fn check(set: &Set, number: usize, batch: usize, rows: usize, size: [usize; 2]) {
    check_split(set, set.labels.len(), number, batch, rows, size);
}

/// With the images from `first` on in a second buffer.
fn check_split(set: &Set, first: usize, number: usize, batch: usize, rows: usize, size: [usize; 2]) {
    let count = set.labels.len();
    let (head, rest) = set.pixels.split_at(first * set.image.iter().product::<usize>());
    let place = |place: usize| {
        let (image, (top, left, flip)) = (set.order[place], set.places[place]);
        [image, top as u32, left as u32, 2 * set.labels[image as usize] + u32::from(flip)]
    };
    let source = Source {
        pixels: [&packed(head), &packed(rest)],
        first,
        order: &words(&(0..count).flat_map(place).collect::<Vec<_>>()).reshape([count, 4]).unwrap(),
        progress: &words(&[number as u32, 0, 0]),
        image: set.image,
        part: set.part,
        normalization: &tensor([set.image[0], 2], &set.normalization),
    };
    let (images, labels) = gather(&source, batch, rows, size).unwrap();
    let places = number * batch..number * batch + rows;
    assert_eq!(images.shape()[..], [rows, set.image[0], size[0], size[1]]);
    let picked = set.order[places.clone()].iter().map(|&i| set.labels[i as usize]).collect::<Vec<_>>();
    assert_eq!(labels.read_u32().unwrap(), picked);
    let expected: Vec<f32> = places.flat_map(|place| oracle(set, place, size)).collect();
    // Places on the source plane are f32: off by a unit of a number below 32, times a step of 255 between
    // neighbours, over 255 and a deviation of at least 0.3.
    let what = format!("{:?}, {:?} of it to {size:?}, batch {number}", set.image, set.part);
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
    check(&set, 0, 2, 2, [2, 1]); // much smaller
    check(&set, 0, 2, 2, [4, 8]); // smaller along one axis
    check(&set, 0, 1, 1, [9, 7]); // along one axis
}

#[test]
fn parts_reach_over_the_edges_and_are_mirrored() {
    let set = set_with_parts(6, [3, 32, 32], [32, 32], 4);
    check(&set, 0, 4, 4, [32, 32]);
    check(&set, 1, 4, 2, [32, 32]);
    check(&set_with_parts(5, [1, 9, 7], [5, 6], 0), 0, 5, 5, [5, 6]);
    check(&set_with_parts(4, [2, 3, 4], [9, 10], 3), 0, 4, 4, [9, 10]); // larger than the image
    check(&set_with_parts(3, [3, 5, 5], [5, 5], 0), 1, 1, 1, [5, 5]); // mirrored alone
}

#[test]
fn parts_are_resized_both_ways() {
    let set = set_with_parts(4, [3, 12, 11], [9, 8], 2);
    check(&set, 0, 4, 4, [18, 20]);
    check(&set, 0, 4, 4, [5, 4]);
    check(&set, 0, 2, 2, [12, 3]);
}

#[test]
fn images_may_lie_in_two_buffers() {
    let set = set_with_parts(7, [3, 5, 7], [5, 7], 1);
    for first in [1, 3, 6] {
        check_split(&set, first, 0, 7, 7, [5, 7]);
        check_split(&set, first, 1, 4, 3, [6, 8]);
    }
}

#[test]
fn pictures_from_the_host_are_mirrored_and_normalized() {
    for (rows, [height, width, channels]) in
        [(1, [1, 1, 1]), (3, [5, 7, 3]), (2, [3, 8, 1]), (3, [6, 12, 3]), (1, [1, 4, 2]), (2, [70, 72, 3])]
    {
        let set = set(rows, [channels, height, width]);
        let interleaved: Vec<u8> = (0..set.pixels.len())
            .map(|i| {
                let (row, at) = (i / (height * width * channels), i % (height * width * channels));
                set.pixels[(row * channels + at % channels) * height * width + at / channels]
            })
            .collect();
        let flips: Vec<bool> = (0..rows).map(|row| row % 2 == 0).collect();
        let turns: Vec<u32> = (0..rows).flat_map(|row| [set.labels[row], flips[row].into()]).collect();
        let (images, labels) = unpack(
            &packed(&interleaved),
            &words(&turns),
            &tensor([channels, 2], &set.normalization),
            rows,
            [height, width, channels],
        )
        .unwrap();
        assert_eq!(labels.read_u32().unwrap(), set.labels);
        let places = flips.iter().map(|&flip| (0, 0, flip)).collect();
        let set = Set { order: (0..rows as u32).collect(), places, ..set };
        let expected: Vec<f32> = (0..rows).flat_map(|row| oracle(&set, row, [height, width])).collect();
        // Two roundings of values below 10.
        let what = format!("{rows} of {height} x {width} x {channels}");
        assert_close(&what, &images.read_f32().unwrap(), &expected, 1e-6, 1e-6);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = words(&[0]);
    let order = words(&[0; 4]).reshape([1, 4]).unwrap();
    let normalization = Tensor::full(&gpu(), [1, 2], 1.0).unwrap();
    let source = Source {
        pixels: [&one, &one],
        first: 1,
        order: &order,
        progress: &one,
        image: [3, 1, 1],
        part: None,
        normalization: &normalization,
    };
    let error = gather(&source, 1, 1, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[1, 2]"), "{error}");
    let error = unpack(&one, &one, &normalization, 1, [1, 1, 3]).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[1, 2]"), "{error}");
    let error = unpack(&one, &order, &normalization, 2, [2, 2, 1]).unwrap_err().to_string();
    assert!(error.contains("2 images of [2, 2, 1]"), "{error}");
    let error =
        gather(&Source { image: [1, 1, 1], order: &one, ..source }, 1, 1, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("[N, 4]"), "{error}");
}
