//! Max and average pooling of [N, C, H, W].

use super::catalogue::{Entry, entry};
use super::gemm::machine;
use super::params::params;
use super::plan::Machine;
use super::reduce::{Reduction, reduce};
use super::{extent, product, same_shape};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Windows over a plane, in pixels; y before x everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns added on each side; never part of a maximum.
    pub padding: [usize; 2],
}

impl Window {
    /// A square window of `size`, moved by its own size, without padding.
    pub fn square(size: usize) -> Self {
        Window { kernel: [size; 2], stride: [size; 2], padding: [0; 2] }
    }

    /// Height and width of the pooled plane, by PyTorch's rule: windows that fit, rounded down.
    ///
    /// # Errors
    /// Where a number is zero, a window is larger than the padded plane, or the padding larger than half a
    /// window (a window could lie in the padding alone).
    pub fn output(&self, plane: [usize; 2]) -> Result<[usize; 2]> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let padded = plane[axis].saturating_add(padding.saturating_mul(2));
            let countable = [kernel, stride, padded].iter().all(|&n| n > 0 && n <= i32::MAX as usize);
            if !countable || padding > kernel / 2 || padded < kernel {
                return Err(Error::Shape(format!("{self:?} does not fit a plane of {plane:?}")));
            }
            out[axis] = (padded - kernel) / stride + 1;
        }
        Ok(out)
    }

    /// True where every pixel of the plane is in a window.
    pub fn covers(&self, plane: [usize; 2]) -> bool {
        let Ok(windows) = self.output(plane) else { return false };
        (0..2).all(|axis| {
            let reach = (windows[axis] - 1) * self.stride[axis] + self.kernel[axis];
            self.stride[axis] <= self.kernel[axis] && reach >= plane[axis] + self.padding[axis]
        })
    }

    /// Height and width of `dy`, which must be the gradient of pooling an input of `shape`: the shaders read
    /// as far as that promises.
    fn pooled(&self, dy: &Tensor, shape: [usize; 4]) -> Result<[usize; 2]> {
        let [n, c, h, w] = shape;
        let [oh, ow] = self.output([h, w])?;
        same_shape("the gradient of pooling", dy.shape(), &[n, c, oh, ow].into())?;
        Ok([oh, ow])
    }

    fn constants(&self, spec: ShaderSpec) -> ShaderSpec {
        let c = |v: usize| v as u32;
        spec.with("kernel_y", c(self.kernel[0]))
            .with("kernel_x", c(self.kernel[1]))
            .with("stride_y", c(self.stride[0]))
            .with("stride_x", c(self.stride[1]))
            .with("pad_top", c(self.padding[0]))
            .with("pad_left", c(self.padding[1]))
    }

    /// How many neighbouring windows an invocation can take as whole vectors: where windows are two wide and
    /// tile the plane exactly. 0 where it must go value by value.
    fn windows_at_once(&self, planes: &Planes) -> u32 {
        let [oh, ow] = planes.pooled;
        let tiles = self.padding == [0; 2]
            && self.stride == self.kernel
            && self.kernel[1] == 2
            && planes.plane == [oh * self.kernel[0], ow * 2];
        match (tiles, ow % 2) {
            (false, _) => 0,
            (true, 0) => 2,
            (true, _) => 1,
        }
    }

    fn max_shader(&self, planes: &Planes, backward: bool, relu: bool) -> (ShaderSpec, u32) {
        let windows = self.windows_at_once(planes);
        let file = match (windows, backward) {
            (0, false) => "pool/max_forward.wgsl",
            (0, true) => "pool/max_backward.wgsl",
            (_, false) => "pool/max_pairs_forward.wgsl",
            (_, true) => "pool/max_pairs_backward.wgsl",
        };
        let spec = planes.constants(self.constants(ShaderSpec::new(file))).with("relu", relu);
        (if windows == 0 { spec } else { spec.with("windows", windows) }, windows)
    }

    fn average_shader(&self, planes: &Planes, direction: &'static str, count_padding: bool) -> ShaderSpec {
        planes
            .constants(self.constants(ShaderSpec::new("pool/average.wgsl")))
            .with("direction", direction)
            .with("count_padding", count_padding)
    }
}

