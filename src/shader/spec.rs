//! Which shader, with which constants: the identity of a compiled pipeline.

use std::collections::BTreeMap;
use std::fmt;

/// A value that a template sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A size, a count, a stride.
    Int(i64),
    /// A switch.
    Bool(bool),
    /// A choice by name, for example an operation.
    Name(&'static str),
    /// Numbers by place.
    List(Vec<i64>),
    /// Numbers by two places.
    Table(Vec<Vec<i64>>),
}

impl From<u32> for Constant {
    fn from(v: u32) -> Self {
        Constant::Int(v.into())
    }
}
impl From<i32> for Constant {
    fn from(v: i32) -> Self {
        Constant::Int(v.into())
    }
}
impl From<bool> for Constant {
    fn from(v: bool) -> Self {
        Constant::Bool(v)
    }
}
impl From<i64> for Constant {
    fn from(v: i64) -> Self {
        Constant::Int(v)
    }
}
impl From<Vec<i64>> for Constant {
    fn from(v: Vec<i64>) -> Self {
        Constant::List(v)
    }
}
impl From<Vec<Vec<i64>>> for Constant {
    fn from(v: Vec<Vec<i64>>) -> Self {
        Constant::Table(v)
    }
}
impl From<&'static str> for Constant {
    fn from(v: &'static str) -> Self {
        Constant::Name(v)
    }
}

/// A WGSL source by its path under `shaders/`, with the constants that its template is rendered with.
///
/// ```
/// use simqat::shader::ShaderSpec;
/// let spec = ShaderSpec::new("elementwise/unary.wgsl").with("op", "relu");
/// assert_eq!(spec.to_string(), "elementwise/unary.wgsl op=relu");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShaderSpec {
    file: &'static str,
    constants: BTreeMap<&'static str, Constant>,
}

impl ShaderSpec {
    /// The shader in `shaders/{file}`, no constants yet.
    pub fn new(file: &'static str) -> Self {
        ShaderSpec { file, constants: BTreeMap::new() }
    }

    /// The same with one constant more.
    pub fn with(mut self, name: &'static str, value: impl Into<Constant>) -> Self {
        self.constants.insert(name, value.into());
        self
    }

    /// Path under `shaders/`.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// What the template sees, by name.
    pub fn constants(&self) -> &BTreeMap<&'static str, Constant> {
        &self.constants
    }
}

impl fmt::Display for ShaderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        for (name, value) in &self.constants {
            match value {
                Constant::Int(v) => write!(f, " {name}={v}")?,
                Constant::Bool(v) => write!(f, " {name}={v}")?,
                Constant::Name(v) => write!(f, " {name}={v}")?,
                // Derived from the others, and long.
                Constant::List(_) | Constant::Table(_) => {}
            }
        }
        Ok(())
    }
}

/// A shader to run: one of the library's, or a host's own text that keeps to the same conventions (entry point
/// `main`, buffers as bindings of group 0 from 0 on, and the uniform parameters as the last one).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shader {
    /// A template of the library.
    Library(ShaderSpec),
    /// Any WGSL.
    Host {
        /// What profiles and errors call it.
        name: String,
        /// The whole text.
        text: String,
    },
}

impl From<ShaderSpec> for Shader {
    fn from(spec: ShaderSpec) -> Self {
        Shader::Library(spec)
    }
}

impl fmt::Display for Shader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shader::Library(spec) => spec.fmt(f),
            Shader::Host { name, .. } => f.write_str(name),
        }
    }
}
