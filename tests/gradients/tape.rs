use simqat::Result;
use simqat::autograd::{Backward, GradCheck, Tape, Var, gradcheck};
use simqat::ops::{add, mul, mul_scalar, sum};
use simqat::tensor::Tensor;

use super::common::gpu;
use super::{draw, tensor, weighted};

fn told<T>(outcome: Result<T>) -> String {
    outcome.err().expect("this must fail").to_string()
}

#[test]
fn a_loss_is_one_number() {
    let tape = Tape::new();
    let x = tape.leaf(&draw([2, 3], 1));
    let y = mul_scalar(&x, 2.0).unwrap();
    let error = told(tape.backward(&y));
    assert!(error.contains("single number") && error.contains("[2, 3]"), "{error}");
    // The mistake cost nothing: the tape can still be walked.
    let gradients = tape.backward(&sum(&y, 0..2).unwrap()).unwrap();
    assert_eq!(gradients.of(&x).unwrap().read_f32().unwrap(), [2.0; 6]);
}

#[test]
fn a_seed_has_the_shape_of_its_variable() {
    let tape = Tape::new();
    let x = tape.leaf(&draw([2, 3], 1));
    let error = told(tape.backward_from(&x, draw([3, 2], 2)));
    assert!(error.contains("[3, 2]") && error.contains("[2, 3]"), "{error}");
}

/// Answers with whatever it was made with.
struct Answers(Vec<Option<Tensor>>);

impl Backward for Answers {
    fn backward(&self, _: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(self.0.clone())
    }
}

#[test]
fn a_gradient_is_of_its_inputs_kind() {
    let of = |place: usize, gradient: Tensor| {
        let tape = Tape::new();
        let inputs = [tape.leaf(&draw([2, 3], 1)), tape.leaf(&draw([4], 2))];
        let mut answers = vec![None, None];
        answers[place] = Some(gradient);
        let y = Var::record(draw([5], 3), &[&inputs[0], &inputs[1]], || Answers(answers)).unwrap();
        let gradients = tape.backward(&sum(&y, 0..1).unwrap())?;
        Ok::<_, simqat::Error>(gradients.of(&inputs[place]).unwrap().shape().clone())
    };
    assert_eq!(of(0, draw([2, 3], 4)).unwrap()[..], [2, 3]);
    // As many values in another order are another gradient.
    for (place, gradient, told_as) in [
        (0, draw([3, 2], 4), "input 0"),
        (0, draw([6], 4), "input 0"),
        (1, draw([2, 3], 4), "input 1"),
        (1, Tensor::from_u32(&gpu(), [4], &[1; 4]).unwrap(), "u32"),
        (1, Tensor::full(&simqat::gpu::Gpu::noop(), [4], 1.0).unwrap(), "one device"),
    ] {
        let error = told(of(place, gradient));
        assert!(error.contains(told_as) && error.contains("gradient"), "{error}");
    }
}

#[test]
fn a_tape_is_walked_once() {
    let tape = Tape::new();
    let x = tape.leaf(&draw([3], 1));
    let loss = weighted(&x).unwrap();
    let first = tape.backward(&loss).unwrap();
    assert!(told(tape.backward(&loss)).contains("walked already"));
    // What was on it before may not be mixed with what comes: its place means another node by then.
    assert!(told(mul_scalar(&x, 2.0)).contains("walked already"));
    let fresh = tape.leaf(&draw([3], 2));
    assert!(told(add(&fresh, &x)).contains("walked already"));
    // The tape itself serves again, and each walk's gradients are those of its own leaves.
    let second = tape.backward(&weighted(&mul_scalar(&fresh, 3.0).unwrap()).unwrap()).unwrap();
    assert!(second.of(&x).is_none() && first.of(&fresh).is_none());
    let [one, three] = [first.of(&x), second.of(&fresh)].map(|g| g.unwrap().read_f32().unwrap());
    // A factor of three is rounded once for each value.
    let close = one.iter().zip(&three).all(|(a, b)| (3.0 * a - b).abs() < 1e-6);
    assert!(close, "{one:?} {three:?}");
}

