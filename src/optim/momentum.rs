//! Stochastic gradient descent with momentum.

use crate::kernel::momentum::{Settings, update};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Options of [`Momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumOptions {
    /// Size of a step; can be changed later.
    pub learning_rate: f32,
    /// Share of the last step's velocity that stays, below 1.
    pub momentum: f32,
    /// Factor of a parameter that is added to its gradient; see [`Momentum::decaying`].
    pub weight_decay: f32,
}

impl Default for MomentumOptions {
    /// 0.01 and 0.9, without weight decay.
    fn default() -> Self {
        MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0 }
    }
}

impl MomentumOptions {
    /// Fails where a value makes no sense, with its name.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, fits: bool, hint: &str| {
            if fits { Ok(()) } else { Err(Error::Invalid(format!("{name} = {value}: {hint}"))) }
        };
        let positive = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        check("optimizer.learning_rate", self.learning_rate, positive, "it must be a positive number")?;
        let share = (0.0..1.0).contains(&self.momentum);
        check("optimizer.momentum", self.momentum, share, "it must be at least 0 and below 1")?;
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        check("optimizer.weight_decay", self.weight_decay, decay, "it must be 0 or a positive number")
    }
}

/// v = momentum * v + g + weight_decay * p;  p = p - rate * v
/// (Sutskever et al. 2013, in the form of PyTorch's `SGD` and MindSpore's `Momentum`).
pub struct Momentum {
    options: MomentumOptions,
    rate: Tensor,
    progress: Tensor,
    parameters: Vec<Tensor>,
    velocities: Vec<Tensor>,
    /// Which parameters decay.
    decays: Vec<bool>,
    factor: Option<Tensor>,
}

impl Momentum {
    /// For tensors that the caller holds; they are changed in place.
    ///
    /// # Errors
    /// Where an option makes no sense, there are no tensors, or the device has failed.
    pub fn new(parameters: &[Tensor], options: MomentumOptions) -> Result<Self> {
        options.validate()?;
        let Some(first) = parameters.first() else {
            return Err(Error::Invalid("an optimizer needs parameters, and was given none".into()));
        };
        let gpu = first.gpu();
        let zeros = |p: &Tensor| Tensor::zeros(gpu, p.shape(), DType::F32);
        Ok(Momentum {
            options,
            rate: Tensor::full(gpu, [1], options.learning_rate)?,
            progress: Tensor::zeros(gpu, [4], DType::U32)?,
            parameters: parameters.to_vec(),
            velocities: parameters.iter().map(zeros).collect::<Result<_>>()?,
            decays: vec![true; parameters.len()],
            factor: None,
        })
    }

    /// Multiplies all gradients by `factor` (f32 `[1]`), as it is on the device when they are used; see
    /// [`GradientClip`](super::GradientClip).
    pub fn scaled_by(mut self, factor: &Tensor) -> Self {
        self.factor = Some(factor.clone());
        self
    }

    /// Lets the third number of `progress` (u32 [>= 3]) hold all updates back where it is not 0; see
    /// [`crate::kernel::loss::tally`].
    pub fn guarded_by(mut self, progress: &Tensor) -> Self {
        self.progress = progress.clone();
        self
    }

    /// Lets the weight decay reach only the parameters of which `decays` is true; it is given their numbers.
    pub fn decaying(mut self, decays: impl Fn(usize, &Tensor) -> bool) -> Self {
        self.decays = self.parameters.iter().enumerate().map(|(index, p)| decays(index, p)).collect();
        self
    }

    /// Moves parameter number `index` along `gradient`.
    ///
    /// # Errors
    /// Where there is no such parameter, shapes disagree, or the device has failed.
    pub fn update(&self, index: usize, gradient: &Tensor) -> Result<()> {
        let (Some(parameter), Some(velocity)) = (self.parameters.get(index), self.velocities.get(index))
        else {
            let count = self.parameters.len();
            return Err(Error::Invalid(format!(
                "the optimizer has {count} parameters, none of number {index}"
            )));
        };
        let settings = Settings {
            rate: &self.rate,
            progress: &self.progress,
            factor: self.factor.as_ref(),
            momentum: self.options.momentum,
            weight_decay: if self.decays[index] { self.options.weight_decay } else { 0.0 },
            place: index as u32,
        };
        update(parameter, velocity, gradient, &settings)
    }

    /// Changes the size of the steps from here on; recordings follow. Does not wait for the device, and does nothing where
    /// the steps have that size.
    ///
    /// # Errors
    /// Where it is not a positive number, or the device has failed.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<()> {
        if learning_rate == self.options.learning_rate {
            return Ok(());
        }
        let options = MomentumOptions { learning_rate, ..self.options };
        options.validate()?;
        self.rate.write_f32(&[learning_rate])?;
        self.options = options;
        Ok(())
    }

    /// The size of the steps.
    pub fn learning_rate(&self) -> f32 {
        self.options.learning_rate
    }

    /// The velocity of each parameter, in the order in which they were given: all of its state.
    pub fn velocities(&self) -> &[Tensor] {
        &self.velocities
    }
}
