//! Parameter blocks: one struct for Rust and, by a test, the same for WGSL.

/// Declares a `#[repr(C)]` parameter block together with the names and offsets of its fields, so that a test
/// can hold them against the shader's `struct Params`.
macro_rules! params {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name { $(pub $field: $type),* }

        impl $name {
            pub(crate) const LAYOUT: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field))),*];
        }
    };
}
pub(crate) use params;
