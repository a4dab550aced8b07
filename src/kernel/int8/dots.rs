//! Whether a device takes the instruction for four products of bytes.

use crate::gpu::Gpu;
use crate::shader::Shader;

#[derive(PartialEq, Eq, Hash)]
struct ByteDots;

/// The smallest shader with the instruction. Public for tests that have a compiler and no device.
pub const BYTE_DOTS_PROBE: &str = "
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@compute @workgroup_size(1)
fn main() { words[0] = bitcast<u32>(dot4I8Packed(words[0], words[1])); }
";

/// False where shaders must spell four products out. On DX12 the compiler is a library beside the program, of any age. naga 30
/// hands it `dot4add_i8packed(a, b, 0)` from shader model 6.4 on, and before 1.8, DXC takes that 0 for 64 bits wide and fails. No
/// other form of WGSL reaches the instruction, so the compiler is asked, once for each device.
pub(super) fn has_byte_dots(gpu: &Gpu) -> bool {
    *gpu.memo(ByteDots, |_| {
        let is_sure = gpu.caps().adapter.backend != wgpu::Backend::Dx12.to_str();
        is_sure
            || gpu.takes(&Shader::Host {
                name: "products of bytes".to_string(),
                text: BYTE_DOTS_PROBE.to_string(),
            })
    })
}

/// Has kernels for integers spell products of bytes out on this device, if none has been started on it yet. Their codes are the
/// same; this is for drivers that compute them wrong, and for tests.
pub fn avoid_byte_dots(gpu: &Gpu) {
    gpu.memo(ByteDots, |_| false);
}
