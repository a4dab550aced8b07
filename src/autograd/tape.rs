//! The tape, all of it: variables, nodes, and the loop that walks them backwards.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::gpu::Gpu;
use crate::kernel::elementwise;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// The gradient of one operation. It sits beside the forward function that records it, and keeps of the
/// forward's tensors only what its formula needs.
pub trait Backward: Send {
    /// Gradients with respect to the operation's inputs, in their order, from the gradient with respect to
    /// its output. Where `wanted` is false, nobody will look: answer `None` and save the work.
    ///
    /// # Errors
    /// Where the device has failed. A gradient that has not the shape, type and device of its input is refused by the walk.
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>>;
}

struct Node {
    parents: Vec<Option<usize>>,
    /// What each input is: its gradient must be the same.
    inputs: Vec<Kind>,
    backward: Option<Box<dyn Backward>>,
}

/// What a gradient has in common with what it is the gradient of.
#[derive(Clone)]
struct Kind {
    shape: Shape,
    dtype: DType,
    gpu: Gpu,
}

impl Kind {
    fn of(tensor: &Tensor) -> Self {
        Kind { shape: tensor.shape().clone(), dtype: tensor.dtype(), gpu: tensor.gpu().clone() }
    }

    /// Fails where `gradient`, that of input number `place`, is of another kind.
    fn check(&self, place: usize, gradient: &Tensor) -> Result<()> {
        if gradient.shape() == &self.shape && gradient.dtype() == self.dtype && gradient.gpu().same(&self.gpu)
        {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "the gradient of input {place} of an operation is {gradient:?} on {:?}, and the input is {} {} on {:?}; the two \
             must be of one shape and type, on one device",
            gradient.gpu(),
            self.dtype,
            self.shape,
            self.gpu
        )))
    }
}

#[derive(Default)]
struct Nodes {
    list: Vec<Node>,
    /// How often it was walked: places from before a walk are no places any more.
    walks: u64,
}

/// What was computed, in order. A backward walk empties it; variables from before are of no use behind it.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Nodes>>);

#[derive(Clone)]
struct Place {
    tape: Tape,
    /// Walks of the tape that were before it.
    walks: u64,
    index: usize,
}

/// A tensor that may have a place on a tape.
#[derive(Clone)]
pub struct Var {
    tensor: Tensor,
    place: Option<Place>,
}

