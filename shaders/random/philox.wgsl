// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011). Value i is a function of seed, stream and i,
// so a kernel needs no state and gives the same bits on every adapter. Twin of src/tensor/random.rs.

// The upper half of a product, from 16-bit halves: WGSL has no mulhi.
fn multiply_high(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}

fn philox(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
  var key = seed;
  var c = counter;
  for (var round = 0u; round < 10u; round++) {
    let high = vec2(multiply_high(c.x, 0xD2511F53u), multiply_high(c.z, 0xCD9E8D57u));
    let low = vec2(c.x * 0xD2511F53u, c.z * 0xCD9E8D57u);
    c = vec4(high.y ^ c.y ^ key.x, low.y, high.x ^ c.w ^ key.y, low.x);
    key += vec2(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

// A word as a number in [0, 1) with 24 random bits.
fn unit(word: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(word >> vec4(8u)) * (1.0 / 16777216.0);
}
