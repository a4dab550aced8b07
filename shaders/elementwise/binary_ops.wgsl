// The body of a function of `a` and `b`, scalars or vectors alike, with the op's constant in params.c.
// The gradients of unary ops are here too: `a` is the incoming gradient, `b` the saved input or output.
// `Value` is f32 or vec4<f32>, whichever the including shader works on.
//% if op == "add"
  return a + b;
//% elif op == "add_relu"
  return max(a + b, Value(0.0));
//% elif op == "sub"
  return a - b;
//% elif op == "mul"
  return a * b;
//% elif op == "div"
  // WGSL promises nothing for divisors beyond 2^126, whose reciprocals are no normal numbers.
  let smaller = select(Value(1.0), Value(0.25), abs(b) > Value(8.507059e37));
  return (a * smaller) / (b * smaller);
//% elif op == "max"
  return max(a, b);
//% elif op == "min"
  return min(a, b);
//% elif op == "relu_grad"
  return select(Value(0.0), a, b > Value(0.0));
//% elif op == "relu6_grad"
  return select(Value(0.0), a, (b > Value(0.0)) & (b < Value(6.0)));
//% elif op == "leaky_relu_grad"
  return select(a * params.c, a, b > Value(0.0));
//% elif op == "sigmoid_grad"
  return a * b * (1.0 - b);
//% elif op == "tanh_grad"
  return a * (1.0 - b * b);
//% elif op == "hsigmoid_grad"
  return select(Value(0.0), a / 6.0, (b > Value(0.0)) & (b < Value(1.0)));
//% elif op == "hswish_grad"
  return a * select(select((2.0 * b + 3.0) / 6.0, Value(0.0), b <= Value(-3.0)), Value(1.0), b >= Value(3.0));
//% elif op == "log_grad"
  return a / b;
//% elif op == "sqrt_grad"
  return a * 0.5 / b;
//% endif
