//! WGSL: the table of sources, the template engine that turns a source and its constants into a shader,
//! and the cache of compiled pipelines. Nothing here knows what a shader computes.

mod fault;
mod interface;
mod pipeline;
mod scope;
mod source;
mod spec;
mod webgpu;

pub use fault::Fault;
pub(crate) use interface::Interface;
pub(crate) use pipeline::{Pipeline, PipelineCache};
pub(crate) use scope::{answer_of, in_a_line, watched};
pub use source::{SOURCES, render};
pub use spec::{Constant, Shader, ShaderSpec};
pub use webgpu::{for_webgpu, uses_subgroups};
