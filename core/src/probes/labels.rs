//! The labels of rows: the classes that occur, and the class of each row. Groups of rows that belong together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::common::*;
use crate::options::{Plain, Setting};
use crate::tensor::{Tensor, ints};

/// The name of a class, as the labels state it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassName {
    Flag(bool),
    Integer(i64),
    Text(String),
}

impl ClassName {
    fn sort(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Integer(_) => "integers",
            Self::Text(_) => "texts",
        }
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The classes in order (false, true; ascending integers; texts by the alphabet), and the number of each row's class.
/// The second of two classes is the one that scores are for.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassLabels {
    pub classes: Vec<ClassName>,
    pub of_row: Vec<usize>,
}

impl ClassLabels {
    /// Builds labels with the classes that occur in them, at least two and all of one sort.
    pub fn of(names: &[ClassName]) -> Result<Self> {
        let mut classes = names.to_vec();
        classes.sort();
        classes.dedup();
        if let Some(other) = classes.iter().find(|class| class.sort() != classes[0].sort()) {
            bail!(Argument, "expected labels of one sort, found {} and {}", classes[0].sort(), other.sort());
        }
        match classes.as_slice() {
            [] => bail!(Argument, "expected a label for each row, found none"),
            [one] => Err(err!(Argument, "expected labels of at least two classes, found {one} only")),
            _ => Self::among(names, &classes),
        }
    }

    /// Builds labels among given classes: another label is refused.
    pub fn among(names: &[ClassName], classes: &[ClassName]) -> Result<Self> {
        let number: BTreeMap<&ClassName, usize> = classes.iter().zip(0..).collect();
        let class = |(row, name): (usize, &ClassName)| {
            number.get(name).copied().ok_or_else(|| {
                let known: Vec<String> = classes.iter().map(ClassName::to_string).collect();
                err!(Argument, "expected labels among {}, found {name} in row {row}", known.join(", "))
            })
        };
        let of_row = names.iter().enumerate().map(class).collect::<Result<_>>()?;
        Ok(Self { classes: classes.to_vec(), of_row })
    }

    /// Refuses another number of labels than of rows.
    pub fn check_rows(&self, rows: usize) -> Result<()> {
        if self.of_row.len() != rows {
            bail!(Shape, "expected a label for each of {rows} rows, found {}", self.of_row.len());
        }
        Ok(())
    }

    /// Refuses classes that no row has, as a part of the rows may.
    pub fn check_each(&self) -> Result<()> {
        match self.counts().iter().position(|count| *count == 0) {
            None => Ok(()),
            Some(none) => Err(err!(Argument, "expected a row of each class, found none of {}", self.classes[none])),
        }
    }

    /// Returns the labels of some rows, with the same classes.
    pub fn picked(&self, rows: &[usize]) -> Self {
        Self { classes: self.classes.clone(), of_row: rows.iter().map(|row| self.of_row[*row]).collect() }
    }

    /// Counts the rows of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.of_row.iter().for_each(|class| counts[*class] += 1);
        counts
    }
}

/// Groups of rows that belong together, such as those of one document: the number of each row's group, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroups(pub Vec<usize>);

impl RowGroups {
    /// Numbers the groups in the order in which they occur.
    pub fn of<T: Ord>(ids: impl IntoIterator<Item = T>) -> Self {
        let mut known = BTreeMap::new();
        let number = |id| {
            let next = known.len();
            *known.entry(id).or_insert(next)
        };
        Self(ids.into_iter().map(number).collect())
    }

    /// Returns the given groups, or else a group for each row.
    pub fn or_rows(given: Option<&Self>, rows: usize) -> Result<Self> {
        match given {
            None => Ok(Self((0..rows).collect())),
            Some(groups) if groups.0.len() == rows => Ok(groups.clone()),
            Some(groups) => {
                Err(err!(Shape, "expected a group for each of {rows} rows, found {}", groups.0.len()).about("groups"))
            }
        }
    }

    pub fn count(&self) -> usize {
        self.0.iter().max().map_or(0, |last| last + 1)
    }

    /// Returns the weight of each row where its group was drawn this often.
    pub fn weights(&self, drawn: &[usize]) -> Vec<f64> {
        let mut times = vec![0.0; self.count()];
        drawn.iter().for_each(|group| times[*group] += 1.0);
        self.0.iter().map(|group| times[*group]).collect()
    }
}

impl Setting for RowGroups {
    fn wanted() -> String {
        "an array of integers or texts, or a tensor of integers, one for each row".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(ids) => {
                let id = |id: &Plain| match id {
                    Plain::Integer(number) => Some(ClassName::Integer(*number)),
                    Plain::Text(text) => Some(ClassName::Text(text.clone())),
                    _ => None,
                };
                ids.iter().map(id).collect::<Option<Vec<_>>>().map(Self::of)
            }
            Plain::Other(foreign) => {
                let tensor = foreign.value.downcast_ref::<Tensor>()?;
                (tensor.rank() == 1).then(|| ints(tensor).ok()).flatten().map(Self::of)
            }
            _ => None,
        }
    }

    fn written(&self) -> String {
        format!("{:?}", self.0)
    }
}
