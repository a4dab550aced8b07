// Which values of [rows, channels, plane] an invocation works on: `channel`, and `column` within each row of the
// channels' planes. Workgroups: z = rows, and
//% if planes
// x = along the plane, y = channel; no division is needed to know which.
  if (id.x >= params.plane) { return; }
  let channel = id.y;
  let column = channel * params.plane + id.x;
//% else
// x, y = along a row. Planes are short, so their extent is a constant, and the division a multiplication.
  let column = linear_index(id, groups, /*{ size }*/u);
  if (column >= params.width) { return; }
  let channel = column / /*{ plane }*/u;
//% endif
