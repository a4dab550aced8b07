//! ResNets (He et al. 2016, arXiv 1512.03385) from one description, with torchvision's names for layers and parameters.

use super::ModelInit;
use crate::kernel::geometry::Padding;
use crate::kernel::pool::Window;
use crate::nn::{BatchNorm2d, Conv2d, Dense, Layer, Network, NetworkBuilder, NodeId};
use crate::tensor::init::Init;

/// Layers with weights, shortcuts not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResNetDepth {
    /// Basic blocks 2, 2, 2, 2.
    D18,
    /// Basic blocks 3, 4, 6, 3.
    D34,
    /// Bottlenecks 3, 4, 6, 3.
    D50,
    /// Bottlenecks 3, 4, 23, 3.
    D101,
}

impl ResNetDepth {
    /// All of them.
    pub const ALL: [ResNetDepth; 4] =
        [ResNetDepth::D18, ResNetDepth::D34, ResNetDepth::D50, ResNetDepth::D101];

    /// The number in the name: 18, 34, 50 or 101.
    pub fn layers(self) -> usize {
        match self {
            ResNetDepth::D18 => 18,
            ResNetDepth::D34 => 34,
            ResNetDepth::D50 => 50,
            ResNetDepth::D101 => 101,
        }
    }

    /// Blocks in each of the four stages (He et al. 2016, table 1).
    fn blocks(self) -> [usize; 4] {
        match self {
            ResNetDepth::D18 => [2, 2, 2, 2],
            ResNetDepth::D34 | ResNetDepth::D50 => [3, 4, 6, 3],
            ResNetDepth::D101 => [3, 4, 23, 3],
        }
    }

    fn has_bottlenecks(self) -> bool {
        matches!(self, ResNetDepth::D50 | ResNetDepth::D101)
    }
}

/// How the first layers bring a picture down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A 7x7 convolution of stride 2 and a 3x3 max pooling of stride 2: a quarter of each side.
    #[default]
    Imagenet,
    /// A 3x3 convolution of stride 1, no pooling: for pictures of 32 x 32.
    Cifar,
}

/// A ResNet, version 1.5: in a bottleneck that halves the plane, the stride is on the 3x3 convolution, as in torchvision and
/// the MindSpore model zoo.
///
/// ```
/// use simqat::gpu::Gpu;
/// use simqat::nn::models::{ResNet, ResNetDepth};
///
/// let network = ResNet::new(ResNetDepth::D18, 10).image([32, 32]).width(8).builder().build(&Gpu::noop(), 1)?;
/// assert_eq!(network.output_shape()[..], [10]);
/// # Ok::<(), simqat::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ResNet {
    /// How many layers.
    pub depth: ResNetDepth,
    /// Outputs of the last layer.
    pub classes: usize,
    /// Height and width of the pictures, in pixels.
    pub image: [usize; 2],
    /// The first layers.
    pub stem: Stem,
    /// Channels behind the stem; the four stages work on 1, 2, 4 and 8 times as many.
    pub width: usize,
    /// What normalizations add to the variance.
    pub eps: f32,
    /// How the weights start.
    pub init: ModelInit,
}

impl ResNet {
    /// For ImageNet as torchvision has it: pictures of 224 x 224, 64 channels behind the stem, eps 1e-5, He initial values.
    /// With 1000 classes, ResNet-50 has 25 557 032 parameters.
    pub fn new(depth: ResNetDepth, classes: usize) -> Self {
        ResNet {
            depth,
            classes,
            image: [224; 2],
            stem: Stem::Imagenet,
            width: 64,
            eps: 1e-5,
            init: ModelInit::He,
        }
    }

    /// Height and width of the pictures.
    pub fn image(mut self, image: [usize; 2]) -> Self {
        self.image = image;
        self
    }

    /// The first layers.
    pub fn stem(mut self, stem: Stem) -> Self {
        self.stem = stem;
        self
    }

