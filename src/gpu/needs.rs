//! The least that kernels need of a device. Everything else (subgroups, half precision, timestamps, large bindings) is
//! used if it is there.

/// Limits below which kernels cannot run, in WebGPU's terms. All are at most WebGPU's defaults, and a test holds every
/// shader to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Storage buffers of one kernel.
    pub storage_buffers: u32,
    /// Invocations of one workgroup, all along x.
    pub workgroup_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Workgroups in each dimension of a dispatch.
    pub workgroups: u32,
}

/// What the library's kernels need.
pub const NEEDS: Needs =
    Needs { storage_buffers: 7, workgroup_invocations: 256, workgroup_bytes: 16_384, workgroups: 65_535 };

impl Needs {
    /// What `limits` have too little of: with numbers, as the end of a sentence. `None` if they are enough.
    pub(super) fn missing(&self, limits: &wgpu::Limits) -> Option<String> {
        let pairs = [
            (
                "max_storage_buffers_per_shader_stage",
                limits.max_storage_buffers_per_shader_stage,
                self.storage_buffers,
            ),
            (
                "max_compute_invocations_per_workgroup",
                limits.max_compute_invocations_per_workgroup,
                self.workgroup_invocations,
            ),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x, self.workgroup_invocations),
            (
                "max_compute_workgroup_storage_size",
                limits.max_compute_workgroup_storage_size,
                self.workgroup_bytes,
            ),
            (
                "max_compute_workgroups_per_dimension",
                limits.max_compute_workgroups_per_dimension,
                self.workgroups,
            ),
        ];
        let short: Vec<String> = pairs
            .into_iter()
            .filter(|(_, has, needs)| has < needs)
            .map(|(name, has, needs)| format!("{name} = {has} where the kernels need {needs}"))
            .collect();
        (!short.is_empty()).then(|| short.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webgpus_defaults_are_enough_and_each_limit_below_is_named_with_its_numbers() {
        assert_eq!(NEEDS.missing(&wgpu::Limits::default()), None);
        let small = wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            max_compute_invocations_per_workgroup: 128,
            ..Default::default()
        };
        assert_eq!(
            NEEDS.missing(&small).unwrap(),
            "max_storage_buffers_per_shader_stage = 4 where the kernels need 7, \
             max_compute_invocations_per_workgroup = 128 where the kernels need 256"
        );
        // Nobody who asked for WebGL's limits can run compute shaders at all.
        let none = NEEDS.missing(&wgpu::Limits::downlevel_webgl2_defaults()).unwrap();
        assert!(none.contains("max_compute_workgroups_per_dimension = 0"), "{none}");
    }
}
