// What a value needs to know of its channel for its gradient: center, factor, beta and origin as in norm/rule.wgsl,
// and the slope and offset of what comes through the statistics.
struct Share { place: vec4<f32>, through: vec4<f32> }

fn share_of(rule: vec4<f32>, beta: f32, through: vec2<f32>) -> Share {
  return Share(vec4(rule.x, rule.y, beta, rule.z), vec4(through, 0.0, 0.0));
}
