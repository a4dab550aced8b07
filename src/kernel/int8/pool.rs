//! The highest code of each window, and the mean of each.

use super::codes::Codes;
use super::{Factor, Target, threads_of};
use crate::kernel::catalogue::{Entry, entry};
use crate::kernel::extent;
use crate::kernel::params::params;
use crate::kernel::pool::Window;
use crate::shader::ShaderSpec;
use crate::{Error, Result};

params!(PoolParams {
    invocations: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    pad_top: u32,
    pad_left: u32,
    from_zero_point: i32,
    mantissa: u32,
    shift: u32,
    zero_point: i32,
    low: i32,
    high: i32,
});

fn shader(threads: u32, op: &'static str, window: &Window, plane: [usize; 2], out: [usize; 2]) -> ShaderSpec {
    let [kernel, stride] = [window.kernel, window.stride].map(|axes| axes.map(|n| n as u32));
    // The last window, too, lies on the plane.
    let inside =
        (0..2).all(|axis| (out[axis] - 1) * window.stride[axis] + window.kernel[axis] <= plane[axis]);
    ShaderSpec::new("deploy/pool.wgsl")
        .with("threads", threads)
        .with("op", op)
        .with("kernel_y", kernel[0])
        .with("kernel_x", kernel[1])
        .with("stride_y", stride[0])
        .with("stride_x", stride[1])
        .with("padded", window.padding != [0; 2] || !inside)
}

/// The highest code of each window of [N, C, H, W].
///
/// # Errors
/// Where windows do not fit, or the device has failed.
pub fn max(x: &Codes, window: &Window) -> Result<Codes> {
    pool("max", x, window, PoolParams::default())
}

/// The mean of each window of [N, C, H, W]: the sum of its `code - zero_point` times `factor`. Padding counts as zeros.
///
/// # Errors
/// Where windows do not fit or are so large that sums could pass 2^31, or the device has failed.
pub fn mean(x: &Codes, zero_point: i8, window: &Window, factor: Factor, target: Target) -> Result<Codes> {
    let [_, _, h, w] = x.shape();
    let area = window.kernel[0].min(h).saturating_mul(window.kernel[1].min(w));
    if area > i32::MAX as usize / 255 {
        return Err(Error::Shape(format!(
            "a sum of the {area} codes of a window could pass 2^31; pool in two steps"
        )));
    }
    let params = PoolParams {
        from_zero_point: zero_point.into(),
        mantissa: factor.mantissa,
        shift: factor.shift,
        zero_point: target.zero_point.into(),
        low: target.ends[0].into(),
        high: target.ends[1].into(),
        ..Default::default()
    };
    pool("mean", x, window, params)
}

fn pool(op: &'static str, x: &Codes, window: &Window, params: PoolParams) -> Result<Codes> {
    let [n, c, h, w] = x.shape();
    let out = window.output([h, w])?;
    let output = Codes::empty(x.gpu(), [n, c, out[0], out[1]])?;
    let words = output.words().count();
    let threads = threads_of(x.gpu());
    x.gpu()
        .launch(shader(threads, op, window, [h, w], out))
        .bind(x.words().buffer())
        .bind(output.words().buffer())
        .params(&PoolParams {
            invocations: extent(words, "the number of words")?,
            in_height: extent(h, "the height")?,
            in_width: extent(w, "the width")?,
            out_height: extent(out[0], "the height")?,
            out_width: extent(out[1], "the width")?,
            pad_top: extent(window.padding[0], "the padding")?,
            pad_left: extent(window.padding[1], "the padding")?,
            ..params
        })
        .threads(words as u64, threads)?;
    Ok(output)
}

pub(super) fn variants(threads: u32) -> Vec<Entry> {
    let windows = [
        (Window::square(2), [28, 28]),
        (Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }, [9, 8]),
        (Window { kernel: [7, 1], stride: [1, 3], padding: [0, 0] }, [7, 8]),
    ];
    let each = |(window, plane): &(Window, [usize; 2])| {
        let out = window.output(*plane).unwrap_or([1, 1]);
        ["max", "mean"].map(|op| entry(shader(threads, op, window, *plane, out), PoolParams::LAYOUT))
    };
    windows.iter().flat_map(each).collect()
}
