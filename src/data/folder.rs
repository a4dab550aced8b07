//! Folders of pictures in ImageNet's layout: `train/` and `val/` (or `test/`), in each a folder for every class, in each
//! of those its pictures. Classes are numbered in the order of their names. Only names are read here; pictures are decoded
//! when their turn comes.

use std::fs;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Split};
use crate::error::{Error, Result};

/// Endings that pictures have, in lower case.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Lists the pictures of a folder.
///
/// # Errors
/// [`Error::BadFile`] where there is no `train/` or no `val/`, a split has no class or only one, a class has no picture, or
/// the classes of both splits differ; [`Error::Io`] where a folder cannot be listed.
pub fn read_folder(name: impl Into<String>, folder: impl AsRef<Path>) -> Result<Dataset> {
    let folder = folder.as_ref();
    let train = train_of(folder)?;
    let test = ["val", "test"].map(|split| folder.join(split)).into_iter().find(|split| split.is_dir());
    let test = test.ok_or_else(|| {
        Error::bad_file(
            folder,
            "there is neither val/ nor test/ in it, with a folder of pictures for each class",
        )
    })?;
    let (classes, train_classes) = (class_folders(&test)?, class_folders(&train)?);
    let only = |here: &[String], there: &[String]| here.iter().find(|class| !there.contains(class)).cloned();
    for (here, there, split, other) in
        [(&train_classes, &classes, &train, &test), (&classes, &train_classes, &test, &train)]
    {
        if let Some(class) = only(here, there) {
            return Err(Error::bad_file(
                split,
                format!(
                    "has a class {class:?} that {} has not; both must have the same classes",
                    other.display()
                ),
            ));
        }
    }
    let (train, test) = (list(&train, &classes)?, list(&test, &classes)?);
    let mut data = Dataset::new(name, train, test, classes.len())?;
    data.source = format!(
        "{}: {} training and {} test images of {} classes from {}",
        data.name,
        data.train.len(),
        data.test.len(),
        classes.len(),
        folder.display()
    );
    data.class_names = classes;
    Ok(data)
}

/// The classes of a folder of pictures, in the order of their names. Pictures are not looked for.
///
/// # Errors
/// As [`read_folder`], of the training pictures.
pub fn read_classes(folder: impl AsRef<Path>) -> Result<Vec<String>> {
    class_folders(&train_of(folder.as_ref())?)
}

/// The pictures of one folder with a folder for each of these classes, numbered as they are here.
///
/// # Errors
/// As [`read_folder`], of one split; [`Error::BadFile`] if its classes are others.
pub fn read_split(folder: impl AsRef<Path>, classes: &[String]) -> Result<Split> {
    let folder = folder.as_ref();
    let found = class_folders(folder)?;
    let missing = classes.iter().find(|class| !found.contains(class)).map(|class| (class, "has no class"));
    let other =
        found.iter().find(|class| !classes.contains(class)).map(|class| (class, "has another class,"));
    match missing.or(other) {
        Some((class, what)) => Err(Error::bad_file(
            folder,
            format!("{what} {class:?}; its classes must be those that are trained on"),
        )),
        None => list(folder, classes),
    }
}

/// The training pictures' folder.
fn train_of(folder: &Path) -> Result<PathBuf> {
    let train = folder.join("train");
    match train.is_dir() {
        true => Ok(train),
        false => {
            let message = "there is no train/ in it, with a folder of pictures for each class";
            Err(Error::bad_file(folder, message))
        }
    }
}

/// The classes of a split, in the order of their names.
fn class_folders(split: &Path) -> Result<Vec<String>> {
    let mut classes = Vec::new();
    for path in entries(split)?.into_iter().filter(|path| path.is_dir()) {
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => classes.push(name.to_string()),
            None => {
                return Err(Error::bad_file(path, "the name of a class must be Unicode; rename the folder"));
            }
        }
    }
    match classes.len() {
        0 => Err(Error::bad_file(
            split,
            "there are no class folders in it; put the pictures of each class into one",
        )),
        1 => Err(Error::bad_file(
            split,
            format!("{:?} is the only class in it; a classifier needs at least two", classes[0]),
        )),
        _ => Ok(classes),
    }
}

fn list(split: &Path, classes: &[String]) -> Result<Split> {
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let folder = split.join(class);
        let before = files.len();
        collect(&folder, &mut files)?;
        if files.len() == before {
            let message = "there is no picture in it (.jpg, .jpeg or .png); fill the class or remove it from both splits";
            return Err(Error::bad_file(folder, message));
        }
        labels.resize(files.len(), label as u32);
    }
    Split::of_files(files, labels, classes.len())
}

/// The pictures in a folder and in those below it, in the order of their names.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            files.push(path);
        } else if path.is_dir() {
            collect(&path, files)?;
        }
    }
    Ok(())
}

/// What is in a folder, in the order of names, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
