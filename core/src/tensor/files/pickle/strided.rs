//! One tensor of a `.pt` file: elements of a storage, given by an offset and strides.

use super::super::reader::elements;
use super::object::TensorView;
use crate::common::*;
use crate::tensor::{self, DType, Device, Tensor};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct StridedTensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    strides: Vec<usize>,
    /// The number of elements.
    count: usize,
    /// The byte range in the file from the tensor's first element to its last.
    place: Range<usize>,
}

impl StridedTensor {
    /// Checks that the tensor lies within its storage, whose bytes are at `storage`.
    pub fn new(view: &TensorView, storage: Range<usize>) -> Result<Self> {
        let dtype = view.storage.dtype;
        let width = dtype.size_in_bytes();
        if view.storage.count.checked_mul(width) != Some(storage.len()) {
            bail!(
                Format,
                "expected {} elements of {} in the storage `{}`, found {} bytes",
                view.storage.count,
                dtype.as_str(),
                view.storage.key,
                storage.len()
            );
        }
        if view.shape.len() != view.strides.len() {
            bail!(Format, "expected a stride for every axis, found {:?} for {:?}", view.strides, view.shape);
        }
        let count = elements(&view.shape, width)?;
        if count > view.storage.count {
            return Err(err!(Format, "expected at most {} elements, found shape {:?}", view.storage.count, view.shape)
                .hint("this tensor repeats its elements; in PyTorch save it after `.contiguous()`"));
        }
        let span = if count == 0 { 0 } else { span(&view.shape, &view.strides)? };
        let end = view.offset.checked_add(span).filter(|end| *end <= view.storage.count);
        let Some(end) = end else {
            bail!(
                Format,
                "expected a tensor within the {} elements of its storage, found one beyond",
                view.storage.count
            )
        };
        let place = storage.start + view.offset * width..storage.start + end * width;
        Ok(Self { dtype, shape: view.shape.clone(), strides: view.strides.clone(), count, place })
    }

    /// Returns the number of bytes of the tensor's elements.
    pub fn bytes(&self) -> u128 {
        self.count as u128 * self.dtype.size_in_bytes() as u128
    }

    pub fn read(&self, file: &[u8]) -> Result<Tensor> {
        let data = file.get(self.place.clone()).unwrap_or_default();
        let width = self.dtype.size_in_bytes();
        tensor::room(&self.shape, self.dtype)?;
        if self.is_in_order() {
            return Ok(Tensor::from_raw_buffer(data, self.dtype, &self.shape, &Device::Cpu)?);
        }
        let mut ordered = Vec::with_capacity(self.count * width);
        self.gather(data, width, 0, 0, &mut ordered);
        Ok(Tensor::from_raw_buffer(&ordered, self.dtype, &self.shape, &Device::Cpu)?)
    }

    /// Returns whether the elements are contiguous in row order.
    fn is_in_order(&self) -> bool {
        let mut expected = 1;
        self.count == 0
            || self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
                let fits = *size == 1 || *stride == expected;
                expected *= size;
                fits
            })
    }

    /// Copies in row order the elements from `element` on that belong to the axes from `axis` on.
    fn gather(&self, data: &[u8], width: usize, axis: usize, element: usize, ordered: &mut Vec<u8>) {
        let (Some(size), Some(stride)) = (self.shape.get(axis), self.strides.get(axis)) else {
            ordered.extend_from_slice(data.get(element * width..(element + 1) * width).unwrap_or_default());
            return;
        };
        for index in 0..*size {
            self.gather(data, width, axis + 1, element + index * stride, ordered);
        }
    }
}

/// Returns the number of elements of the storage from the first to the last, both included.
fn span(shape: &[usize], strides: &[usize]) -> Result<usize> {
    let steps = shape
        .iter()
        .zip(strides)
        .try_fold(1_usize, |span, (size, stride)| span.checked_add(size.saturating_sub(1).checked_mul(*stride)?));
    steps.ok_or_else(|| err!(Format, "a tensor of shape {shape:?} and strides {strides:?} reaches beyond any file"))
}
