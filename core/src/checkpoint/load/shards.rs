//! One or several safetensors files as one source of tensors.

use crate::base::disk::Mapping;
use crate::base::files::UnhashedInputs;
use crate::common::*;
use crate::model::layout::{TensorSource, holds_floats};
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Tensor};

/// Mapped files with parsed and checked headers.
pub struct Shards {
    /// The names of the files, and their readers.
    files: Vec<(String, SafetensorsFile<Mapping>)>,
    /// Index of the file that has a tensor, by the tensor's name.
    holder: BTreeMap<String, usize>,
    /// The files, until they are hashed.
    unhashed: UnhashedInputs,
    task: Task,
}

impl Shards {
    /// Opens files of a folder and hashes them; no tensor may be in two of them.
    pub fn open(files: &Files, folder: &Path, shards: &[String], task: &Task) -> Result<Self> {
        let opened = Self::open_unhashed(files, folder, shards, task)?;
        opened.accept()?;
        Ok(opened)
    }

    /// Opens files of a folder that are hashed once their tensors are accepted: what is wrong with them, or with what
    /// belongs to them, is found by their headers.
    pub fn open_unhashed(files: &Files, folder: &Path, shards: &[String], task: &Task) -> Result<Self> {
        let mut all = Self {
            files: Vec::new(),
            holder: BTreeMap::new(),
            unhashed: UnhashedInputs::default(),
            task: task.clone(),
        };
        let mut inputs = Vec::new();
        for shard in shards {
            task.check()?;
            let (map, input) = files.map_unhashed(&folder.join(shard))?;
            inputs.push(input);
            all.add(shard, SafetensorsFile::new(map).map_err(|e| e.within(shard))?)?;
        }
        all.unhashed = UnhashedInputs::new(inputs);
        Ok(all)
    }

    fn add(&mut self, shard: &str, reader: SafetensorsFile<Mapping>) -> Result<()> {
        let place = self.files.len();
        for name in reader.names() {
            if let Some(other) = self.holder.insert(name.to_string(), place) {
                let first = self.files.get(other).map_or(shard, |(first, _)| first);
                bail!(Format, "tensor `{name}` is in two files: {first} and {shard}");
            }
        }
        self.files.push((shard.to_string(), reader));
        Ok(())
    }

    /// Returns the name of the file that has a tensor.
    pub fn file_of(&self, name: &str) -> Option<&str> {
        Some(&self.files.get(*self.holder.get(name)?)?.0)
    }

    fn of(&self, name: &str) -> Option<&(String, SafetensorsFile<Mapping>)> {
        self.files.get(*self.holder.get(name)?)
    }

    fn known(&self, name: &str) -> Result<&(String, SafetensorsFile<Mapping>)> {
        self.of(name).ok_or_else(|| {
            err!(Name, "these files have no tensor `{name}`")
                .maybe_hint(names::suggestion(name, self.holder.keys().map(String::as_str)))
        })
    }
}

impl TensorSource for Shards {
    fn names(&self) -> Vec<String> {
        self.holder.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.of(name)?.1.shape(name)?.to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let (shard, reader) = self.known(name)?;
        reader.tensor(name).map_err(|e| e.within(shard))
    }

    fn accept(&self) -> Result<()> {
        self.unhashed.note()
    }

    fn tensor_as(&self, name: &str, wanted: DType) -> Result<Tensor> {
        let (shard, reader) = self.known(name)?;
        if let Some(found) = reader.dtype(name) {
            holds_floats(name, found).map_err(|e| e.within(shard))?;
        }
        reader.tensor_as(name, wanted, &mut |place| {
            memory::give_back(reader.bytes(), place);
            self.task.check()
        })
    }
}
