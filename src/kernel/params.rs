//! Parameter blocks: one struct for Rust and, by a test, the same for WGSL.

/// A parameter block, or `()` for a kernel without one.
pub(crate) trait Block {
    /// Names and byte offsets of its fields, so that a test can hold them against the shader's `struct Params`.
    const LAYOUT: &'static [(&'static str, usize)];
    /// As the shader reads it.
    fn bytes(&self) -> Vec<u8>;
}

impl Block for () {
    const LAYOUT: &'static [(&'static str, usize)] = &[];
    fn bytes(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Declares a `#[repr(C)]` parameter block.
macro_rules! params {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name { $(pub $field: $type),* }

        impl $name {
            pub(crate) const LAYOUT: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field))),*];
        }

        impl $crate::kernel::params::Block for $name {
            const LAYOUT: &'static [(&'static str, usize)] = $name::LAYOUT;
            fn bytes(&self) -> Vec<u8> {
                bytemuck::bytes_of(self).to_vec()
            }
        }
    };
}
pub(crate) use params;