    /// Channels behind the stem.
    pub fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// What normalizations add to the variance: 1e-5 in torchvision, 1e-4 in the model zoo.
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// How the weights start.
    pub fn init(mut self, init: ModelInit) -> Self {
        self.init = init;
        self
    }

    /// The layers for images [3, H, W].
    pub fn builder(&self) -> NetworkBuilder {
        let [height, width] = self.image;
        let name = format!("ResNet{}", self.depth.layers());
        let mut net = self.stem_of(Network::builder(&name, [3, height, width]));
        let mut channels = self.width;
        for (stage, blocks) in self.depth.blocks().into_iter().enumerate() {
            for block in 0..blocks {
                let shape = Block {
                    path: format!("layer{}.{block}", stage + 1),
                    inputs: channels,
                    inner: self.width << stage,
                    stride: if stage > 0 && block == 0 { 2 } else { 1 },
                };
                (net, channels) = match self.depth.has_bottlenecks() {
                    true => self.bottleneck(net, &shape),
                    false => self.basic(net, &shape),
                };
            }
        }
        let dense = match self.init {
            ModelInit::ModelZoo => Init::TruncatedNormal(0.01),
            // The weight of PyTorch's Linear: uniform within 1 / sqrt(fan_in). Its bias is drawn so too; here it is 0.
            ModelInit::He => Init::Uniform(1.0 / (channels.max(1) as f32).sqrt()),
        };
        net.global_avg_pool2d("avgpool")
            .flatten("flatten")
            .dense("fc", Dense::new(channels, self.classes).init(dense))
    }

    fn stem_of(&self, net: NetworkBuilder) -> NetworkBuilder {
        match self.stem {
            Stem::Imagenet => self
                .conv_bn(net, "conv1", "bn1", self.conv(3, self.width, 7, 2))
                .relu("relu")
                .max_pool2d_with("maxpool", Window { kernel: [3; 2], stride: [2; 2], padding: [1; 2] }),
            Stem::Cifar => self.conv_bn(net, "conv1", "bn1", self.conv(3, self.width, 3, 1)).relu("relu"),
        }
    }

    /// Two 3x3 convolutions. Gives the channels of its output too.
    fn basic(&self, net: NetworkBuilder, block: &Block) -> (NetworkBuilder, usize) {
        let input = net.last();
        let of = |own: &str| block.own(own);
        let net = self
            .conv_bn(net, &of("conv1"), &of("bn1"), self.conv(block.inputs, block.inner, 3, block.stride))
            .relu(&of("relu1"));
        let net = self.conv_bn(net, &of("conv2"), &of("bn2"), self.conv(block.inner, block.inner, 3, 1));
        (self.joined(net, block, input, block.inner, "relu2"), block.inner)
    }

    /// 1x1, 3x3 and 1x1 convolutions, the last to four times the channels.
    fn bottleneck(&self, net: NetworkBuilder, block: &Block) -> (NetworkBuilder, usize) {
        let input = net.last();
        let of = |own: &str| block.own(own);
        let outputs = 4 * block.inner;
        let net = self
            .conv_bn(net, &of("conv1"), &of("bn1"), self.conv(block.inputs, block.inner, 1, 1))
            .relu(&of("relu1"));
        let net = self
            .conv_bn(net, &of("conv2"), &of("bn2"), self.conv(block.inner, block.inner, 3, block.stride))
            .relu(&of("relu2"));
        let net = self.conv_bn(net, &of("conv3"), &of("bn3"), self.conv(block.inner, outputs, 1, 1));
        (self.joined(net, block, input, outputs, "relu3"), outputs)
    }

