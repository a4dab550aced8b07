//! What a picture goes through before the network sees it: which part of it is taken, and whether it is mirrored. Pure
//! geometry; who carries it out is the loader (on threads) or the device (for sets that lie there).

use crate::tensor::random::Philox;

/// The steps, in this order: resize, crop, flip. What comes out is resized to what the network takes.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Transform {
    /// Resize so that the shorter side has so many pixels; 0: don't.
    pub resize: usize,
    /// Which part is taken.
    pub crop: Crop,
    /// Mirror every second picture, by chance.
    pub flip: bool,
}

/// Which part of a picture is taken.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Crop {
    /// All of it.
    #[default]
    Whole,
    /// A square from the middle.
    Centre {
        /// Its side, in pixels.
        side: usize,
    },
    /// A square from anywhere in the picture with a black border around it. Pictures that are smaller even so cannot be
    /// used ([`Transform::refuses`]).
    Random {
        /// Width of the border, in pixels.
        pad: usize,
        /// The square's side.
        side: usize,
    },
    /// A part of random size and shape (Szegedy et al. 2015, section 6, as torchvision does it).
    RandomResized {
        /// Smallest and largest share of the area.
        scale: [f64; 2],
        /// Smallest and largest width through height, drawn evenly in the logarithm.
        ratio: [f64; 2],
    },
}

/// What a [`Transform`] makes of one picture: it is resized to `resized`, the rectangle is taken out, which may reach over
/// the edges into black, and mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// [H, W] behind the first step; the picture's own where that is left out.
    pub resized: [usize; 2],
    /// First row of the rectangle; negative above the picture.
    pub top: i32,
    /// First column.
    pub left: i32,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Left and right change places.
    pub flip: bool,
}

/// The most pixels that are taken out of a picture, as many as 8192 x 8192: 200 MB in colour, for each thread.
const MOST_PIXELS: usize = 1 << 26;

/// How often a part of random size is drawn before the middle is taken: it may not fit a picture's shape.
const TRIES: usize = 10;

impl Transform {
    /// True where a device that holds the pictures can do all of it: parts of one size, taken from pictures as they are.
    pub fn is_for_device(&self) -> bool {
        self.resize == 0 && !matches!(self.crop, Crop::RandomResized { .. })
    }

    /// [H, W] of the part that is taken of pictures of `size`, where all are of one; none where that is all of them, never
    /// mirrored.
    pub fn part(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        match self.crop {
            Crop::Centre { side } | Crop::Random { side, .. } => Some([side; 2]),
            Crop::Whole | Crop::RandomResized { .. } => self.flip.then_some(size),
        }
    }

    /// Why a picture of `size` [H, W] cannot be used, where that is so: it is smaller than a random square, or what is taken
    /// of it is larger than memory should have to bear.
    pub fn refuses(&self, size: [usize; 2]) -> Option<String> {
        let [height, width] = size;
        let resized = shorter_side(size, self.resize);
        let from = match self.resize {
            0 => format!("a picture of {height} x {width}"),
            side => format!("a picture of {height} x {width}, resized to a shorter side of {side},"),
        };
        let shorter = resized[0].min(resized[1]);
        let taken = match self.crop {
            Crop::Random { pad, side } if shorter.saturating_add(pad.saturating_mul(2)) < side => {
                return Some(format!(
                    "{from} with a border of {pad} is smaller than a random crop of {side}"
                ));
            }
            Crop::Centre { side } | Crop::Random { side, .. } => [side; 2],
            Crop::Whole | Crop::RandomResized { .. } => resized,
        };
        let longest = resized.into_iter().max().unwrap_or_default();
        let too_many = taken[0].saturating_mul(taken[1]) > MOST_PIXELS;
        (too_many || longest > i32::MAX as usize).then(|| {
            format!(
                "{from} becomes {} x {}, and a part of {} x {} is more than {MOST_PIXELS} pixels",
                resized[0], resized[1], taken[0], taken[1]
            )
        })
    }

