//! Batches made from bytes: picked, cut, mirrored, resized and normalized.

use std::ops::Range;

use super::super::{Case, Trial};
use crate::Result;
use crate::kernel::augment::{Source, gather, unpack};
use crate::shader_test::{Bound, Estimate};
use crate::tensor::Tensor;

const FAMILY: &str = "augmentation";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "images of the right size are only normalized", right_size),
    Case::new(FAMILY, "digits are enlarged to the size of the network", digits),
    Case::new(FAMILY, "channels are resized apart and both ways", both_ways),
    Case::new(FAMILY, "parts reach over the edges and are mirrored", parts),
    Case::new(FAMILY, "parts are resized both ways", resized_parts),
    Case::new(FAMILY, "images may lie in two buffers", two_buffers),
    Case::new(FAMILY, "pictures from the host are mirrored and normalized", pictures),
];

struct Set {
    image: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
    order: Vec<u32>,
    /// For each place of the order: first row and column of the part, and whether it is mirrored.
    places: Vec<(i32, i32, bool)>,
    part: Option<[usize; 2]>,
    /// For each channel what is taken off a value, and what it is multiplied by after that.
    normalization: Vec<[f32; 2]>,
}

/// Random images, taken whole.
fn set(t: &Trial<'_>, images: usize, image: [usize; 3]) -> Set {
    let mut draw = t.draw(9);
    Set {
        image,
        pixels: (0..images * image.iter().product::<usize>()).map(|_| draw.between(0, 255) as u8).collect(),
        labels: (0..images as u32).map(|i| i * 377 % 1000).collect(),
        order: draw.order(images),
        places: vec![(0, 0, false); images],
        part: None,
        normalization: (0..image[0])
            .map(|c| [25.3 * (c + 1) as f32, 1.0 / (76.3 + 25.3 * c as f32)])
            .collect(),
    }
}

/// Random images, of which parts are taken that reach up to `pad` over the edges; every second one is mirrored.
fn set_with_parts(t: &Trial<'_>, images: usize, image: [usize; 3], part: [usize; 2], pad: usize) -> Set {
    let mut draw = t.draw(10);
    let mut place = |axis: usize| {
        let room = image[axis + 1] + 2 * pad - part[axis];
        draw.between(0, room) as i32 - pad as i32
    };
    let places = (0..images).map(|i| (place(0), place(1), i % 2 == 1)).collect();
    Set { places, part: Some(part), ..set(t, images, image) }
}

/// The values of a line of `extent` that make up value `place` of `out`, with their weights, which are to be divided by their
/// sum: a triangle around the place's half-pixel centre, as wide as a step of the coarser grid to both sides, as in Pillow's
/// resize. If it grows larger, that is linear between two neighbours, edges repeated; the shader then has another formula with
/// fewer roundings.
fn weights(place: usize, out: usize, extent: usize) -> Vec<(usize, Estimate)> {
    let number = |v: f64| Estimate::exact(v);
    if out == extent {
        return vec![(place, number(1.0))];
    }
    let scale = number(extent as f64) / number(out as f64);
    let reach = if out < extent { scale } else { number(1.0) };
    let middle = number(place as f64 + 0.5) * scale;
    let weight = |at: usize| number(1.0) - (number(at as f64 + 0.5) - middle).abs() / reach;
    // One that is 0 may be a little more on the device.
    let near = (0..extent).map(|at| (at, weight(at))).filter(|(_, weight)| weight.value + weight.error > 0.0);
    near.map(|(at, weight)| (at, weight.clamp(0.0, 1.0))).collect()
}

