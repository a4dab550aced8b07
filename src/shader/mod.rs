//! WGSL: the table of sources, the template engine that turns a source and its constants into a shader,
//! and the cache of compiled pipelines. Nothing here knows what a shader computes.

mod pipeline;
mod source;
mod spec;

pub use pipeline::{Fault, Pipeline, PipelineCache};
pub use source::{SOURCES, render};
pub use spec::{Constant, Shader, ShaderSpec};
