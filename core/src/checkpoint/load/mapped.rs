//! Mapped files whose pages are released after each tensor, so that memory never holds both the files and all weights.

use kernels::PackedMatrix;

use crate::base::disk::Mapping;
use crate::base::files::UnhashedInputs;
use crate::base::{Result, Task, memory};
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;

/// A source that reads from maps.
pub struct MappedSource<'a> {
    pub source: &'a dyn TensorSource,
    pub maps: &'a [&'a Mapping],
    /// The files of the maps, as far as they are not hashed yet.
    pub unhashed: UnhashedInputs,
    pub task: &'a Task,
}

impl TensorSource for MappedSource<'_> {
    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.source.shape(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.task.check()?;
        let tensor = self.source.tensor(name)?;
        for map in self.maps {
            memory::give_back(map, 0..map.len());
        }
        Ok(tensor)
    }

    fn accept(&self) -> Result<()> {
        self.unhashed.note()
    }

    fn packed(&self, name: &str) -> Option<PackedMatrix> {
        self.source.packed(name)
    }
}
