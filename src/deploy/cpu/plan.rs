//! A network as steps over memory that is shared by layers which are not needed at the same time.

use super::conv::Conv;
use super::pool::Pool;
use super::rule::{Ends, SumRule};
use super::workers::Workers;
use crate::deploy::{Int8Model, Op};
use crate::{Error, Result};
use rayon::prelude::*;

/// What is computed for a layer.
enum Step {
    /// Nothing: the codes lie where they are needed.
    Nothing,
    Conv(Box<Conv>),
    Pool(Box<Pool>),
    /// With the places of the second input's codes in the order of the first's, where those differ.
    Add(SumRule, Option<Vec<usize>>),
    Table(Box<[i8; 256]>),
}

/// Where a layer's codes are. Images lie there as [H, W, C].
#[derive(Clone, Copy)]
struct Place {
    slot: usize,
    /// [C, H, W]; a flattened image's are those it had.
    planes: [usize; 3],
}

/// The steps of a network, in the order of its layers.
pub(super) struct Plan {
    steps: Vec<Step>,
    inputs: Vec<Vec<usize>>,
    places: Vec<Place>,
    /// For a pooling that the convolution before it does on the way: that convolution. It runs in the pooling's turn, since
    /// before that the pooling's memory may still be another layer's.
    joined: Vec<Option<usize>>,
    /// Convolutions that wait for that.
    waits: Vec<bool>,
    /// Codes in each slot.
    slots: Vec<usize>,
    wide: usize,
    output: usize,
    /// Products for an image.
    pub products: usize,
}

/// Memory for one image on its way.
pub(super) struct Workspace {
    slots: Vec<Vec<i8>>,
    wide: Vec<i16>,
}

fn size(planes: [usize; 3]) -> usize {
    planes.iter().product()
}

/// Memory that may not be there.
fn room<T: Clone + Default>(count: usize) -> Result<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| {
        Error::Invalid(format!("there is no memory for {count} codes of an image; take a smaller one"))
    })?;
    room.resize(count, T::default());
    Ok(room)
}

