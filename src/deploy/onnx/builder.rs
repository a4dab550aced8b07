//! Putting a graph together: nodes, constants and types by name.

use super::proto::{
    AttributeProto, AttributeType, DataType, Dimension, Extent, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    TypeValue, ValueInfoProto,
};

/// Version of the operators: the first with quantization for each channel.
pub const OPSET: i64 = 13;
/// Version of the file that goes with it (ONNX 1.8).
const IR_VERSION: i64 = 7;
/// Name of the batch axis.
const BATCH: &str = "N";

/// The name of something that belongs to `owner`.
pub fn tensor(owner: &str, own: &str) -> String {
    format!("{owner}.{own}")
}

/// A graph under construction.
pub struct Builder {
    graph: GraphProto,
}

/// An operator's option.
pub enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
}

impl Attribute {
    /// Extents, as operators want them.
    pub fn extents(extents: &[usize]) -> Attribute {
        Attribute::Ints(extents.iter().map(|&extent| extent as i64).collect())
    }
}

impl Builder {
    pub fn new(name: &str) -> Builder {
        Builder { graph: GraphProto { name: Some(name.into()), ..Default::default() } }
    }

    /// What a user gives: [N, ...], f32.
    pub fn input(&mut self, name: &str, shape: &[usize]) {
        self.graph.input.push(value(name, DataType::Float, shape));
    }

    /// What a user gets: [N, ...], f32.
    pub fn output(&mut self, name: &str, shape: &[usize]) {
        self.graph.output.push(value(name, DataType::Float, shape));
    }

    /// Says type and shape [N, ...] of a tensor, for who looks at the graph.
    pub fn describe(&mut self, name: &str, data_type: DataType, shape: &[usize]) {
        self.graph.value_info.push(value(name, data_type, shape));
    }

    /// A node with one output.
    pub fn node(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<(&str, Attribute)>,
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            name: Some(name.into()),
            op_type: Some(operator.into()),
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// A constant of f32; a single number where `dims` is empty.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, dims, bytes);
    }

    /// A constant of i32.
    pub fn integers(&mut self, name: &str, dims: &[usize], values: &[i32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int32, dims, bytes);
    }

    /// A constant of bytes, signed or not.
    pub fn bytes(&mut self, name: &str, data_type: DataType, dims: &[usize], values: Vec<u8>) {
        self.constant(name, data_type, dims, values);
    }

    fn constant(&mut self, name: &str, data_type: DataType, dims: &[usize], bytes: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&extent| extent as i64).collect(),
            data_type: Some(data_type as i32),
            name: Some(name.into()),
            raw_data: Some(bytes),
        });
    }

    /// The file around the graph.
    pub fn finish<'a>(self, metadata: impl Iterator<Item = (&'a String, &'a String)>) -> ModelProto {
        let entry = |(key, value): (&String, &String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(OPSET) }],
            metadata_props: metadata.map(entry).collect(),
        }
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let empty = AttributeProto { name: Some(name.into()), ..Default::default() };
    let of = |kind: AttributeType| Some(kind as i32);
    match value {
        Attribute::Float(f) => AttributeProto { f: Some(f), r#type: of(AttributeType::Float), ..empty },
        Attribute::Int(i) => AttributeProto { i: Some(i), r#type: of(AttributeType::Int), ..empty },
        Attribute::Ints(ints) => AttributeProto { ints, r#type: of(AttributeType::Ints), ..empty },
    }
}

fn value(name: &str, data_type: DataType, shape: &[usize]) -> ValueInfoProto {
    let batch = Extent::DimParam(BATCH.into());
    let extents = shape.iter().map(|&extent| Extent::DimValue(extent as i64));
    let dim = std::iter::once(batch).chain(extents).map(|extent| Dimension { value: Some(extent) });
    let tensor = TensorType {
        elem_type: Some(data_type as i32),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(TypeValue::TensorType(tensor)) }),
    }
}
