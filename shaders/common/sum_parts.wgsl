// Adds up the partial sums of a split reduction, always in the same order: `parts` is [count, length].
struct Params {
    length: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
//% if bias
@group(0) @binding(1) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 2 if bias else 1 }*/) var<storage, read_write> output: array<f32>;
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < params.length; i += groups.x * /*{ threads }*/u) {
        var sum = parts[i];
        for (var part = 1u; part < params.count; part++) {
            sum += parts[part * params.length + i];
        }
//% if bias
        sum += bias[i / /*{ inner }*/u % /*{ columns }*/u];
//% endif
        output[i] = /*{ "max(sum, 0.0)" if relu else "sum" }*/;
    }
}
