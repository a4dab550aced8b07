//! Options from TOML: what is given is put over defaults, and a key that the defaults do not have is a mistake.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A parser's complaint in one line.
pub(crate) fn invalid(error: toml::de::Error) -> Error {
    Error::Invalid(error.to_string().trim_end().replace('\n', " "))
}

/// `given` over `defaults`, read as a `T`. Keys are told with `path` before them. The tables whose paths are in `open`
/// have keys of any name, and the values whose paths are there too are of any type but a table's.
pub(crate) fn over<T: DeserializeOwned>(
    mut defaults: toml::Table,
    given: toml::Table,
    path: &str,
    open: &[&str],
) -> Result<T> {
    merge(&mut defaults, given, path, open)?;
    defaults.try_into().map_err(invalid)
}

/// The table that a line such as `train.epochs = 3` makes. A value that is no TOML is a string.
pub(crate) fn assigned(line: &str) -> Result<toml::Table> {
    let Some((key, value)) = line.split_once('=') else {
        return Err(Error::Invalid(format!("\"{line}\": an assignment has the form key = value")));
    };
    let quoted = toml::Value::from(value.trim());
    toml::from_str(line).or_else(|_| {
        toml::from_str(&format!("{key} = {quoted}"))
            .map_err(|e| Error::Invalid(format!("\"{line}\": {}", invalid(e))))
    })
}

/// Puts `above` over `below`, tables key by key.
pub(crate) fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => overlay(inner, value),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn merge(all: &mut toml::Table, given: toml::Table, path: &str, open: &[&str]) -> Result<()> {
    for (key, value) in given {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let near = nearest(&key, all.keys());
        match (all.get_mut(&key), value) {
            (None, value) if open.contains(&path) => {
                all.insert(key, value);
            }
            (None, _) => {
                return Err(Error::Invalid(format!("unknown key \"{full}\"; did you mean \"{near}\"?")));
            }
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => {
                merge(inner, value, &full, open)?;
            }
            // A whole number where a fraction may stand.
            (Some(slot @ toml::Value::Float(_)), toml::Value::Integer(v)) => {
                *slot = toml::Value::Float(v as f64)
            }
            (Some(slot), value) if slot.same_type(&value) => *slot = value,
            (Some(slot), value) if !slot.is_table() && !value.is_table() && open.contains(&&full[..]) => {
                *slot = value
            }
            (Some(slot), value) => {
                return Err(Error::Invalid(format!(
                    "{full} = {value} is of type {}; type {} is wanted, such as {slot}",
                    value.type_str(),
                    slot.type_str()
                )));
            }
        }
    }
    Ok(())
}

fn nearest<'a>(key: &str, keys: impl Iterator<Item = &'a String>) -> String {
    keys.max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)))
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_toml_or_strings() {
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        let same = [
            ("train.epochs=3", "[train]\nepochs = 3"),
            ("train.mode = eager", "[train]\nmode = \"eager\""),
            ("simqat.layer.\"fc*\".weight_bits = 4", "[simqat.layer.\"fc*\"]\nweight_bits = 4"),
            ("simqat.layer.conv1 = { skip = true }", "[simqat.layer.conv1]\nskip = true"),
            ("name = it's", "name = \"it's\""),
        ];
        for (line, text) in same {
            assert_eq!(assigned(line).unwrap(), table(text), "{line}");
        }
        for line in ["train.epochs", "a b = 3", "= 3"] {
            let error = assigned(line).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn an_overlay_keeps_what_it_does_not_name() {
        let mut below: toml::Table = toml::from_str("a = 1\n[b]\nc = 2\nd = 3").unwrap();
        overlay(&mut below, toml::from_str("e = 5\n[b]\nc = 4").unwrap());
        let expected: toml::Table = toml::from_str("a = 1\ne = 5\n[b]\nc = 4\nd = 3").unwrap();
        assert_eq!(below, expected);
    }
}
