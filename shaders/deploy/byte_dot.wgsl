// The sum of four products of bytes with their signs.
fn byte_dot(a: u32, b: u32) -> i32 {
//% if packed
  return dot4I8Packed(a, b);
//% else
  // For compilers that are handed the instruction in a form they do not take (src/kernel/int8/dots.rs).
  return dot(unpack4xI8(a), unpack4xI8(b));
//% endif
}