/// The planes of a tensor [N, C, H, W], before and after pooling.
struct Planes {
    count: usize,
    plane: [usize; 2],
    pooled: [usize; 2],
}

impl Planes {
    /// From the unpooled shape.
    fn new([n, c, h, w]: [usize; 4], pooled: [usize; 2]) -> Result<Self> {
        extent(product(&[n, c, h, w]), "the number of pixels")?;
        Ok(Planes { count: n * c, plane: [h, w], pooled })
    }

    fn constants(&self, spec: ShaderSpec) -> ShaderSpec {
        spec.with("height", self.plane[0] as u32)
            .with("width", self.plane[1] as u32)
            .with("out_height", self.pooled[0] as u32)
            .with("out_width", self.pooled[1] as u32)
    }

    fn params(&self) -> PoolParams {
        PoolParams { planes: self.count as u32 }
    }
}

params!(PoolParams { planes: u32 });

/// Max pooling of [N, C, H, W]; with `relu`, of max(x, 0), in one pass. Returns the result and, for the
/// backward, the place of each maximum in its plane.
///
/// # Errors
/// Where the window does not fit, or the device has failed.
pub fn max_forward(x: &Tensor, window: &Window, relu: bool) -> Result<(Tensor, Tensor)> {
    x.expect(DType::F32)?;
    let shape = x.shape().nchw("the input of max pooling")?;
    let [n, c, h, w] = shape;
    let [oh, ow] = window.output([h, w])?;
    let y = Tensor::empty(x.gpu(), [n, c, oh, ow], DType::F32)?;
    let places = Tensor::empty(x.gpu(), [n, c, oh, ow], DType::U32)?;
    let planes = Planes::new(shape, [oh, ow])?;
    let (spec, windows) = window.max_shader(&planes, false, relu);
    x.gpu()
        .launch(spec)
        .bind(x.buffer())
        .bind(y.buffer())
        .bind(places.buffer())
        .params(&planes.params())
        .threads(y.count() as u64 / u64::from(windows.max(1)), 64)?;
    Ok((y, places))
}

/// Gradient of [`max_forward`] for an input of shape [N, C, H, W]. `y` is the forward's result where a ReLU
/// was part of it.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn max_backward(
    dy: &Tensor,
    places: &Tensor,
    y: Option<&Tensor>,
    shape: [usize; 4],
    window: &Window,
) -> Result<Tensor> {
    same_shape("the gradient of max pooling", dy.shape(), places.shape())?;
    dy.expect(DType::F32)?;
    places.expect(DType::U32)?;
    if let Some(y) = y {
        y.expect(DType::F32)?;
        same_shape("the gradient of max pooling", dy.shape(), y.shape())?;
    }
    let planes = Planes::new(shape, window.pooled(dy, shape)?)?;
    let dx = Tensor::empty(dy.gpu(), shape, DType::F32)?;
    let (spec, windows) = window.max_shader(&planes, true, y.is_some());
    let threads = if windows == 0 { dx.count() } else { dy.count() / windows as usize };
    let mut launch = dy.gpu().launch(spec).bind(dy.buffer()).bind(places.buffer());
    if let Some(y) = y {
        launch = launch.bind(y.buffer());
    }
    launch.bind(dx.buffer()).params(&planes.params()).threads(threads as u64, 64)?;
    Ok(dx)
}

