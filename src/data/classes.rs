//! Which output of a network stands for which class: a matter of names, since folders are numbered by the order of theirs.

use super::dataset::{Dataset, Split};
use crate::{Error, Result};

impl Dataset {
    /// The same pictures with their labels in the order of `names`, `[classes]`: what a network's outputs stand for. Classes
    /// belong together by their names, whatever their numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the names are not those of the data's classes, with those that differ.
    pub fn in_order_of(self, names: &[String]) -> Result<Dataset> {
        if self.class_names == names {
            return Ok(self);
        }
        let missing = |here: &[String], there: &[String]| -> Vec<String> {
            here.iter().filter(|name| !there.contains(name)).cloned().collect()
        };
        let (unknown, absent) = (missing(&self.class_names, names), missing(names, &self.class_names));
        // Names that come twice cannot be told apart.
        if !unknown.is_empty() || !absent.is_empty() || names.len() != self.classes {
            return Err(Error::Invalid(format!(
                "the network was trained on other classes than those of \"{}\": {}; rename or complete them, or train anew",
                self.name,
                difference(&unknown, &absent, [names.len(), self.classes])
            )));
        }
        let place = |name: &String| names.iter().position(|other| other == name).unwrap_or_default() as u32;
        let places: Vec<u32> = self.class_names.iter().map(place).collect();
        let mapped = |mut split: Split| {
            split.labels.iter_mut().for_each(|label| *label = places[*label as usize]);
            split
        };
        Ok(Dataset {
            train: mapped(self.train),
            test: mapped(self.test),
            class_names: names.to_vec(),
            name: self.name,
            classes: self.classes,
            is_sample: self.is_sample,
            source: self.source,
        })
    }
}

/// In what two lists of classes differ, in words.
fn difference(unknown: &[String], absent: &[String], counts: [usize; 2]) -> String {
    let listed = |names: &[String]| {
        let shown: Vec<String> = names.iter().take(3).map(|name| format!("{name:?}")).collect();
        let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
        shown.join(", ") + &more
    };
    match (unknown.is_empty(), absent.is_empty()) {
        (false, false) => {
            format!("only the data has {}, only the network knows {}", listed(unknown), listed(absent))
        }
        (false, true) => format!("only the data has {}", listed(unknown)),
        (true, false) => format!("only the network knows {}", listed(absent)),
        (true, true) => format!("the network tells {} apart and the data has {}", counts[0], counts[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(names: &[&str]) -> Dataset {
        let split = |labels: Vec<u32>| {
            Split::new([1, 1, 1], labels.iter().map(|&l| l as u8).collect(), labels, names.len()).unwrap()
        };
        let mut data = Dataset::new("fruit", split(vec![0, 1, 2]), split(vec![2, 0]), names.len()).unwrap();
        data.class_names = names.iter().map(ToString::to_string).collect();
        data
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn labels_follow_their_names() {
        let here = data(&["fig", "lime", "pear"]);
        let there = here.clone().in_order_of(&names(&["pear", "fig", "lime"])).unwrap();
        assert_eq!((&there.train.labels[..], &there.test.labels[..]), (&[1, 2, 0][..], &[0, 1][..]));
        assert_eq!(there.class_names, ["pear", "fig", "lime"]);
        assert_eq!(there.train.images(), here.train.images());
        assert_eq!(there.in_order_of(&here.class_names).unwrap(), here);
    }

    #[test]
    fn other_classes_are_refused_by_name() {
        let told = |named: &[&str]| {
            data(&["fig", "lime", "pear"]).in_order_of(&names(named)).unwrap_err().to_string()
        };
        let renamed = told(&["date", "lime", "pear"]);
        assert!(renamed.contains("only the data has \"fig\", only the network knows \"date\""), "{renamed}");
        assert!(told(&["fig", "lime"]).contains("only the data has \"pear\""));
        assert!(told(&["fig", "lime", "pear", "plum"]).contains("only the network knows \"plum\""));
        assert!(told(&["fig", "lime", "pear", "pear"]).contains("tells 4 apart and the data has 3"));
    }
}
