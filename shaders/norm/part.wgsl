// A part of a channel of [rows, channels, plane], walked by the lanes of a workgroup: `along` of them take
// neighbours in a plane, the others the next rows, so that short planes keep all lanes busy and nothing is divided.
// Wants `params` with rows, channels and plane (in elements: four values each with `vectors`).
const along = /*{ along }*/u;
const across = /*{ lanes // along }*/u;

// From the first row and column to before the last ones.
struct Part { rows: vec2<u32>, columns: vec2<u32> }

// Where the lane begins.
fn start_of(part: Part, lane: u32) -> vec2<u32> {
  return vec2(part.rows.x + lane / along, part.columns.x + lane % along);
}

fn plane_of(row: u32, channel: u32) -> u32 {
  return (row * params.channels + channel) * params.plane;
}

fn whole_channel() -> Part {
  return Part(vec2(0u, params.rows), vec2(0u, params.plane));
}
