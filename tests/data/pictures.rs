//! Picture files: what is decoded, what is refused, and that cutting and resizing is Pillow's.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use simqat::data::picture::{Cutter, Picture};
use simqat::data::{Crop, Order, Transform, View};

use super::*;

/// A picture with a shape in it, different for each `seed`.
pub fn drawn(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let inside = (x * 2).abs_diff(width) + (y * 2).abs_diff(height) < (width + height) / (2 + seed % 3);
        let ground = [x * 255 / width, y * 255 / height, (seed * 37) % 256];
        Rgb(if inside { [250, (seed * 91 % 256) as u8, 20] } else { ground.map(|v| v as u8) })
    })
}

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn at(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    let start = (y * picture.width + x) * 3;
    picture.pixels[start..start + 3].try_into().unwrap()
}

#[test]
fn png_of_every_kind_becomes_red_green_blue() {
    let image = drawn(9, 7, 1);
    let whole = Picture::decode(&encoded(image.clone(), ImageFormat::Png), 3).unwrap();
    assert_eq!((whole.height, whole.width, whole.channels), (7, 9, 3));
    assert!(whole.pixels == *image.as_raw());
    let dynamic = DynamicImage::from(image);
    // 16 bits are the same values 257 times as large; transparency changes no colour.
    for other in
        [DynamicImage::from(dynamic.to_rgb16()), dynamic.to_rgba8().into(), dynamic.to_rgba16().into()]
    {
        assert!(Picture::decode(&encoded(other, ImageFormat::Png), 3).unwrap() == whole);
    }
    let grey = dynamic.to_luma8();
    for other in [DynamicImage::from(grey.clone()), dynamic.to_luma_alpha8().into()] {
        let read = Picture::decode(&encoded(other, ImageFormat::Png), 3).unwrap();
        assert!(read.pixels.chunks(3).zip(grey.as_raw()).all(|(rgb, grey)| rgb == [*grey; 3]));
    }
    let luma = Picture::decode(&encoded(grey.clone(), ImageFormat::Png), 1).unwrap();
    assert!(luma.channels == 1 && luma.pixels == *grey.as_raw());
}

#[test]
fn colour_becomes_the_grey_that_pillow_makes() {
    // Image.convert("L") of Pillow 12, ITU-R BT.601.
    for (rgb, grey) in
        [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([255; 3], 255), ([9; 3], 9)]
    {
        let image = RgbImage::from_pixel(8, 8, Rgb(rgb));
        let png = Picture::decode(&encoded(image.clone(), ImageFormat::Png), 1).unwrap();
        assert_eq!(png.pixels, [grey; 64], "{rgb:?}");
        let jpeg = Picture::decode(&encoded(image, ImageFormat::Jpeg), 1).unwrap();
        // A conversion, a transform and a quantization that each round.
        assert!(jpeg.pixels.iter().all(|found| found.abs_diff(grey) <= 2), "{rgb:?}: {:?}", jpeg.pixels);
    }
}

