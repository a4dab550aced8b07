//! Asking a device whether it takes a shader.

use super::Gpu;
use crate::shader::Shader;

impl Gpu {
    /// True if the device makes a pipeline of `shader`. The pipeline is not kept, and the device goes on if it takes none.
    pub fn takes(&self, shader: &Shader) -> bool {
        self.0.pipelines.compile(&self.0.device, shader, self.0.checked).is_ok()
    }
}
