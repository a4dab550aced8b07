//! Do the integer network and the simulated one agree? Counted code by code.

use serde::Serialize;

use super::convert::Conversion;
use super::engine::Engine;
use super::grid::Grid;
use super::model::Layer;
use crate::nn::Network;
use crate::rounding::half_away;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// Images compared.
    pub images: usize,
    /// The integer network's layers, in its order.
    pub layers: Vec<LayerParity>,
    /// The other engines beside the first, in the order in which they were given.
    pub engines: Vec<EngineParity>,
    /// Images for which the integer network's class is another than the simulated network's, this with its own weights and
    /// biases in f32.
    pub predictions_differ: usize,
    /// Images whose label is the simulated network's class.
    pub simulated_correct: usize,
    /// Images whose label is the integer network's class.
    pub int8_correct: usize,
}

/// A layer of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerParity {
    /// Its name.
    pub name: String,
    /// Codes compared.
    pub codes: u64,
    /// Codes that differ where the simulated layer is given the numbers that the integer layer's input codes stand for.
    pub differ: u64,
    /// Largest difference of those.
    pub max_diff: u32,
    /// Of the codes that differ, how far the simulated value was at most from the middle between two codes, in steps: where f32
    /// rounds its sum to the other side.
    pub farthest_from_tie: f64,
    /// Codes that differ where the simulated network runs by itself from the image on, so that a difference is carried to all
    /// that hangs on it.
    pub differ_carried: u64,
}

/// An engine beside the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineParity {
    /// Its name.
    pub name: String,
    /// Codes compared, of all layers.
    pub codes: u64,
    /// Codes that differ; any is a fault.
    pub differ: u64,
}

/// A comparison under way.
pub struct Comparison<'a> {
    network: &'a Network,
    conversion: &'a Conversion,
    engines: Vec<(String, Box<dyn Engine>)>,
    found: Parity,
}

/// The classes that both gave a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Of the simulated network.
    pub simulated: Vec<usize>,
    /// Of the integer network.
    pub int8: Vec<usize>,
}

impl<'a> Comparison<'a> {
    /// Between a network, its conversion, and engines with the conversion's model; the first is held against the simulated
    /// network, the others against the first.
    ///
    /// # Errors
    /// Where there is no engine.
    pub fn new(
        network: &'a Network,
        conversion: &'a Conversion,
        engines: Vec<(String, Box<dyn Engine>)>,
    ) -> Result<Self> {
        if engines.is_empty() {
            return Err(Error::Invalid("a comparison needs an engine".into()));
        }
        let layer = |layer: &Layer| LayerParity {
            name: layer.name.clone(),
            codes: 0,
            differ: 0,
            max_diff: 0,
            farthest_from_tie: 0.0,
            differ_carried: 0,
        };
        let others = engines[1..].iter();
        let found = Parity {
            images: 0,
            layers: conversion.model.layers.iter().map(layer).collect(),
            engines: others
                .map(|(name, _)| EngineParity { name: name.clone(), codes: 0, differ: 0 })
                .collect(),
            predictions_differ: 0,
            simulated_correct: 0,
            int8_correct: 0,
        };
        Ok(Comparison { network, conversion, engines, found })
    }

    /// Compares on a batch of images x [N, C, H, W] with their labels `[N]`.
    ///
    /// # Errors
    /// Where shapes do not fit, or the device has failed.
    pub fn add(&mut self, x: &Tensor, labels: &[u32]) -> Result<Predictions> {
        let model = &self.conversion.model;
        let codes = model.quantize(&x.read_f32()?);
        let images = model.images_in(codes.len())?;
        if labels.len() != images {
            return Err(Error::Shape(format!("{images} images came with {} labels", labels.len())));
        }
        let (first, others) = self.engines.split_at_mut(1);
        let trace = first[0].1.trace(&codes)?;
        for ((_, engine), found) in others.iter_mut().zip(&mut self.found.engines) {
            for (ours, theirs) in trace.iter().zip(engine.trace(&codes)?) {
                found.codes += ours.len() as u64;
                found.differ += ours.iter().zip(&theirs).filter(|(a, b)| a != b).count() as u64;
            }
        }
        self.layers(x, images, &trace)?;
        let int8 = classes(&model.dequantize(&trace[model.output]), images);
        let simulated = classes(&self.network.predict(x)?.read_f32()?, images);
        let hits =
            |of: &[usize]| of.iter().zip(labels).filter(|(class, label)| **class == **label as usize).count();
        self.found.images += images;
        self.found.simulated_correct += hits(&simulated);
        self.found.int8_correct += hits(&int8);
        self.found.predictions_differ += simulated.iter().zip(&int8).filter(|(a, b)| a != b).count();
        Ok(Predictions { simulated, int8 })
    }

    fn layers(&mut self, x: &Tensor, images: usize, trace: &[Vec<i8>]) -> Result<()> {
        let Conversion { model, simulated, places, .. } = self.conversion;
        let gpu = self.network.gpu();
        // The values of each layer: what the integer codes stand for, and the simulated network's own.
        let mut given: Vec<Tensor> = Vec::new();
        let mut own: Vec<Tensor> = Vec::new();
        for ((layer, place), (codes, found)) in
            model.layers.iter().zip(places).zip(trace.iter().zip(&mut self.found.layers))
        {
            let of = |all: &[Tensor]| match layer.inputs.is_empty() {
                true => vec![x.clone()],
                false => layer.inputs.iter().map(|&id| all[id].clone()).collect(),
            };
            let beside = place.simulate(simulated, &of(&given))?;
            let rounded = beside.rounded.read_f32()?;
            let unrounded = beside.unrounded.read_f32()?;
            for ((&code, value), before) in codes.iter().zip(rounded).zip(unrounded) {
                let difference = code_of(&layer.grid, value).abs_diff(i64::from(code)) as u32;
                if difference > 0 {
                    found.differ += 1;
                    found.max_diff = found.max_diff.max(difference);
                    found.farthest_from_tie = found.farthest_from_tie.max(from_tie(&layer.grid, before));
                }
            }
            let carried = place.simulate(simulated, &of(&own))?.rounded;
            let differing = carried.read_f32()?.into_iter().zip(codes);
            found.differ_carried += differing
                .filter(|(value, code)| code_of(&layer.grid, *value) != i64::from(**code))
                .count() as u64;
            found.codes += codes.len() as u64;
            let values: Vec<f32> = codes.iter().map(|&code| layer.grid.value(code)).collect();
            let shape = [&[images], &layer.shape[..]].concat();
            given.push(Tensor::from_f32(gpu, &shape[..], &values)?);
            own.push(carried);
        }
        Ok(())
    }

    /// What was found so far.
    pub fn found(&self) -> &Parity {
        &self.found
    }
}

/// The code of a value that lies on the grid.
fn code_of(grid: &Grid, value: f32) -> i64 {
    half_away(f64::from(value) / f64::from(grid.scale)) as i64 + i64::from(grid.zero_point)
}

/// How far a value is from the middle between two codes, in steps.
fn from_tie(grid: &Grid, value: f32) -> f64 {
    let steps = f64::from(value) / f64::from(grid.scale) + 0.5;
    (steps - half_away(steps)).abs()
}

/// The class with the largest logit for each image; the first of equals, as in evaluation.
fn classes(logits: &[f32], images: usize) -> Vec<usize> {
    let largest = |row: &[f32]| {
        row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, &logit)| {
            if logit > best.1 { (class, logit) } else { best }
        })
    };
    logits.chunks(logits.len() / images).map(|row| largest(row).0).collect()
}