#[test]
fn jpeg_in_colour_grey_and_cmyk_are_decoded() {
    let image = drawn(40, 30, 2);
    let read = Picture::decode(&encoded(image.clone(), ImageFormat::Jpeg), 3).unwrap();
    let off: u64 = read.pixels.iter().zip(image.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    // Lossy: some units on average where edges are, and nothing like another picture.
    assert!(off / (40 * 30 * 3) < 12, "{off}");
    let grey = DynamicImage::from(image).to_luma8();
    let bytes = encoded(grey, ImageFormat::Jpeg);
    let (colour, luma) = (Picture::decode(&bytes, 3).unwrap(), Picture::decode(&bytes, 1).unwrap());
    assert!(colour.pixels.chunks(3).zip(&luma.pixels).all(|(rgb, luma)| rgb == [*luma; 3]));

    // Written by Pillow 13: cyan and yellow halves, the lower half with some black. Its own conversion gives the colours
    // below; profiles aside, converters round differently by some units.
    let cmyk = include_bytes!("cmyk.jpg");
    let read = Picture::decode(cmyk, 3).unwrap();
    assert_eq!((read.height, read.width), (16, 16));
    for (x, y, expected) in
        [(2, 2, [55, 255, 255]), (13, 2, [255, 255, 55]), (2, 13, [42, 195, 195]), (13, 13, [195, 195, 42])]
    {
        let found = at(&read, x, y);
        assert!(
            found.iter().zip(expected).all(|(f, e): (&u8, u8)| f.abs_diff(e) <= 4),
            "{found:?} {expected:?}"
        );
    }
    assert_eq!(Picture::decode(cmyk, 1).unwrap().pixels.len(), 256);
}

#[test]
fn what_is_no_whole_picture_has_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let read = |bytes: &[u8]| {
        let path = folder.path().join("it.jpg");
        std::fs::write(&path, bytes).unwrap();
        refused(Picture::read(&path, 3))
    };
    assert_says(&read(&[]), &["it.jpg", "the file is empty"]);
    assert_says(&read(b"GIF89a"), &["starts with 0x47494638: neither JPEG nor PNG"]);
    assert_says(&read(&[0xff]), &["starts with 0xff"]);
    for (format, name) in [(ImageFormat::Jpeg, "JPEG"), (ImageFormat::Png, "PNG")] {
        let whole = encoded(drawn(64, 48, 3), format);
        for cut in [4, 20, whole.len() / 2, whole.len() - 40, whole.len() - 2] {
            if format == ImageFormat::Png && cut > whole.len() - 12 {
                continue; // only the end mark is missing, and no pixel
            }
            assert_says(&read(&whole[..cut]), &[name]);
        }
    }
    let mut bytes = encoded(drawn(64, 48, 3), ImageFormat::Png);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    assert_says(&read(&bytes), &["the PNG is damaged"]);
    assert_says(&refused(Picture::read(&folder.path().join("no.png"), 3)), &["no.png", "(os error 2)"]);
}

/// One axis of a resize as Pillow computes it: a triangle as wide as a step of the coarser grid, over what there is.
fn line(extent: usize, out: usize) -> Vec<Vec<f64>> {
    let scale = extent as f64 / out as f64;
    let reach = scale.max(1.0);
    let weights = |place: usize| {
        let middle = (place as f64 + 0.5) * scale;
        let near: Vec<f64> =
            (0..extent).map(|at| (1.0 - (at as f64 + 0.5 - middle).abs() / reach).max(0.0)).collect();
        let sum: f64 = near.iter().sum();
        near.into_iter().map(|weight| weight / sum).collect()
    };
    (0..out).map(weights).collect()
}

fn resized(get: impl Fn(usize, usize, usize) -> f64, from: [usize; 2], to: [usize; 2]) -> Vec<f64> {
    let (rows, columns) = (line(from[0], to[0]), line(from[1], to[1]));
    let mut all = Vec::new();
    for row in &rows {
        for column in &columns {
            for c in 0..3 {
                let along = |y: usize| column.iter().enumerate().map(|(x, w)| w * get(y, x, c)).sum::<f64>();
                all.push(row.iter().enumerate().filter(|(_, w)| **w > 0.0).map(|(y, w)| w * along(y)).sum());
            }
        }
    }
    all
}

fn cut(picture: &Picture, view: &View, size: [usize; 2]) -> Vec<u8> {
    let mut out = vec![123; size[0] * size[1] * 3]; // poison
    Cutter::default().cut(picture, view, size, &mut out).unwrap();
    out
}