impl Plan {
    /// For a model that was checked.
    pub fn new(model: &Int8Model) -> Result<Plan> {
        let layers = &model.layers;
        // A flattened image lies where its input does.
        let mut root: Vec<usize> = (0..layers.len()).collect();
        let mut users = vec![Vec::new(); layers.len()];
        let mut last_use: Vec<usize> = (0..layers.len()).collect();
        for (id, layer) in layers.iter().enumerate() {
            if matches!(layer.op, Op::Flatten) {
                root[id] = root[layer.inputs[0]];
            }
            for &input in &layer.inputs {
                users[input].push(id);
                last_use[root[input]] = id;
            }
        }
        last_use[root[model.output]] = layers.len();
        // A pooling that is all that follows a convolution.
        let pool_of = |id: usize| match users[id][..] {
            [user] if id != model.output => match &layers[user].op {
                Op::MaxPool2d(window) if Conv::can_pool(window) => Some((user, window)),
                _ => None,
            },
            _ => None,
        };
        let mut plan = Plan {
            steps: Vec::new(),
            inputs: layers.iter().map(|layer| layer.inputs.clone()).collect(),
            places: Vec::new(),
            joined: vec![None; layers.len()],
            waits: vec![false; layers.len()],
            slots: Vec::new(),
            wide: 0,
            output: model.output,
            products: 0,
        };
        for (id, layer) in layers.iter().enumerate() {
            if let (Op::Conv2d(_), Some((pool, _))) = (&layer.op, pool_of(id)) {
                plan.joined[pool] = Some(id);
                plan.waits[id] = true;
                // It is read in the pooling's turn.
                let input = root[layer.inputs[0]];
                last_use[input] = last_use[input].max(pool);
            }
        }
        let mut free = Vec::new();
        for (id, layer) in layers.iter().enumerate() {
            let planes = match layer.op {
                Op::Flatten | Op::Table(_) | Op::Add => plan.places[layer.inputs[0]].planes,
                _ => layer.planes(),
            };
            let slot =
                if root[id] == id { plan.slot(size(planes), &mut free) } else { plan.places[root[id]].slot };
            plan.places.push(Place { slot, planes });
            let ended = (0..=id).filter(|&before| root[before] == before && last_use[before] == id);
            free.extend(ended.map(|before| plan.places[before].slot));

            let from = |index: usize| plan.places[layer.inputs[index]].planes;
            let zero = |index: usize| layers[layer.inputs[index]].grid.zero_point;
            let step = match &layer.op {
                Op::Input | Op::Flatten => Step::Nothing,
                Op::Conv2d(conv) => {
                    let pool = pool_of(id);
                    let given = pool.map(|(user, window)| (window, layers[user].planes()));
                    let conv = Conv::new(model, layer, conv, from(0), given)?;
                    Step::Conv(Box::new(conv))
                }
                Op::Dense(linear) => Step::Conv(Box::new(Conv::dense(model, layer, linear, from(0))?)),
                Op::MaxPool2d(window) => Step::Pool(Box::new(Pool::max(window, from(0), planes))),
                Op::AvgPool2d(window) => {
                    let multiplier = model.mean_multiplier(layer, window)?;
                    let pool = Pool::max(window, from(0), planes);
                    Step::Pool(Box::new(pool.mean(multiplier, Ends::of(layer), zero(0))))
                }
                Op::Add => {
                    let [a, b] = model.add_multipliers(layer)?;
                    let rule = SumRule {
                        mantissa: [a.mantissa, b.mantissa],
                        shift: a.shift,
                        zeros: [zero(0).into(), zero(1).into()],
                        ends: Ends::of(layer),
                    };
                    Step::Add(rule, reordered(from(0), from(1)))
                }
                Op::Table(table) => {
                    let codes = table.codes.as_slice().try_into().map_err(|_| {
                        Error::Invalid(format!("layer \"{}\": its table does not have 256 codes", layer.name))
                    })?;
                    Step::Table(Box::new(codes))
                }
            };
            if let Step::Conv(conv) = &step {
                plan.wide = plan.wide.max(conv.widened());
                plan.products = plan.products.saturating_add(conv.products());
            }
            plan.steps.push(step);
        }
        Ok(plan)
    }

    /// A free slot, the smallest that is large enough or else the largest, which then grows; or a new one.
    fn slot(&mut self, size: usize, free: &mut Vec<usize>) -> usize {
        let fits = |&slot: &usize| self.slots[slot] >= size;
        let best = (free.iter().copied().filter(fits).min_by_key(|&slot| self.slots[slot]))
            .or_else(|| free.iter().copied().max_by_key(|&slot| self.slots[slot]));
        let Some(slot) = best else {
            self.slots.push(size);
            return self.slots.len() - 1;
        };
        free.retain(|&other| other != slot);
        self.slots[slot] = self.slots[slot].max(size);
        slot
    }

    pub fn workspace(&self) -> Result<Workspace> {
        let slots = self.slots.iter().map(|&size| room(size)).collect::<Result<_>>()?;
        Ok(Workspace { slots, wide: room(self.wide)? })
    }

    /// Codes of the output [C, H, W] for an image [C, H, W].
    pub fn run(&self, workers: Workers, memory: &mut Workspace, image: &[i8], output: &mut [i8]) {
        self.enter(memory, image);
        for id in 1..self.steps.len() {
            self.step(id, true, workers, memory);
        }
        self.leave(self.output, memory, output);
    }

    /// Appends each layer's codes of an image to those that are there.
    pub fn trace(&self, workers: Workers, memory: &mut Workspace, image: &[i8], all: &mut [Vec<i8>]) {
        self.enter(memory, image);
        for (id, codes) in all.iter_mut().enumerate() {
            self.step(id, false, workers, memory);
            let first = codes.len();
            codes.resize(first + size(self.places[id].planes), 0);
            self.leave(id, memory, &mut codes[first..]);
        }
    }

