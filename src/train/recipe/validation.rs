//! What a training looks at while it goes on, so that nothing is chosen by the test images.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rounding::half_away;
use crate::{Error, Result};

/// `data.validation`: the images that the best checkpoint and the curves go by. Images that are held back are drawn by the
/// recipe's seed, and not trained on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Validation {
    /// `0`: none; the test images are looked at.
    #[default]
    None,
    /// A whole number: so many of the training images.
    Images(usize),
    /// A number below 1: this share of the training images.
    Share(f64),
    /// Text: a folder of pictures with a folder for each class, as `val/` has it.
    Folder(String),
}

impl Validation {
    /// How many of `images` training images are held back.
    ///
    /// # Errors
    /// If none would be, or none left to train on.
    pub(in crate::train) fn held_back(&self, images: usize) -> Result<usize> {
        let count = match self {
            Validation::None | Validation::Folder(_) => return Ok(0),
            Validation::Images(count) => *count,
            Validation::Share(share) => half_away(images as f64 * share) as usize,
        };
        if count == 0 || count >= images {
            return Err(Error::Invalid(format!(
                "data.validation = {self}: of {images} training images, {count} would be held back; at least one must be, \
                 and at least one be left"
            )));
        }
        Ok(count)
    }

    /// Fails if the value makes no sense.
    pub(super) fn validate(&self) -> Result<()> {
        let problem = match self {
            Validation::Share(share) if !(*share > 0.0 && *share < 1.0) => {
                "a share of the training images must be above 0 and below 1"
            }
            Validation::Folder(folder) if folder.trim().is_empty() => "a folder must have a name",
            _ => return Ok(()),
        };
        Err(Error::Invalid(format!("data.validation = {self}: {problem}")))
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Validation::None => f.write_str("0"),
            Validation::Images(count) => count.fmt(f),
            Validation::Share(share) => write!(f, "{share:?}"),
            Validation::Folder(folder) => write!(f, "\"{folder}\""),
        }
    }
}

impl Serialize for Validation {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Validation::None => serializer.serialize_u64(0),
            Validation::Images(count) => count.serialize(serializer),
            Validation::Share(share) => serializer.serialize_f64(*share),
            Validation::Folder(folder) => serializer.serialize_str(folder),
        }
    }
}

impl<'de> Deserialize<'de> for Validation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Validation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of images, a share of them below 1, or a folder for data.validation")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> std::result::Result<Validation, E> {
                match usize::try_from(count) {
                    Ok(0) => Ok(Validation::None),
                    Ok(count) => Ok(Validation::Images(count)),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> std::result::Result<Validation, E> {
                match u64::try_from(count) {
                    Ok(count) => self.visit_u64(count),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> std::result::Result<Validation, E> {
                Ok(if share == 0.0 { Validation::None } else { Validation::Share(share) })
            }

            fn visit_str<E: de::Error>(self, folder: &str) -> std::result::Result<Validation, E> {
                Ok(Validation::Folder(folder.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Recipe;

    fn of(value: &str) -> Result<Validation> {
        Recipe::parse(&format!("data.validation = {value}")).map(|recipe| recipe.data.validation)
    }

    #[test]
    fn a_number_a_share_and_a_folder_are_told_apart_and_written_as_they_were() {
        for (value, expected) in [
            ("0", Validation::None),
            ("0.0", Validation::None),
            ("5000", Validation::Images(5000)),
            ("0.1", Validation::Share(0.1)),
            ("\"held/val\"", Validation::Folder("held/val".into())),
        ] {
            assert_eq!(of(value).unwrap(), expected);
            let recipe = Recipe::parse(&format!("data.validation = {value}")).unwrap();
            assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
        }
        for value in ["-1", "1.5", "-0.5", "nan", "\" \"", "true", "[1]"] {
            let error = of(value).unwrap_err().to_string();
            assert!(error.contains("data.validation"), "{value}: {error}");
        }
    }

    #[test]
    fn some_are_held_back_and_some_are_left() {
        assert_eq!(Validation::Images(3).held_back(10).unwrap(), 3);
        assert_eq!(Validation::Share(0.25).held_back(10).unwrap(), 3);
        assert_eq!(Validation::None.held_back(10).unwrap(), 0);
        for (validation, images) in [(Validation::Images(10), 10), (Validation::Share(0.01), 10)] {
            let error = validation.held_back(images).unwrap_err().to_string();
            assert!(
                error.contains(&format!("data.validation = {validation}")) && error.contains("10"),
                "{error}"
            );
        }
    }
}