#[test]
fn parts_are_resized_as_pillow_does() {
    let (width, height) = (61, 47);
    let pixels = drawn(width, height, 4).into_raw();
    let picture = Picture { pixels, height: height as usize, width: width as usize, channels: 3 };
    let source = |y: usize, x: usize, c: usize| f64::from(picture.pixels[(y * 61 + x) * 3 + c]);
    for (top, left, h, w, to) in [
        (0, 0, 47, 61, [20, 24]),
        (5, 9, 30, 31, [7, 9]),
        (3, 2, 11, 10, [32, 40]),
        (0, 0, 47, 61, [47, 61]),
        (6, 0, 40, 8, [10, 8]),
    ] {
        let view = View { resized: [47, 61], top, left, height: h, width: w, flip: false };
        let get = |y: usize, x: usize, c: usize| source(y + top as usize, x + left as usize, c);
        let expected = resized(get, [h, w], to);
        for (i, (found, expected)) in cut(&picture, &view, to).iter().zip(expected).enumerate() {
            // A rounding to whole values after each axis, and weights of some 14 bits.
            assert!(
                (f64::from(*found) - expected).abs() <= 1.3,
                "{view:?} to {to:?}, value {i}: {found} {expected}"
            );
        }
    }
}

#[test]
fn the_middle_of_the_resized_picture_is_cut_out() {
    let picture = Picture { pixels: drawn(61, 47, 5).into_raw(), height: 47, width: 61, channels: 3 };
    let transform = Transform { resize: 28, crop: Crop::Centre { side: 20 }, flip: false };
    let view = transform.view([47, 61], None);
    assert_eq!((view.resized, view.top, view.left), ([28, 36], 4, 8));
    let whole = View { resized: [47, 61], top: 0, left: 0, height: 47, width: 61, flip: false };
    let all = cut(&picture, &whole, [28, 36]);
    let expected: Vec<u8> = (4..24).flat_map(|y| all[(y * 36 + 8) * 3..][..60].to_vec()).collect();
    assert!(cut(&picture, &view, [20, 20]) == expected);
    // A crop of another size than the network's goes by way of the cut picture, and one over the edge has black there.
    assert_eq!(cut(&picture, &view, [10, 10]).len(), 300);
    let view = View { resized: [28, 36], top: -2, left: 30, height: 20, width: 10, flip: false };
    let over = cut(&picture, &view, [20, 10]);
    for (i, value) in over.iter().enumerate() {
        let (y, x) = (i / 30, i / 3 % 10);
        let expected = if y < 2 || x >= 6 { 0 } else { all[((y - 2) * 36 + x + 30) * 3 + i % 3] };
        assert_eq!(*value, expected, "{y} {x}");
    }
}

#[test]
fn parts_that_end_at_the_edge_are_cut_at_every_size() {
    // 56 of a picture whose shorter side is 225: one bit beyond the edge, where divided before multiplied.
    for (width, height, side) in [(225, 300, 56), (239, 240, 224), (450, 600, 224), (1, 16384, 256)] {
        let picture = Picture { pixels: vec![90; width * height], height, width, channels: 1 };
        let transform = Transform { resize: side, crop: Crop::Centre { side }, flip: false };
        let mut out = vec![123; side * side];
        let mut view = transform.view([height, width], None);
        for top in [view.top, 0, (view.resized[0] - side) as i32] {
            view.top = top;
            Cutter::default().cut(&picture, &view, [side; 2], &mut out).unwrap();
            assert!(out.iter().all(|value| *value == 90), "{width} x {height} at {top}");
            // The same by way of a square that is resized again, which takes no more memory than the square.
            let mut small = vec![123; 25];
            Cutter::default().cut(&picture, &view, [5; 2], &mut small).unwrap();
            assert_eq!(small, [90; 25], "{width} x {height} at {top}");
        }
    }
}

#[test]
fn a_view_is_a_function_of_seed_epoch_and_picture() {
    let crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 1.34] };
    let transform = Transform { resize: 0, crop, flip: true };
    let view =
        |seed, epoch, picture| transform.view([300, 400], Order::Shuffled { seed, epoch }.chance(picture));
    assert_eq!(view(1, 2, 3), view(1, 2, 3));
    for other in [view(2, 2, 3), view(1, 3, 3), view(1, 2, 4)] {
        assert_ne!(view(1, 2, 3), other);
    }
}
