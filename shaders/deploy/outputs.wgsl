// What turns the sums of four output channels into codes.
struct Outputs { bias: vec4<i32>, mantissa: vec4<u32>, shift: vec4<u32> }