    /// The block's input added to its output, through a 1x1 convolution where their shapes differ, and a ReLU.
    fn joined(
        &self,
        mut net: NetworkBuilder,
        block: &Block,
        input: NodeId,
        outputs: usize,
        relu: &str,
    ) -> NetworkBuilder {
        let main = net.last();
        let mut shortcut = input;
        if block.stride != 1 || block.inputs != outputs {
            let (conv, norm) = (block.own("downsample.0"), block.own("downsample.1"));
            net = net
                .node(&conv, Layer::Conv2d(self.conv(block.inputs, outputs, 1, block.stride)), &[input])
                .batch_norm2d(&norm, BatchNorm2d::new(outputs).eps(self.eps));
            shortcut = net.last();
        }
        net.add(&block.own("add"), [main, shortcut]).relu(&block.own(relu))
    }

    fn conv_bn(&self, net: NetworkBuilder, conv: &str, norm: &str, layer: Conv2d) -> NetworkBuilder {
        let channels = layer.out_channels;
        net.conv2d(conv, layer).batch_norm2d(norm, BatchNorm2d::new(channels).eps(self.eps))
    }

    fn conv(&self, inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Conv2d {
        let init = match self.init {
            ModelInit::ModelZoo => Init::XavierUniform,
            ModelInit::He => Init::HeFanOut,
        };
        // Explicit, so that an odd plane is cut as in torchvision.
        Conv2d::new(inputs, outputs, kernel)
            .stride(stride)
            .padding(Padding::all(kernel / 2))
            .no_bias()
            .init(init)
    }
}

/// What tells one block from another.
struct Block {
    path: String,
    inputs: usize,
    /// Channels of its 3x3 convolutions.
    inner: usize,
    stride: usize,
}

impl Block {
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Graph, Node};

    fn graph(net: &ResNet) -> Graph {
        net.builder().into_graph().unwrap()
    }

    fn node<'a>(graph: &'a Graph, name: &str) -> &'a Node {
        graph.nodes.iter().find(|n| n.name == name).unwrap()
    }

    /// As torchvision counts them, for 1000 classes.
    #[test]
    fn parameters_are_as_many_as_in_torchvision() {
        for (depth, count) in
            ResNetDepth::ALL.into_iter().zip([11_689_512, 21_797_672, 25_557_032, 44_549_160])
        {
            let graph = graph(&ResNet::new(depth, 1000));
            let specs = graph.nodes.iter().flat_map(|n| n.layer.parameters(&n.name));
            let trainable: usize = specs.filter(|s| s.trainable).map(|s| s.shape.count()).sum();
            assert_eq!(trainable, count, "{depth:?}");
        }
    }

    #[test]
    fn stems_bring_pictures_down_as_far_as_they_say() {
        let net = |depth, side| ResNet::new(depth, 10).width(4).image([side; 2]);
        let plane = |net: ResNet, name: &str| node(&graph(&net), name).shape[..].to_vec();
        assert_eq!(plane(net(ResNetDepth::D50, 224), "layer4.2.relu3"), [128, 7, 7]);
        assert_eq!(plane(net(ResNetDepth::D50, 32), "layer4.2.relu3"), [128, 1, 1]);
        assert_eq!(plane(net(ResNetDepth::D18, 33), "maxpool"), [4, 9, 9]);
        assert_eq!(plane(net(ResNetDepth::D18, 32).stem(Stem::Cifar), "layer4.1.relu2"), [32, 4, 4]);
    }

    #[test]
    fn the_stride_is_on_the_3x3_convolution() {
        let graph = graph(&ResNet::new(ResNetDepth::D50, 10));
        let strides = |name: &str| match &node(&graph, name).layer {
            Layer::Conv2d(conv) => conv.geometry.stride,
            other => panic!("{other:?}"),
        };
        assert_eq!(strides("layer2.0.conv1"), [1, 1]);
        assert_eq!(strides("layer2.0.conv2"), [2, 2]);
        assert_eq!(strides("layer2.0.downsample.0"), [2, 2]);
        assert_eq!(strides("layer1.0.downsample.0"), [1, 1]);
    }
}
