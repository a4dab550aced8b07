//! Asking a device whether it takes a shader.

use super::Gpu;
use crate::shader::Shader;

impl Gpu {
    /// True if the device makes a pipeline of `shader`. The pipeline is not kept, and the device goes on if it takes none.
    pub fn takes(&self, shader: &Shader) -> bool {
        // A shader that is wrong is refused as invalid, one that the driver's compiler fails on as an internal error.
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal]
            .map(|filter| self.0.device.push_error_scope(filter));
        let rendered = self.0.pipelines.compile(&self.0.device, shader, self.0.checked).is_ok();
        let errors = scopes.map(Some).into_iter().rev().filter_map(|scope| pollster::block_on(scope?.pop()));
        let failed = errors.count() > 0;
        rendered && !failed
    }
}
