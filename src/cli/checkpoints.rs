//! What a checkpoint says of itself.

use simqat::data::{DataOptions, count_classes};
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Recipe, Variant};
use simqat::{Error, Result};

fn told<'a>(checkpoint: &'a Checkpoint, key: &str) -> Result<&'a str> {
    checkpoint.metadata(key).ok_or_else(|| {
        let message =
            format!("it does not say its {key}; `simqat run` and `simqat train` write such that do");
        Error::bad_file(checkpoint.path(), message)
    })
}

/// The recipe that a checkpoint was trained by, with assignments over it.
pub fn recipe_of(checkpoint: &Checkpoint, assignments: &[String]) -> Result<Recipe> {
    let text = told(checkpoint, "recipe")?;
    // So that a mistake in an assignment is not told as one in the file.
    Recipe::parse(text).map_err(|e| Error::bad_file(checkpoint.path(), format!("the recipe in it: {e}")))?;
    Recipe::parse_with(text, assignments)
}

/// Whether a checkpoint was trained in float or quantized.
pub fn variant_of(checkpoint: &Checkpoint) -> Result<Variant> {
    let name = told(checkpoint, "variant")?;
    [Variant::Float, Variant::SimQat].into_iter().find(|v| v.name() == name).ok_or_else(|| {
        Error::bad_file(checkpoint.path(), format!("its variant is \"{name}\"; there is float and simqat"))
    })
}

/// How its values came about, in words.
pub fn history(checkpoint: &Checkpoint) -> String {
    let of = |key: &str| checkpoint.metadata(key);
    match (of("calibrated"), of("imported"), checkpoint.step()) {
        (Some(batches), _, _) => format!("calibrated with {batches}"),
        (None, Some(file), _) => format!("imported from {file}"),
        (None, None, Some(steps)) => format!("{steps} steps"),
        (None, None, None) => "a network alone".into(),
    }
}

/// How many classes the network of a recipe tells apart: as the checkpoint says, or who asks, or the recipe's data set, which
/// may be a folder.
pub fn classes_of(
    recipe: &Recipe,
    checkpoint: Option<&Checkpoint>,
    asked: Option<usize>,
    options: &DataOptions,
) -> Result<usize> {
    let told = checkpoint.and_then(|c| c.metadata("classes")?.parse::<usize>().ok());
    match (told, asked) {
        (_, Some(0)) => Err(Error::Invalid("--classes 0: a network tells at least one class".into())),
        (Some(classes), Some(asked)) if classes != asked => {
            Err(Error::Invalid(format!("--classes {asked}: the checkpoint is of {classes} classes; leave it out")))
        }
        (Some(classes), _) | (None, Some(classes)) => Ok(classes),
        (None, None) => count_classes(&recipe.data.name, options)?.ok_or_else(|| {
            Error::Invalid(format!(
                "data.name = \"{}\": how many classes there are is not known without the data; say it with --classes, or \
                 name the folder above the data with --data-dir",
                recipe.data.name
            ))
        }),
    }
}
