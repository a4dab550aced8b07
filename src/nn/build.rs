//! Building a network layer by layer; shapes are checked on the way, so that a mistake is named at its layer.

use super::graph::{Graph, Node, NodeId};
use super::layer::{CustomLayer, Layer};
use super::linear::{Conv2d, Dense};
use super::network::Network;
use super::norm::BatchNorm2d;
use super::quantizer::Quantizers;
use crate::gpu::Gpu;
use crate::kernel::pool::Window;
use crate::ops::Activation;
use crate::tensor::Shape;
use crate::{Error, Result};
use std::sync::Arc;

/// A network in the making. Each method adds a layer that takes the last one's output; [`NetworkBuilder::node`]
/// takes any.
///
/// ```
/// use simqat::gpu::Gpu;
/// use simqat::nn::{Conv2d, Dense, Network};
///
/// let gpu = Gpu::noop();
/// let network = Network::builder("Tiny", [1, 8, 8])
///     .conv2d("conv", Conv2d::new(1, 4, 3))
///     .relu("relu")
///     .max_pool2d("pool", 2)
///     .flatten("flatten")
///     .dense("fc", Dense::new(36, 10))
///     .build(&gpu, 1)?;
/// assert_eq!(network.trainable_count(), 4 * 9 + 4 + 36 * 10 + 10);
/// # Ok::<(), simqat::Error>(())
/// ```
pub struct NetworkBuilder {
    name: String,
    nodes: Vec<Node>,
    /// The first mistake; later calls do nothing, and `build` tells it.
    mistake: Option<Error>,
}

impl NetworkBuilder {
    pub(super) fn new(name: &str, input: Shape) -> Self {
        let node = Node {
            name: "input".into(),
            layer: Layer::Input,
            inputs: Vec::new(),
            shape: input,
            quantizers: Quantizers::default(),
        };
        NetworkBuilder { name: name.into(), nodes: vec![node], mistake: None }
    }

    /// The last layer added: to be named as an input later.
    pub fn last(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// Any layer with any inputs that were added before.
    pub fn node(mut self, name: &str, layer: Layer, inputs: &[NodeId]) -> Self {
        if self.mistake.is_none() {
            match self.checked(name, layer, inputs) {
                Ok(node) => self.nodes.push(node),
                Err(e) => self.mistake = Some(e),
            }
        }
        self
    }

    fn checked(&self, name: &str, layer: Layer, inputs: &[NodeId]) -> Result<Node> {
        let bad = |message: String| Error::Invalid(format!("layer \"{name}\": {message}"));
        if name.ends_with("_quantizer") || name.contains("_quantizer.") {
            return Err(bad("names that end in \"_quantizer\" are for the state of quantizers".into()));
        }
        if name.is_empty() || self.nodes.iter().any(|n| n.name == name) {
            return Err(bad("layers need names, and each its own".into()));
        }
        if matches!(layer, Layer::Input) {
            return Err(bad("a network has one input, and it is there already".into()));
        }
        if layer.arity().is_some_and(|wanted| wanted != inputs.len()) {
            return Err(bad(format!("it was given {} inputs", inputs.len())));
        }
        let shapes = inputs
            .iter()
            .map(|&id| self.nodes.get(id).map(|n| n.shape.clone()))
            .collect::<Option<Vec<Shape>>>()
            .ok_or_else(|| bad(format!("its inputs {inputs:?} are not layers before it")))?;
        let shape = layer.output_shape(&shapes).map_err(|e| bad(e.to_string()))?;
        Ok(Node {
            name: name.into(),
            layer,
            inputs: inputs.to_vec(),
            shape,
            quantizers: Quantizers::default(),
        })
    }

    fn then(self, name: &str, layer: Layer) -> Self {
        let last = self.last();
        self.node(name, layer, &[last])
    }

    /// Adds a convolution.
    pub fn conv2d(self, name: &str, conv: Conv2d) -> Self {
        self.then(name, Layer::Conv2d(conv))
    }

    /// Adds a fully connected layer.
    pub fn dense(self, name: &str, dense: Dense) -> Self {
        self.then(name, Layer::Dense(dense))
    }

    /// Adds batch normalization.
    pub fn batch_norm2d(self, name: &str, norm: BatchNorm2d) -> Self {
        self.then(name, Layer::BatchNorm2d(norm))
    }

    /// Adds max(x, 0).
    pub fn relu(self, name: &str) -> Self {
        self.activation(name, Activation::Relu)
    }

    /// Adds an activation.
    pub fn activation(self, name: &str, activation: Activation) -> Self {
        self.then(name, Layer::Activation(activation))
    }

    /// Adds max pooling over squares of `size`, moved by their own size.
    pub fn max_pool2d(self, name: &str, size: usize) -> Self {
        self.max_pool2d_with(name, Window::square(size))
    }

    /// Adds max pooling over any windows.
    pub fn max_pool2d_with(self, name: &str, window: Window) -> Self {
        self.then(name, Layer::MaxPool2d(window))
    }

    /// Adds average pooling over squares of `size`, moved by their own size.
    pub fn avg_pool2d(self, name: &str, size: usize) -> Self {
        self.then(name, Layer::AvgPool2d { window: Window::square(size), count_padding: true })
    }

    /// Adds the mean of each whole plane: [C, H, W] to [C, 1, 1].
    pub fn global_avg_pool2d(self, name: &str) -> Self {
        let kernel = match self.nodes[self.last()].shape[..] {
            [_, height, width] => [height, width],
            // What is no image is told by the layer's check.
            _ => [1, 1],
        };
        let window = Window { kernel, stride: kernel, padding: [0; 2] };
        self.then(name, Layer::AvgPool2d { window, count_padding: true })
    }

    /// Adds the sum of two layers' outputs.
    pub fn add(self, name: &str, inputs: [NodeId; 2]) -> Self {
        self.node(name, Layer::Add, &inputs)
    }

    /// Adds the step from images to rows.
    pub fn flatten(self, name: &str) -> Self {
        self.then(name, Layer::Flatten)
    }

    /// Adds a host's own layer.
    pub fn custom(self, name: &str, layer: Arc<dyn CustomLayer>) -> Self {
        self.then(name, Layer::Custom(layer))
    }

    /// The network, its parameters drawn from `seed` and put on the device.
    ///
    /// # Errors
    /// The first mistake made on the way, with the layer's name; or where the device has failed.
    pub fn build(self, gpu: &Gpu, seed: u64) -> Result<Network> {
        let name = self.name.clone();
        Network::draw(gpu, &name, self.into_graph()?, seed)
    }

    /// The network with all values 0, for those who read others into it or need none: large networks take seconds to draw.
    ///
    /// # Errors
    /// As [`NetworkBuilder::build`].
    pub fn build_blank(self, gpu: &Gpu) -> Result<Network> {
        let name = self.name.clone();
        Network::blank(gpu, &name, self.into_graph()?)
    }

    /// The layers alone, without parameters: what shapes and names need.
    ///
    /// # Errors
    /// The first mistake made on the way, with the layer's name.
    pub fn into_graph(self) -> Result<Graph> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None => Ok(Graph { output: self.nodes.len() - 1, nodes: self.nodes }),
        }
    }
}
