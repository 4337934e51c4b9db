//! A model in several files, as `llama-gguf-split` and the converter write it: the first has the metadata, and each has
//! some of the tensors.

use kernels::PackedMatrix;

use super::GgufFile;
use super::layout::layout;
use crate::common::*;
use crate::model::layout::{Layout, TensorSource};
use crate::tensor::Tensor;

/// End of the name of a part, behind the two numbers.
const ENDING: &str = ".gguf";

/// The digits of each number.
const DIGITS: usize = 5;

/// The place of a file among the parts of a model, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardPlace {
    /// Number of the part, from 0.
    pub number: usize,
    pub count: usize,
    /// The tensors of all parts together.
    tensors: usize,
}

impl<B> GgufFile<B> {
    /// Reads the place of this file among the parts of a model; None for a whole model.
    pub fn split(&self) -> Result<Option<ShardPlace>> {
        let Some(count) = self.stated("split.count")?.filter(|count| *count > 1) else { return Ok(None) };
        let needed = |key: &str| {
            self.stated(key)?.ok_or_else(|| err!(Format, "expected `{key}` in a part of a model, found none"))
        };
        let split = ShardPlace { number: needed("split.no")?, count, tensors: needed("split.tensors.count")? };
        if split.number >= count {
            bail!(Format, "expected `split.no` below `split.count`, {count}, found {}", split.number);
        }
        Ok(Some(split))
    }

    fn stated(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let size = value.unsigned().map_err(|e| e.within(key))?;
        Ok(Some(usize::try_from(size).unwrap_or(usize::MAX)))
    }
}

/// Returns the number of a part, from 0, and the names of all parts of its model: `name-00002-of-00003.gguf` is 1 of
/// three. None for a name without such an end.
pub fn part_names(name: &str) -> Option<(usize, Vec<String>)> {
    let (front, count) = name.strip_suffix(ENDING)?.rsplit_once("-of-")?;
    let (stem, number) = front.rsplit_once('-')?;
    let parsed = |digits: &str| {
        let plain = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
        if plain { digits.parse::<usize>().ok() } else { None }
    };
    let number = parsed(number)?;
    let count = parsed(count)?;
    let all = (1..=count).map(|part| format!("{stem}-{part:0DIGITS$}-of-{count:0DIGITS$}{ENDING}"));
    (1..=count).contains(&number).then(|| (number - 1, all.collect()))
}

/// A model in one file or in several, as one source of tensors.
pub struct GgufModel<B> {
    /// Files in their order, with their names.
    files: Vec<(String, GgufFile<B>)>,
    /// The number of the file that has each tensor, by its name.
    holder: BTreeMap<String, usize>,
}

impl<B: AsRef<[u8]>> GgufModel<B> {
    /// Joins all files of one model, in their order and with their names. That they belong together is checked as far
    /// as they say it.
    pub fn new(files: Vec<(String, GgufFile<B>)>) -> Result<Self> {
        let mut parts = Self { files: Vec::new(), holder: BTreeMap::new() };
        let count = files.len();
        for (number, (name, file)) in files.into_iter().enumerate() {
            match file.split().map_err(|e| e.within(&name))? {
                None if count == 1 => {}
                Some(split) if (split.number, split.count) == (number, count) => {}
                Some(ShardPlace { number: found, count: of, .. }) => {
                    bail!(Format, "expected part {} of {count} in {name}, found part {} of {of}", number + 1, found + 1)
                }
                None => bail!(Format, "expected part {} of {count} in {name}, found a whole model", number + 1),
            }
            parts.add(name, file)?;
        }
        parts.complete()
    }

    fn add(&mut self, name: String, file: GgufFile<B>) -> Result<()> {
        let place = self.files.len();
        for tensor in file.tensors.keys() {
            if let Some(other) = self.holder.insert(tensor.clone(), place) {
                let first = self.files.get(other).map_or(&name, |(first, _)| first);
                bail!(Format, "the tensor `{tensor}` is in two parts: {first} and {name}");
            }
        }
        self.files.push((name, file));
        Ok(())
    }

    fn complete(self) -> Result<Self> {
        let found = self.holder.len();
        if let Some(split) = self.first()?.split()?
            && split.tensors != found
        {
            return Err(err!(Format, "expected {} tensors in all parts together, found {found}", split.tensors)
                .hint("a part belongs to another model, or is damaged"));
        }
        Ok(self)
    }

    /// Returns the file with the metadata.
    pub fn first(&self) -> Result<&GgufFile<B>> {
        self.files.first().map(|(_, file)| file).ok_or_else(|| err!(Bug, "a model without a file"))
    }

    /// Reads the config that the metadata state, and where the files have its weights.
    pub fn layout(&self) -> Result<Layout> {
        layout(&self.first()?.metadata, self)
    }

    fn of(&self, tensor: &str) -> Option<&(String, GgufFile<B>)> {
        self.files.get(*self.holder.get(tensor)?)
    }
}

impl<B: AsRef<[u8]>> TensorSource for GgufModel<B> {
    fn names(&self) -> Vec<String> {
        self.holder.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.of(name)?.1.shape(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let (_, file) = self.of(name).ok_or_else(|| {
            err!(Name, "this model has no tensor `{name}`")
                .maybe_hint(names::suggestion(name, self.holder.keys().map(String::as_str)))
        })?;
        file.tensor(name)
    }

    fn packed(&self, name: &str) -> Option<PackedMatrix> {
        self.of(name)?.1.packed(name)
    }
}
