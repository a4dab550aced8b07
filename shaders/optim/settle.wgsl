// Ends a step: where an update was not finite, the step is taken back, and its entry in the history says which parameter it
// was by a norm below zero.
const capacity = /*{ capacity }*/u;

// [loss, hits, hits among the first five, norm of the gradients] of the last `capacity` steps, as a ring.
@group(0) @binding(0) var<storage, read_write> history: array<vec4<f32>>;
// progress: [batch of the epoch, step, halted, passes of the step that are done]; see momentum.wgsl for what halts.
@group(0) @binding(1) var<storage, read_write> progress: array<u32>;
struct Params { passes: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  if (progress[2] < 2u) { return; }
  let step = progress[1] - 1u;
  history[step % capacity].w = -f32(progress[2] - 1u);
  progress[0] -= params.passes;
  progress[1] = step;
  progress[2] = 1u;
}
