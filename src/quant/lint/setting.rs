//! Options that were set, as paths and values: none can be forgotten, and each can be given another value.

use std::fmt;

use toml::{Table, Value};

use crate::quant::layer::LayerOptions;
use crate::quant::simqat::SimQat;

/// An option that was set.
pub(super) struct Setting {
    /// `["layer", "fc*", "weight_bits"]`
    path: Vec<String>,
    value: Value,
    /// Another value that can be used.
    other: Value,
}

impl Setting {
    /// All of them.
    pub fn all(simqat: &SimQat) -> Vec<Setting> {
        let preset = table(&SimQat::preset(simqat.style));
        let mut settings = Vec::new();
        each_option(&table(simqat), &mut Vec::new(), &mut |path, value| {
            let other = match path {
                [layer, ..] if layer == "layer" => alternative(value),
                // Nothing is asked for by false, and true asks in vain, whatever the preset is.
                [key] if key == "bn_fold" && !simqat.enable_fusion => Some(false.into()),
                _ => preset_value(&preset, path),
            };
            if let Some(other) = other.filter(|other| other != value) {
                settings.push(Setting { path: path.to_vec(), value: value.clone(), other });
            }
        });
        settings
    }

    /// The options with the other value in this place.
    pub fn otherwise(&self, simqat: &SimQat) -> Option<SimQat> {
        let mut options = table(simqat);
        let (key, tables) = self.path.split_last()?;
        let place = tables.iter().try_fold(&mut options, |table, name| table.get_mut(name)?.as_table_mut());
        place?.insert(key.clone(), self.other.clone());
        options.try_into().ok()
    }

    /// The pattern under which it stands.
    pub fn pattern(&self) -> Option<&str> {
        match &self.path[..] {
            [_, pattern, _] => Some(pattern),
            _ => None,
        }
    }

    /// Its own name, without those of the tables.
    pub fn key(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// True for what decides about normalizations, and not about quantizers.
    pub fn is_of_fusion(&self) -> bool {
        ["enable_fusion", "bn_fold", "one_conv_fold", "freeze_bn"].contains(&self.key())
    }

    /// True for options of weights, for all layers or some.
    pub fn is_of_weights(&self) -> bool {
        let alone = || Table::from_iter([(self.key().to_string(), self.value.clone())]);
        match self.pattern() {
            Some(_) => alone().try_into().is_ok_and(|options: LayerOptions| options.is_for_weights()),
            None => self.path[0] == "weights",
        }
    }

    /// The steps, if it is a delay.
    pub fn delay(&self) -> Option<i64> {
        self.value.as_integer().filter(|_| self.key().ends_with("quant_delay"))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern() {
            Some(pattern) => write!(f, "simqat.layer.\"{pattern}\".{} = {}", self.key(), self.value),
            None => write!(f, "simqat.{} = {}", self.path.join("."), self.value),
        }
    }
}

fn table(simqat: &SimQat) -> Table {
    Table::try_from(simqat).unwrap_or_default()
}

fn each_option(table: &Table, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &Value)) {
    for (name, value) in table {
        path.push(name.clone());
        match value {
            Value::Table(inner) => each_option(inner, path, visit),
            value => visit(path, value),
        }
        path.pop();
    }
}

fn preset_value(preset: &Table, path: &[String]) -> Option<Value> {
    let (key, tables) = path.split_last()?;
    let place = tables.iter().try_fold(preset, |table, name| table.get(name)?.as_table());
    place?.get(key).cloned()
}

/// Another value for an option of a layer. Any will do: where one makes no difference, none does.
fn alternative(value: &Value) -> Option<Value> {
    match value {
        Value::Boolean(value) => Some((!value).into()),
        // Bits, and steps of a delay.
        Value::Integer(value) => Some(if *value == 8 { 2 } else { 8 }.into()),
        Value::String(observer) => {
            Some(if observer == "last_batch" { "moving_average" } else { "last_batch" }.into())
        }
        _ => None,
    }
}