    /// What becomes of a picture of `size` [H, W]. Without `chance`, what would be random is in the middle, and nothing is
    /// mirrored.
    pub fn view(&self, size: [usize; 2], mut chance: Option<Philox>) -> View {
        let resized = shorter_side(size, self.resize);
        let [height, width] = resized;
        let square =
            |side: usize, place: &mut dyn FnMut(usize) -> i32| (place(height), place(width), side, side);
        let (top, left, height, width) = match self.crop {
            Crop::Whole => (0, 0, height, width),
            Crop::Centre { side } => square(side, &mut |extent| middle(extent, side)),
            Crop::Random { pad, side } => square(side, &mut |extent| match &mut chance {
                Some(chance) if extent + 2 * pad >= side => {
                    chance.below((extent + 2 * pad - side + 1) as u32) as i32 - pad as i32
                }
                _ => middle(extent, side),
            }),
            Crop::RandomResized { scale, ratio } => match &mut chance {
                Some(chance) => random_part(resized, scale, ratio, chance),
                None => middle_part(resized, ratio),
            },
        };
        let flip = self.flip && chance.is_some_and(|mut chance| chance.below(2) == 1);
        View { resized, top, left, height, width, flip }
    }
}

/// [H, W] with a shorter side of `side` pixels and, but for rounding down, the same shape.
fn shorter_side([height, width]: [usize; 2], side: usize) -> [usize; 2] {
    match side {
        0 => [height, width],
        _ if height <= width => [side, side.saturating_mul(width) / height.max(1)],
        _ => [side.saturating_mul(height) / width.max(1), side],
    }
}

/// Where a piece of `part` pixels in the middle of `extent` begins. Halves are rounded to even, as Python does; where the
/// piece is the larger one, the odd pixel of black comes behind the picture. Both as torchvision's CenterCrop.
fn middle(extent: usize, part: usize) -> i32 {
    match part.checked_sub(extent) {
        Some(missing) => -((missing / 2) as i32),
        None => ((extent - part) as f64 / 2.0).round_ties_even() as i32,
    }
}

fn uniform(chance: &mut Philox, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * f64::from(chance.uniform())
}

fn random_part(
    [height, width]: [usize; 2],
    scale: [f64; 2],
    ratio: [f64; 2],
    chance: &mut Philox,
) -> (i32, i32, usize, usize) {
    for _ in 0..TRIES {
        let area = (height * width) as f64 * uniform(chance, scale);
        let aspect = uniform(chance, ratio.map(f64::ln)).exp();
        let w = (area * aspect).sqrt().round_ties_even() as usize;
        let h = (area / aspect).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = chance.below((height - h + 1) as u32);
            let left = chance.below((width - w + 1) as u32);
            return (top as i32, left as i32, h, w);
        }
    }
    middle_part([height, width], ratio)
}

