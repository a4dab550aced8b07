// The place of an invocation in a dispatch that was folded into two dimensions (see Launch::threads).
fn linear_index(id: vec3<u32>, groups: vec3<u32>, size: u32) -> u32 {
  return id.y * (groups.x * size) + id.x;
}
