//! The tensors of files that others wrote: counted, read by name and shape, and none of them left unread.

use std::collections::BTreeSet;

use crate::common::*;
use crate::model::layout::TensorSource;

/// Counts the bytes of these tensors of a file in a dtype.
pub fn bytes(source: &dyn TensorSource, names: impl IntoIterator<Item = String>, dtype: DType) -> u128 {
    let shapes = names.into_iter().filter_map(|name| source.shape(&name));
    let numbers: u128 = shapes.map(|shape| shape.iter().map(|size| *size as u128).product::<u128>()).sum();
    numbers.saturating_mul(dtype.size_in_bytes() as u128)
}

/// Refuses a file with a tensor that is not known. `who` is what has no such tensor, with its verb.
pub fn refuse_strays(
    names: impl IntoIterator<Item = impl AsRef<str>>,
    is_known: impl Fn(&str) -> bool,
    who: &str,
    hint: &str,
) -> Result<()> {
    match names.into_iter().find(|name| !is_known(name.as_ref())) {
        Some(stray) => Err(err!(Format, "found a tensor that {who} not have: `{}`", stray.as_ref()).hint(hint)),
        None => Ok(()),
    }
}

/// The tensors of a file, of which each has to be taken.
pub struct TensorReader<'a> {
    pub source: &'a dyn TensorSource,
    /// Names of the tensors that were taken, or that may be left.
    pub known: BTreeSet<String>,
}

impl TensorReader<'_> {
    /// Reads a tensor of this shape in f32.
    pub fn take(&mut self, name: &str, wanted: &[usize]) -> Result<Tensor> {
        self.known.insert(name.into());
        match self.source.shape(name) {
            Some(found) if found == wanted => self.source.tensor_as(name, DType::F32),
            Some(found) => Err(err!(Shape, "tensor `{name}`: expected shape {wanted:?}, found {found:?}")),
            None => Err(err!(Format, "expected the tensor `{name}`, found none")),
        }
    }

    /// Refuses a file with other tensors. `who` is what has no such tensors, with its verb.
    pub fn finish(self, who: &str) -> Result<()> {
        let hint = "it would compute something else without it";
        refuse_strays(self.source.names(), |name| self.known.contains(name), who, hint)
    }
}