/// Average pooling of [N, C, H, W]. With `count_padding`, padding takes part as zeros.
///
/// # Errors
/// Where the window does not fit, or the device has failed.
pub fn average_forward(x: &Tensor, window: &Window, count_padding: bool) -> Result<Tensor> {
    x.expect(DType::F32)?;
    let shape = x.shape().nchw("the input of average pooling")?;
    let [n, c, h, w] = shape;
    let out = window.output([h, w])?;
    if window.kernel == [h, w] && window.padding == [0; 2] && machine(x.gpu()) == Machine::Gpu {
        // Whole planes: a workgroup each where they are large and few.
        return reduce(Reduction::Mean, x, 2..4)?.reshape([n, c, 1, 1]);
    }
    let y = Tensor::empty(x.gpu(), [n, c, out[0], out[1]], DType::F32)?;
    let planes = Planes::new(shape, out)?;
    average(window.average_shader(&planes, "forward", count_padding), x, &y, &planes)?;
    Ok(y)
}

/// Gradient of [`average_forward`] for an input of shape [N, C, H, W].
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn average_backward(
    dy: &Tensor,
    shape: [usize; 4],
    window: &Window,
    count_padding: bool,
) -> Result<Tensor> {
    dy.expect(DType::F32)?;
    let planes = Planes::new(shape, window.pooled(dy, shape)?)?;
    let dx = Tensor::empty(dy.gpu(), shape, DType::F32)?;
    average(window.average_shader(&planes, "backward", count_padding), dy, &dx, &planes)?;
    Ok(dx)
}

fn average(spec: ShaderSpec, x: &Tensor, y: &Tensor, planes: &Planes) -> Result<()> {
    let launch = x.gpu().launch(spec).bind(x.buffer()).bind(y.buffer()).params(&planes.params());
    launch.threads(y.count() as u64, 64)
}

pub(super) fn variants() -> Vec<Entry> {
    let windows = [
        (Window::square(2), [28, 28]),
        (Window::square(2), [10, 10]),
        (Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }, [9, 8]),
        (Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] }, [5, 7]),
        (Window::square(7), [7, 7]),
    ];
    let each = |(window, plane): &(Window, [usize; 2])| {
        let pooled = window.output(*plane).unwrap_or([1, 1]);
        let planes = Planes { count: 1, plane: *plane, pooled };
        let max = [(false, false), (false, true), (true, false), (true, true)];
        let average = [("forward", false), ("forward", true), ("backward", false), ("backward", true)];
        let max = max.map(|(backward, relu)| window.max_shader(&planes, backward, relu).0);
        let average = average.map(|(direction, count)| window.average_shader(&planes, direction, count));
        max.into_iter().chain(average).map(|s| entry(s, PoolParams::LAYOUT)).collect::<Vec<_>>()
    };
    windows.iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn windows_that_fit_are_counted_rounded_down() {
        let window = |kernel, stride, padding| Window {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        for (window, plane, pooled) in [
            (window(2, 2, 0), [28, 28], [14, 14]),
            (window(2, 2, 0), [5, 2], [2, 1]),
            (window(3, 2, 1), [112, 7], [56, 4]),
            (window(3, 1, 1), [5, 1], [5, 1]),
            (Window { kernel: [1, 4], stride: [3, 1], padding: [0, 2] }, [7, 3], [3, 4]),
        ] {
            assert_eq!(window.output(plane).unwrap(), pooled, "{window:?} over {plane:?}");
        }
        // Gaps between windows, and rows left over, are pixels that no window sees.
        for (window, plane, covers) in [
            (window(2, 2, 0), [28, 28], true),
            (window(2, 2, 0), [28, 27], false),
            (window(1, 2, 0), [5, 5], false),
            (window(3, 2, 1), [7, 8], true),
            (window(2, 2, 1), [3, 4], true),
            (window(3, 3, 1), [6, 6], false),
        ] {
            assert_eq!(window.covers(plane), covers, "{window:?} over {plane:?}");
        }
        for (window, plane) in [
            (window(3, 1, 0), [2, 5]), // larger than the plane
            (window(0, 1, 0), [2, 2]),
            (window(2, 0, 0), [2, 2]),
            (window(2, 1, 2), [9, 9]), // a window in the padding alone
            (window(1, 1, 1), [9, 9]),
        ] {
            let error = window.output(plane).unwrap_err().to_string();
            assert!(error.contains(&format!("{plane:?}")), "{error}");
        }
    }
}