/// The image at a place of the order, [C, H, W], before it is normalized.
fn oracle(set: &Set, place: usize, [height, width]: [usize; 2]) -> Vec<Estimate> {
    let [channels, h, w] = set.image;
    let (top, left, flip) = set.places[place];
    let [part_height, part_width] = set.part.unwrap_or([h, w]);
    let rows: Vec<_> = (0..height).map(|y| weights(y, height, part_height)).collect();
    let columns: Vec<_> = (0..width).map(|x| weights(x, width, part_width)).collect();
    let total = |line: &[(usize, Estimate)]| Estimate::sum(line.iter().map(|&(_, weight)| weight));
    let is_resized = [height, width] != [part_height, part_width];
    let mut all = Vec::new();
    for channel in 0..channels {
        let plane = &set.pixels[(set.order[place] as usize * channels + channel) * h * w..][..h * w];
        let pixel = |y: usize, x: usize| {
            let (y, x) = (y as i32 + top, x as i32 + left);
            let inside = (0..h as i32).contains(&y) && (0..w as i32).contains(&x);
            Estimate::exact(if inside { plane[y as usize * w + x as usize].into() } else { 0.0 })
        };
        for (y, rows) in rows.iter().enumerate() {
            for x in 0..width {
                let x = if flip { width - 1 - x } else { x };
                let value = if is_resized {
                    let columns = &columns[x];
                    let line = |y| Estimate::sum(columns.iter().map(|&(x, weight)| weight * pixel(y, x)));
                    let sum = Estimate::sum(rows.iter().map(|&(y, weight)| weight * line(y)));
                    sum / (total(rows) * total(columns))
                } else {
                    pixel(y, x)
                };
                all.push(value);
            }
        }
    }
    all
}

/// Compares a batch with the images of `places`. Bytes that were not resized must be normalized to the same bits everywhere.
fn compare(
    t: &mut Trial<'_>,
    what: &str,
    images: &Tensor,
    set: &Set,
    places: Range<usize>,
    size: [usize; 2],
) -> Result<()> {
    let values = places.flat_map(|place| oracle(set, place, size));
    let constants = |i: usize| set.normalization[i / (size[0] * size[1]) % set.image[0]];
    if size == set.part.unwrap_or([set.image[1], set.image[2]]) {
        let normalized =
            |(i, value): (usize, Estimate)| (value.value as f32 - constants(i)[0]) * constants(i)[1];
        let expected: Vec<f32> = values.enumerate().map(normalized).collect();
        return t.values(what, images, &expected, Bound::Bits);
    }
    let normalized = |(i, value)| {
        let [middle, factor] = constants(i).map(Estimate::from);
        (value - middle) * factor
    };
    t.estimates(what, images, &values.enumerate().map(normalized).collect::<Vec<_>>())
}

fn packed(t: &Trial<'_>, bytes: &[u8]) -> Result<Tensor> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
    t.words(&bytes.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>())
}

fn check(
    t: &mut Trial<'_>,
    set: &Set,
    number: usize,
    batch: usize,
    rows: usize,
    size: [usize; 2],
) -> Result<()> {
    check_split(t, set, set.labels.len(), [number, batch, rows], size)
}

/// Batch `number` of `batch` images, of which `rows` are made, with the images from `first` on in a second buffer.
fn check_split(
    t: &mut Trial<'_>,
    set: &Set,
    first: usize,
    [number, batch, rows]: [usize; 3],
    size: [usize; 2],
) -> Result<()> {
    let count = set.labels.len();
    let (head, rest) = set.pixels.split_at(first * set.image.iter().product::<usize>());
    let place = |place: usize| {
        let (image, (top, left, flip)) = (set.order[place], set.places[place]);
        [image, top as u32, left as u32, 2 * set.labels[image as usize] + u32::from(flip)]
    };
    let source = Source {
        pixels: [&packed(t, head)?, &packed(t, rest)?],
        first,
        order: &t.words(&(0..count).flat_map(place).collect::<Vec<_>>())?.reshape([count, 4])?,
        progress: &t.words(&[number as u32, 0, 0])?,
        image: set.image,
        part: set.part,
        normalization: &t.tensor([set.image[0], 2], set.normalization.as_flattened())?,
    };
    let (images, labels) = gather(&source, batch, rows, size)?;
    let places = number * batch..number * batch + rows;
    let what = format!(
        "batch {number} of {batch} images {:?}, {:?} of them to {size:?}, {first} in the first buffer",
        set.image, set.part
    );
    t.same(&what, images.shape(), &[rows, set.image[0], size[0], size[1]])?;
    let picked = set.order[places.clone()].iter().map(|&i| set.labels[i as usize]).collect::<Vec<_>>();
    t.same(format!("labels of {what}"), &labels.read_u32()?, &picked)?;
    compare(t, &what, &images, set, places, size)
}