    /// [C, H, W] to [H, W, C].
    fn enter(&self, memory: &mut Workspace, image: &[i8]) {
        let Place { slot, planes: [channels, height, width] } = self.places[0];
        turn(image, &mut memory.slots[slot][..image.len()], channels, height * width);
    }

    /// [H, W, C] to [C, H, W].
    fn leave(&self, id: usize, memory: &Workspace, codes: &mut [i8]) {
        let Place { slot, planes: [channels, height, width] } = self.places[id];
        turn(&memory.slots[slot][..codes.len()], codes, height * width, channels);
    }

    /// A layer's codes; with `together`, those of a pooling straight from the convolution before it.
    fn step(&self, id: usize, together: bool, workers: Workers, memory: &mut Workspace) {
        if together && self.waits[id] {
            return;
        }
        let doing = self.joined[id].filter(|_| together).unwrap_or(id);
        let Place { slot, planes } = self.places[id];
        let mut given = std::mem::take(&mut memory.slots[slot]);
        let codes = &mut given[..size(planes)];
        let input = |index: usize| {
            let Place { slot, planes } = self.places[self.inputs[doing][index]];
            &memory.slots[slot][..size(planes)]
        };
        match &self.steps[doing] {
            // The codes lie in their input's slot, and stay there.
            Step::Nothing => {}
            Step::Conv(conv) => {
                let input = self.places[self.inputs[doing][0]];
                let from = &memory.slots[input.slot][..size(input.planes)];
                conv.run(workers, doing != id, from, &mut memory.wide, codes);
            }
            Step::Pool(pool) => pool.run(workers, input(0), codes),
            Step::Add(rule, None) => {
                let (a, b) = (input(0), input(1));
                // Adding two codes takes about as long as sixteen products.
                let per = workers.share(codes.len(), codes.len() * 16);
                if per >= codes.len() {
                    workers.lanes.add(a, b, rule, codes);
                } else {
                    let parts = codes.par_chunks_mut(per).zip(a.par_chunks(per)).zip(b.par_chunks(per));
                    parts.for_each(|((codes, a), b)| workers.lanes.add(a, b, rule, codes));
                }
            }
            Step::Add(rule, Some(order)) => {
                let (a, b) = (input(0), input(1));
                for ((code, &a), &place) in codes.iter_mut().zip(a).zip(order) {
                    *code = rule.code(a, b[place]);
                }
            }
            Step::Table(table) => {
                for (code, &x) in codes.iter_mut().zip(input(0)) {
                    *code = table[(i16::from(x) + 128) as usize];
                }
            }
        }
        memory.slots[slot] = given;
    }
}

/// Rows to columns: [rows, columns] to [columns, rows].
fn turn(from: &[i8], to: &mut [i8], rows: usize, columns: usize) {
    if rows == 1 || columns == 1 {
        to.copy_from_slice(from);
        return;
    }
    for (column, to) in to.chunks_mut(rows).enumerate() {
        for (to, &code) in to.iter_mut().zip(from[column..].iter().step_by(columns)) {
            *to = code;
        }
    }
}

/// For each code of flattened planes `a`, where planes `b` have the one of the same number; nothing where all stand alike.
fn reordered(a: [usize; 3], b: [usize; 3]) -> Option<Vec<usize>> {
    if a == b {
        return None;
    }
    // Number of the code at a place, which is [H, W, C].
    let numbers = |[channels, height, width]: [usize; 3]| {
        let area = height * width;
        (0..area * channels).map(move |place| place % channels * area + place / channels)
    };
    let mut place_of = vec![0; size(b)];
    for (place, number) in numbers(b).enumerate() {
        place_of[number] = place;
    }
    Some(numbers(a).map(|number| place_of[number]).collect())
}