/// The largest part in the middle whose shape is allowed.
fn middle_part([height, width]: [usize; 2], [low, high]: [f64; 2]) -> (i32, i32, usize, usize) {
    let own = width as f64 / height as f64;
    let (h, w) = if own < low {
        (((width as f64 / low).round_ties_even() as usize).clamp(1, height), width)
    } else if own > high {
        (height, ((height as f64 * high).round_ties_even() as usize).clamp(1, width))
    } else {
        (height, width)
    };
    (((height - h) / 2) as i32, ((width - w) / 2) as i32, h, w)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Order;

    const IMAGENET: Crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };

    fn views(transform: Transform, size: [usize; 2], count: usize) -> Vec<View> {
        let order = Order::Shuffled { seed: 3, epoch: 1 };
        (0..count).map(|picture| transform.view(size, order.chance(picture))).collect()
    }

    #[test]
    fn nothing_asked_for_is_the_whole_picture() {
        let whole = View { resized: [5, 7], top: 0, left: 0, height: 5, width: 7, flip: false };
        assert_eq!(Transform::default().view([5, 7], None), whole);
        assert!(views(Transform::default(), [5, 7], 9).iter().all(|view| *view == whole));
    }

    #[test]
    fn the_middle_is_where_torchvision_has_it() {
        // (size, resize, side) to (resized, top, left), from torchvision's Resize and CenterCrop.
        let cases = [
            (([480, 640], 256, 224), ([256, 341], 16, 58)), // (341 - 224) / 2 = 58.5, to even
            (([640, 479], 256, 224), ([342, 256], 59, 16)),
            (([500, 333], 0, 100), ([500, 333], 200, 116)), // 116.5
            (([10, 300], 0, 20), ([10, 300], -5, 140)),     // reaches into black
            (([17, 15], 0, 20), ([17, 15], -1, -2)),        // pads 1 above and 2 below, 2 left and 3 right
            (([19, 13], 0, 20), ([19, 13], 0, -3)),
        ];
        for ((size, resize, side), (resized, top, left)) in cases {
            let transform = Transform { resize, crop: Crop::Centre { side }, flip: false };
            let view = transform.view(size, None);
            assert_eq!((view.resized, view.top, view.left), (resized, top, left), "{size:?}");
            assert_eq!((view.height, view.width), (side, side));
        }
    }

    #[test]
    fn random_crops_reach_every_place_and_half_are_mirrored() {
        let transform = Transform { resize: 0, crop: Crop::Random { pad: 4, side: 32 }, flip: true };
        let views = views(transform, [32, 32], 8100);
        for place in -4..=4 {
            // 900 are expected; the deviation of a binomial is sqrt(8100 * 1/9 * 8/9) = 28; five of them.
            let rows = views.iter().filter(|view| view.top == place).count();
            let columns = views.iter().filter(|view| view.left == place).count();
            assert!((760..1040).contains(&rows) && (760..1040).contains(&columns), "{rows} {columns}");
        }
        assert!(views.iter().all(|view| view.top.abs() <= 4 && view.left.abs() <= 4));
        // sqrt(8100 / 4) = 45; five of them.
        let flips = views.iter().filter(|view| view.flip).count();
        assert!((3825..4275).contains(&flips), "{flips}");
    }

    #[test]
    fn random_parts_lie_inside_and_have_allowed_areas_and_shapes() {
        let (height, width) = (375, 500);
        let views = views(Transform { resize: 0, crop: IMAGENET, flip: false }, [height, width], 4000);
        let mut share = 0.0;
        for view in &views {
            assert!(view.top >= 0 && view.left >= 0 && !view.flip);
            assert!(view.top as usize + view.height <= height && view.left as usize + view.width <= width);
            let area = (view.height * view.width) as f64 / (height * width) as f64;
            let ratio = view.width as f64 / view.height as f64;
            // Sides are rounded to whole pixels, of which the shortest has about 106: half of one in each side.
            assert!((0.079..=1.0).contains(&area) && (0.742..1.345).contains(&ratio), "{view:?}");
            share += area / views.len() as f64;
        }
        // Torchvision 0.26 gives 0.434 over 200 000 draws at this size (large parts often don't fit, and are drawn anew);
        // areas have a deviation of 0.25, so the mean of 4000 has 0.004; four of them.
        assert!((share - 0.434).abs() < 0.016, "{share}");
    }

    #[test]
    fn a_part_that_never_fits_is_taken_from_the_middle() {
        let transform = Transform { resize: 0, crop: IMAGENET, flip: false };
        for view in views(transform, [10, 1000], 50) {
            assert_eq!((view.top, view.height), (0, 10));
            assert!(view.width <= 13, "{view:?}");
        }
        let view = transform.view([1000, 30], None);
        assert_eq!((view.top, view.left, view.height, view.width), (480, 0, 40, 30));
    }

    #[test]
    fn pictures_that_cannot_be_used_have_a_reason() {
        let random = |resize| Transform { resize, crop: Crop::Random { pad: 2, side: 32 }, flip: false };
        assert_eq!(random(0).refuses([28, 28]), None);
        assert_eq!(
            random(0).refuses([90, 27]).unwrap(),
            "a picture of 90 x 27 with a border of 2 is smaller than a random crop of 32"
        );
        assert_eq!(random(28).refuses([90, 27]), None);
        assert!(random(27).refuses([90, 90]).unwrap().contains("shorter side of 27"));
        let whole = Transform { resize: 256, crop: Crop::Whole, flip: false };
        assert_eq!(whole.refuses([1, 1024]), None);
        assert!(whole.refuses([1, 16384]).unwrap().contains("256 x 4194304"));
        let centre = Transform { crop: Crop::Centre { side: 224 }, ..whole };
        assert_eq!(centre.refuses([1, 16384]), None);
        assert!(centre.refuses([1, 1 << 40]).is_some());
    }

    #[test]
    fn a_picture_that_is_smaller_than_the_crop_stands_in_black() {
        let transform = Transform { resize: 0, crop: Crop::Random { pad: 1, side: 8 }, flip: false };
        for view in views(transform, [4, 20], 20) {
            assert_eq!((view.top, view.height, view.width), (-2, 8, 8));
            assert!((-1..=13).contains(&view.left));
        }
    }
}