fn digits(t: &mut Trial<'_>) -> Result<()> {
    let set = set(t, 7, [1, 28, 28]);
    check(t, &set, 0, 3, 3, [32, 32])?;
    check(t, &set, 1, 3, 3, [32, 32])?;
    check(t, &set, 2, 3, 1, [32, 32]) // the short last batch
}

fn right_size(t: &mut Trial<'_>) -> Result<()> {
    let set = set(t, 5, [3, 5, 7]); // an odd number of bytes
    check(t, &set, 0, 2, 2, [5, 7])?;
    check(t, &set, 2, 2, 1, [5, 7])
}

fn both_ways(t: &mut Trial<'_>) -> Result<()> {
    let set = set(t, 4, [3, 9, 6]);
    check(t, &set, 1, 2, 2, [13, 17])?;
    check(t, &set, 0, 2, 2, [4, 5])?; // smaller
    check(t, &set, 0, 2, 2, [2, 1])?; // much smaller
    check(t, &set, 0, 2, 2, [4, 8])?; // smaller along one axis
    check(t, &set, 0, 1, 1, [9, 7]) // along one axis
}

fn parts(t: &mut Trial<'_>) -> Result<()> {
    let set = set_with_parts(t, 6, [3, 32, 32], [32, 32], 4);
    check(t, &set, 0, 4, 4, [32, 32])?;
    check(t, &set, 1, 4, 2, [32, 32])?;
    check(t, &set_with_parts(t, 5, [1, 9, 7], [5, 6], 0), 0, 5, 5, [5, 6])?;
    check(t, &set_with_parts(t, 4, [2, 3, 4], [9, 10], 3), 0, 4, 4, [9, 10])?; // larger than the image
    check(t, &set_with_parts(t, 3, [3, 5, 5], [5, 5], 0), 1, 1, 1, [5, 5]) // mirrored alone
}

fn resized_parts(t: &mut Trial<'_>) -> Result<()> {
    let set = set_with_parts(t, 4, [3, 12, 11], [9, 8], 2);
    check(t, &set, 0, 4, 4, [18, 20])?;
    check(t, &set, 0, 4, 4, [5, 4])?;
    check(t, &set, 0, 2, 2, [12, 3])
}

fn two_buffers(t: &mut Trial<'_>) -> Result<()> {
    let set = set_with_parts(t, 7, [3, 5, 7], [5, 7], 1);
    for first in [1, 3, 6] {
        check_split(t, &set, first, [0, 7, 7], [5, 7])?;
        check_split(t, &set, first, [1, 4, 3], [6, 8])?;
    }
    Ok(())
}

fn pictures(t: &mut Trial<'_>) -> Result<()> {
    for (rows, [height, width, channels]) in
        [(1, [1, 1, 1]), (3, [5, 7, 3]), (2, [3, 8, 1]), (3, [6, 12, 3]), (1, [1, 4, 2]), (2, [70, 72, 3])]
    {
        let set = set(t, rows, [channels, height, width]);
        let interleaved: Vec<u8> = (0..set.pixels.len())
            .map(|i| {
                let (row, at) = (i / (height * width * channels), i % (height * width * channels));
                set.pixels[(row * channels + at % channels) * height * width + at / channels]
            })
            .collect();
        let flips: Vec<bool> = (0..rows).map(|row| row % 2 == 0).collect();
        let turns: Vec<u32> = (0..rows).flat_map(|row| [set.labels[row], flips[row].into()]).collect();
        let (images, labels) = unpack(
            &packed(t, &interleaved)?,
            &t.words(&turns)?,
            &t.tensor([channels, 2], set.normalization.as_flattened())?,
            rows,
            [height, width, channels],
        )?;
        let what = format!("{rows} of {height} x {width} x {channels}");
        t.same(format!("labels of {what}"), &labels.read_u32()?, &set.labels)?;
        let places = flips.iter().map(|&flip| (0, 0, flip)).collect();
        let set = Set { order: (0..rows as u32).collect(), places, ..set };
        compare(t, &what, &images, &set, 0..rows, [height, width])?;
    }
    Ok(())
}
