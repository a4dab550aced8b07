// Stochastic gradient descent with momentum (Sutskever et al. 2013, in the form of PyTorch and MindSpore):
// v = momentum * v + (g + weight_decay * p);  p = p - rate * v.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> rate: array<f32>;
//% if scaled
// Factor of the gradient.
@group(0) @binding(2) var<storage, read> factor: array<f32>;
//% endif
// progress[2]: 1 where the loss or the gradients' norm is not finite: then nothing may change. An update that is not finite is
// left out and raises it to 2 and the parameter's place, since a ReLU can hide from the loss what became of the weights. The
// rest of the step does not look at that, so that what happens is the same whoever comes first; `settle.wgsl` does.
@group(0) @binding(/*{ 3 if scaled else 2 }*/) var<storage, read_write> progress: array<atomic<u32>>;
@group(0) @binding(/*{ 4 if scaled else 3 }*/) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(/*{ 5 if scaled else 4 }*/) var<storage, read_write> parameter: array<vec4<f32>>;
struct Params { count: u32, stride: u32, momentum: f32, weight_decay: f32, place: u32 }
@group(0) @binding(/*{ 6 if scaled else 5 }*/) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
  if (atomicLoad(&progress[2]) == 1u) { return; }
  let step = rate[0];
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i * 4u < params.count) {
      let p = parameter[i];
//% if scaled
      let g = factor[0] * gradient[i];
//% else
      let g = gradient[i];
//% endif
      let v = params.momentum * velocity[i] + (g + params.weight_decay * p);
      let next = p - step * v;
      // All bits of the exponent: infinite, or no number.
      let exponent = vec4(0x7f800000u);
      let is_broken = ((bitcast<vec4<u32>>(v) & exponent) == exponent) | ((bitcast<vec4<u32>>(next) & exponent) == exponent);
      // Behind the last value may lie anything.
      if (any(is_broken & (i * 4u + vec4(0u, 1u, 2u, 3u) < vec4(params.count)))) {
        atomicStore(&progress[2], 2u + params.place);
      } else {
        velocity[i] = v;
        parameter[i] = next;
      }
    }
  }
//% endfor
}
