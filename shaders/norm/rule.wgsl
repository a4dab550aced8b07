// What the statistics of a channel mean for its values and for its gradients. Every form of normalization comes down
// to these numbers, so the kernels that use them know no forms.

// y = (value - center) * factor + beta. With the sums S = sum g and T = sum g * (value - center) over the channel:
//   gradient of gamma = gamma_by_s * S + gamma_by_t * T
//   gradient of the convolution's bias = bias_by_s * S
//   gradient of value = factor * g
//   and what goes back through the statistics, to the values they were taken of:
//     slope_by_t * T * (value - origin) + offset_by_s * S
struct Rule {
  center: f32,
  factor: f32,
  origin: f32,
  bias_by_s: f32,
  gamma_by_s: f32,
  gamma_by_t: f32,
  slope_by_t: f32,
  offset_by_s: f32,
}

// As it lies in memory: two loads.
struct StoredRule { forward: vec4<f32>, backward: vec4<f32> }

fn stored(rule: Rule) -> StoredRule {
  return StoredRule(vec4(rule.center, rule.factor, rule.origin, rule.bias_by_s),
                    vec4(rule.gamma_by_s, rule.gamma_by_t, rule.slope_by_t, rule.offset_by_s));
}
