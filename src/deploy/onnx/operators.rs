//! How layers are said in ONNX's operators, alike for integer and float networks.

use super::builder::Attribute;

/// Options by name.
pub type Attributes = Vec<(&'static str, Attribute)>;

/// Options of a Conv; [y, x] each, and pads above, left, below, right.
pub fn conv_attributes(
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    groups: usize,
) -> Attributes {
    vec![
        ("kernel_shape", Attribute::extents(&kernel)),
        ("strides", Attribute::extents(&stride)),
        ("dilations", Attribute::extents(&dilation)),
        ("pads", Attribute::extents(&pads)),
        ("group", Attribute::Int(groups as i64)),
    ]
}

/// Options of MaxPool and AveragePool; [y, x] each. Windows that do not fit are left out, as everywhere here.
pub fn window_attributes(kernel: [usize; 2], stride: [usize; 2], [y, x]: [usize; 2]) -> Attributes {
    vec![
        ("kernel_shape", Attribute::extents(&kernel)),
        ("strides", Attribute::extents(&stride)),
        ("pads", Attribute::extents(&[y, x, y, x])),
    ]
}
