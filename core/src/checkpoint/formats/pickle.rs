//! PyTorch's `.pt` files as a source of weights.

use crate::base::Result;
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;

pub use crate::tensor::files::pickle::PickleFile;

impl<B: AsRef<[u8]>> TensorSource for PickleFile<B> {
    /// Returns the names of all tensors; keys of nested dictionaries and indices of lists are joined by dots.
    fn names(&self) -> Vec<String> {
        self.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.shape(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.tensor(name)
    }
}