/// The gradients that a backward walk found, by variable.
pub struct Gradients {
    tape: Tape,
    walks: u64,
    by_node: Vec<Option<Tensor>>,
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Tape::default()
    }

    /// A variable whose gradient is wanted: a parameter.
    pub fn leaf(&self, tensor: &Tensor) -> Var {
        self.push(tensor.clone(), Node { parents: Vec::new(), inputs: Vec::new(), backward: None })
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn push(&self, tensor: Tensor, node: Node) -> Var {
        let mut nodes = self.nodes();
        nodes.list.push(node);
        let place = Place { tape: self.clone(), walks: nodes.walks, index: nodes.list.len() - 1 };
        Var { tensor, place: Some(place) }
    }

    fn same(&self, other: &Tape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Walks back from `loss`, a single number, and empties the tape on the way: what an operation kept is
    /// freed as soon as its gradient is known.
    ///
    /// # Errors
    /// Where `loss` is not one number or not on this tape, or the device has failed.
    pub fn backward(&self, loss: &Var) -> Result<Gradients> {
        if loss.tensor.count() != 1 {
            return Err(Error::Shape(format!(
                "backward starts from a single number, and the loss has shape {}",
                loss.tensor.shape()
            )));
        }
        let one = elementwise::fill(loss.tensor.gpu(), loss.tensor.shape(), 1.0)?;
        self.backward_from(loss, one)
    }

    /// As [`Tape::backward`], from any variable with the gradient `seed` of its shape.
    ///
    /// # Errors
    /// Where `output` is not on this tape, `seed` has another shape, a [`Backward`] answers with a gradient that is not of
    /// its input's shape, or the device has failed.
    pub fn backward_from(&self, output: &Var, seed: Tensor) -> Result<Gradients> {
        seed.expect(output.tensor.dtype())?;
        if seed.shape() != output.tensor.shape() {
            return Err(Error::Shape(format!(
                "the gradient that backward starts from has shape {}, and its variable {}",
                seed.shape(),
                output.tensor.shape()
            )));
        }
        let (mut nodes, walks, last) = {
            let mut nodes = self.nodes();
            let here = |place: &&Place| place.tape.same(self) && place.walks == nodes.walks;
            let Some(place) = output.place.as_ref().filter(here) else {
                return Err(Error::Invalid(
                    "backward was asked for a variable that is not on this tape: nothing that it came from was \
                     a leaf, or the tape was walked already"
                        .into(),
                ));
            };
            nodes.walks += 1;
            (std::mem::take(&mut nodes.list), place.walks, place.index)
        };
        let mut by_node: Vec<Option<Tensor>> = vec![None; nodes.len()];
        by_node[last] = Some(seed);
        while let Some(node) = nodes.pop() {
            let Some(backward) = node.backward else { continue };
            let Some(dy) = by_node[nodes.len()].take() else { continue };
            let wanted: Vec<bool> = node.parents.iter().map(Option::is_some).collect();
            let gradients = backward.backward(&dy, &wanted)?;
            if gradients.len() != wanted.len() {
                return Err(Error::Invalid(format!(
                    "an operation of {} inputs answered with {} gradients; each input needs one, or None",
                    wanted.len(),
                    gradients.len()
                )));
            }
            for (place, (parent, gradient)) in node.parents.iter().zip(gradients).enumerate() {
                let (Some(parent), Some(gradient)) = (*parent, gradient) else { continue };
                node.inputs[place].check(place, &gradient)?;
                by_node[parent] = Some(match by_node[parent].take() {
                    Some(sum) => elementwise::add_same(&sum, &gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(Gradients { tape: self.clone(), walks, by_node })
    }
}

impl Gradients {
    /// The gradient with respect to a leaf; `None` where the loss does not depend on it.
    pub fn of(&self, var: &Var) -> Option<&Tensor> {
        let place = var.place.as_ref()?;
        let ours = place.tape.same(&self.tape) && place.walks == self.walks;
        if ours { self.by_node.get(place.index)?.as_ref() } else { None }
    }
}

fn places_of<'a>(vars: &'a [&Var]) -> impl Iterator<Item = &'a Place> {
    vars.iter().filter_map(|v| v.place.as_ref())
}

impl Var {
    /// A tensor whose gradient nobody wants: an input.
    pub fn constant(tensor: Tensor) -> Var {
        Var { tensor, place: None }
    }

    /// The result of an operation on `inputs`. Where none of them is on a tape, neither is the result, and
    /// `backward` is never made.
    ///
    /// # Errors
    /// Where the inputs are on different tapes, or on one that was walked since.
    pub fn record<B: Backward + 'static>(
        tensor: Tensor,
        inputs: &[&Var],
        backward: impl FnOnce() -> B,
    ) -> Result<Var> {
        let mut places = places_of(inputs);
        let Some(Place { tape, .. }) = places.next() else { return Ok(Var::constant(tensor)) };
        if places.any(|other| !other.tape.same(tape)) {
            return Err(Error::Invalid("an operation was given variables of two tapes".into()));
        }
        let now = tape.nodes().walks;
        if places_of(inputs).any(|place| place.walks != now) {
            return Err(Error::Invalid(
                "an operation was given a variable of a tape that was walked already; make new leaves for each \
                 backward walk"
                    .into(),
            ));
        }
        let parents = inputs.iter().map(|v| v.place.as_ref().map(|place| place.index)).collect();
        let kinds = inputs.iter().map(|v| Kind::of(&v.tensor)).collect();
        Ok(tape.push(tensor, Node { parents, inputs: kinds, backward: Some(Box::new(backward())) }))
    }

    /// The values.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// True where a gradient can reach it.
    pub fn on_tape(&self) -> bool {
        self.place.is_some()
    }
}
