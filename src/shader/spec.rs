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
    /// A choice by name, for example the form of a matrix product.
    Name(&'static str),
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
impl From<&'static str> for Constant {
    fn from(v: &'static str) -> Self {
        Constant::Name(v)
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Int(v) => write!(f, "{v}"),
            Constant::Bool(v) => write!(f, "{v}"),
            Constant::Name(v) => write!(f, "{v}"),
        }
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
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}
