// The norm of all gradients from their partial sums of squares, and the factor that brings it down to the limit:
// min(1, limit / (norm + 1e-6)) (Pascanu et al. 2013, algorithm 1, in the form of PyTorch's `clip_grad_norm_`).
const capacity = /*{ capacity }*/u;
const size = 64u;

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> factor: array<f32>;
// The norm is the fourth value of the step's entry; see loss/tally.wgsl for both.
@group(0) @binding(2) var<storage, read_write> history: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> progress: array<u32>;
struct Params { count: u32, passes: u32, limit: f32 }
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> sums: array<f32, size>;

@compute @workgroup_size(size)
fn main(@builtin(local_invocation_index) lane: u32) {
  var total = 0.0;
  for (var i = lane; i < params.count; i += size) { total += partials[i]; }
  sums[lane] = total;
  for (var half = size / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  // Behind a loss that is not finite, the gradients are of no step.
  if ((lane > 0u) | (progress[2] != 0u)) { return; }
  let norm = sqrt(sums[0]);
  factor[0] = min(1.0, params.limit / (norm + 1e-6));
  // The tally has counted the step.
  let step = progress[1] - 1u;
  history[step % capacity].w = norm;
  // WGSL may assume that there is no infinity, so look at the bits. The step is taken back: it moves nothing.
  if ((bitcast<u32>(sums[0]) & 0x7f800000u) == 0x7f800000u) {
    progress[0] -= params.passes;
    progress[1] = step;
    progress[2] = 1u;
  }
}
