//! What an integer network computes, in i128 and without any thought of speed.

use simqat::deploy::{Conv2d, Int8Model, Layer, Linear, Op, Window};

/// Codes of every layer for the codes of one image.
pub fn run(model: &Int8Model, input: &[i8]) -> Vec<Vec<i8>> {
    let mut all: Vec<Vec<i8>> = Vec::new();
    for layer in &model.layers {
        let from = |index: usize| {
            let id = layer.inputs[index];
            Source { layer: &model.layers[id], codes: &all[id] }
        };
        let codes = match &layer.op {
            Op::Input => input.to_vec(),
            Op::Conv2d(conv) => convolved(layer, conv, &from(0)),
            Op::Dense(linear) => {
                let x = from(0);
                let sums = (0..linear.scale.len()).map(|output| {
                    let row = &linear.weight[output * x.codes.len()..][..x.codes.len()];
                    let products = row.iter().enumerate().map(|(k, &w)| x.apart(k) * i128::from(w));
                    (output, products.sum::<i128>())
                });
                sums.map(|(output, sum)| finished(layer, linear, output, sum, &x)).collect()
            }
            Op::MaxPool2d(window) => pooled(layer, window, &from(0), |values| {
                values.iter().flatten().copied().max().unwrap() as i8
            }),
            Op::AvgPool2d(window) => {
                let x = from(0);
                let factor =
                    f64::from(x.layer.grid.scale) / (f64::from(layer.grid.scale) * window.area() as f64);
                pooled(layer, window, &x, |values| {
                    let zero = i128::from(x.layer.grid.zero_point);
                    let sum: i128 = values.iter().flatten().map(|&value| value - zero).sum();
                    let (mantissa, shift) = fixed(factor, factor);
                    code(layer, rounded(sum * mantissa, shift))
                })
            }
            Op::Flatten => from(0).codes.to_vec(),
            Op::Add => {
                let (a, b) = (from(0), from(1));
                let [fa, fb] = [&a, &b].map(|x| f64::from(x.layer.grid.scale) / f64::from(layer.grid.scale));
                let ((ma, shift), (mb, _)) = (fixed(fa, fa.max(fb)), fixed(fb, fa.max(fb)));
                let sum = |k| code(layer, rounded(a.apart(k) * ma + b.apart(k) * mb, shift));
                (0..a.codes.len()).map(sum).collect()
            }
            Op::Table(table) => {
                from(0).codes.iter().map(|&code| table.codes[(i32::from(code) + 128) as usize]).collect()
            }
        };
        assert_eq!(codes.len(), layer.shape.iter().product::<usize>(), "{}", layer.name);
        all.push(codes);
    }
    all
}

/// The codes of a layer's input.
struct Source<'a> {
    layer: &'a Layer,
    codes: &'a [i8],
}

impl Source<'_> {
    /// A code's distance from zero.
    fn apart(&self, k: usize) -> i128 {
        i128::from(self.codes[k]) - i128::from(self.layer.grid.zero_point)
    }
}

/// A factor as a mantissa over 2^shift, where the mantissa of `largest` has 31 bits: found by trying.
pub fn fixed(factor: f64, largest: f64) -> (i128, u32) {
    let half_up = |value: f64| value.trunc() + if value.fract() >= 0.5 { 1.0 } else { 0.0 };
    let mantissa = |shift: u32, of: f64| half_up(of * 2f64.powi(shift as i32));
    match (1..=62).rev().find(|&shift| mantissa(shift, largest) < 2f64.powi(31)) {
        Some(shift) if mantissa(shift, largest) >= 2f64.powi(30) => (mantissa(shift, factor) as i128, shift),
        _ => (0, 1),
    }
}

/// Over 2^shift, half away from zero.
pub fn rounded(product: i128, shift: u32) -> i128 {
    let (unit, sign) = (1i128 << shift, product.signum());
    sign * ((2 * product.abs() + unit) / (2 * unit))
}

fn code(layer: &Layer, rounded: i128) -> i8 {
    let [low, high] = layer.ends();
    (rounded + i128::from(layer.grid.zero_point)).clamp(low.into(), high.into()) as i8
}

fn finished(layer: &Layer, linear: &Linear, output: usize, sum: i128, x: &Source) -> i8 {
    let factor =
        f64::from(x.layer.grid.scale) * f64::from(linear.scale[output]) / f64::from(layer.grid.scale);
    let (mantissa, shift) = fixed(factor, factor);
    code(layer, rounded((sum + i128::from(linear.bias[output])) * mantissa, shift))
}

fn convolved(layer: &Layer, conv: &Conv2d, x: &Source) -> Vec<i8> {
    let [channels, height, width] = x.layer.planes();
    let [outputs, out_h, out_w] = layer.planes();
    let [kh, kw] = conv.kernel;
    let per_group = channels / conv.groups;
    let mut codes = Vec::new();
    for output in 0..outputs {
        let group = output / (outputs / conv.groups);
        for y in 0..out_h {
            for left in 0..out_w {
                let mut sum = 0;
                for c in 0..per_group {
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let iy =
                                (y * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(conv.padding.top);
                            let ix = (left * conv.stride[1] + kx * conv.dilation[1])
                                .wrapping_sub(conv.padding.left);
                            if iy < height && ix < width {
                                let at = ((group * per_group + c) * height + iy) * width + ix;
                                let weight =
                                    conv.linear.weight[((output * per_group + c) * kh + ky) * kw + kx];
                                sum += x.apart(at) * i128::from(weight);
                            }
                        }
                    }
                }
                codes.push(finished(layer, &conv.linear, output, sum, x));
            }
        }
    }
    codes
}

/// A function of the codes in each window; nothing where padding is.
fn pooled(layer: &Layer, window: &Window, x: &Source, of: impl Fn(&[Option<i128>]) -> i8) -> Vec<i8> {
    let [_, height, width] = x.layer.planes();
    let [channels, out_h, out_w] = layer.planes();
    let mut codes = Vec::new();
    for c in 0..channels {
        for y in 0..out_h {
            for left in 0..out_w {
                let places = (0..window.area()).map(|k| {
                    let (ky, kx) = (k / window.kernel[1], k % window.kernel[1]);
                    let iy = (y * window.stride[0] + ky).wrapping_sub(window.padding[0]);
                    let ix = (left * window.stride[1] + kx).wrapping_sub(window.padding[1]);
                    let inside = iy < height && ix < width;
                    inside.then(|| i128::from(x.codes[(c * height + iy) * width + ix]))
                });
                codes.push(of(&places.collect::<Vec<_>>()));
            }
        }
    }
    codes
}