#[test]
fn variables_of_two_tapes_do_not_mix() {
    let (one, other) = (Tape::new(), Tape::new());
    let (a, b) = (one.leaf(&draw([3], 1)), other.leaf(&draw([3], 2)));
    assert!(told(add(&a, &b)).contains("two tapes"));
    let loss = weighted(&b).unwrap();
    assert!(told(one.backward(&loss)).contains("not on this tape"));
    // Being asked for another's variable took nothing off this tape.
    let loss = weighted(&a).unwrap();
    let gradients = one.backward(&loss).unwrap();
    assert!(gradients.of(&a).is_some() && gradients.of(&b).is_none());
}

#[test]
fn what_comes_from_no_leaf_is_on_no_tape() {
    let y = weighted(&Var::constant(draw([3], 1))).unwrap();
    assert!(!y.on_tape());
    assert!(told(Tape::new().backward(&y)).contains("not on this tape"));
}

#[test]
fn a_leaf_that_the_loss_does_not_depend_on_has_no_gradient() {
    let tape = Tape::new();
    let (used, unused) = (tape.leaf(&draw([3], 1)), tape.leaf(&draw([3], 2)));
    let dead_end = mul_scalar(&unused, 2.0).unwrap();
    let gradients = tape.backward(&weighted(&used).unwrap()).unwrap();
    assert!(gradients.of(&used).is_some() && gradients.of(&unused).is_none());
    assert!(dead_end.on_tape());
}

/// Says that the gradient of a square is what the field holds times x.
struct Claimed(Tensor, f32);

impl Backward for Claimed {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let slope = mul(&Var::constant(dy.clone()), &Var::constant(self.0.clone()))?;
        Ok(vec![Some(mul_scalar(&slope, self.1)?.tensor().clone())])
    }
}

fn square(x: &Var, claim: f32) -> Result<Var> {
    let y = mul(&Var::constant(x.tensor().clone()), &Var::constant(x.tensor().clone()))?;
    Var::record(y.tensor().clone(), &[x], || Claimed(x.tensor().clone(), claim))
}

#[test]
fn the_check_finds_a_wrong_gradient() {
    let x = [draw([2, 2], 1)];
    let run = |claim| gradcheck(GradCheck::default(), &x, |v| weighted(&square(&v[0], claim)?));
    run(2.0).unwrap();
    for wrong in [1.9, -2.0, 0.0, f32::NAN] {
        let error = told(run(wrong));
        assert!(error.contains("input 0, value 0"), "{error}");
    }
}

/// Claims to know no gradient.
struct Silent;

impl Backward for Silent {
    fn backward(&self, _: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[test]
fn the_check_finds_a_missing_gradient_and_one_of_a_later_input() {
    let inputs = [draw([2], 1), tensor([2], &[1.0, 2.0])];
    let outcome = gradcheck(GradCheck::default(), &inputs, |v| {
        let silent = Var::record(v[1].tensor().clone(), &[&v[1]], || Silent)?;
        weighted(&mul(&v[0], &silent)?)
    });
    assert!(told(outcome).contains("input 1, value 0"));
}

#[test]
fn gradients_that_nobody_wants_are_not_asked_for() {
    struct Asked;
    impl Backward for Asked {
        fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
            assert_eq!(wanted, [false, true]);
            Ok(vec![None, Some(dy.clone())])
        }
    }
    let tape = Tape::new();
    let leaf = tape.leaf(&draw([2], 1));
    let constant = Var::constant(draw([2], 2));
    let y = Var::record(draw([2], 3), &[&constant, &leaf], || Asked).unwrap();
    assert!(tape.backward(&weighted(&y).unwrap()).unwrap().of(&leaf).is_some());
    assert!(gpu().same(leaf.tensor().gpu()));
}
