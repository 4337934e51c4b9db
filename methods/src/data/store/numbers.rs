//! Numbers in the dtype of a shard, f32, f16 or bf16, converted from f32 and back.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::common::*;

/// The dtypes that a store may have.
pub const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// A growing list of numbers of one dtype.
#[derive(Debug, Clone, PartialEq)]
pub enum NumberList {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl NumberList {
    pub fn new(dtype: DType) -> Result<Self> {
        Ok(match dtype {
            DType::F32 => NumberList::F32(Vec::new()),
            DType::F16 => NumberList::F16(Vec::new()),
            DType::BF16 => NumberList::Bf16(Vec::new()),
            other => {
                let known = DTYPES.map(|dtype| dtype.as_str()).join(", ");
                return Err(err!(Argument, "expected {known} as the dtype of a store, found {}", other.as_str()));
            }
        })
    }

    /// Clears the list, with capacity for a number of elements.
    pub fn clear(&mut self, room: usize) {
        match self {
            NumberList::F32(list) => cleared(list, room),
            NumberList::F16(list) => cleared(list, room),
            NumberList::Bf16(list) => cleared(list, room),
        }
    }

    /// Adds numbers, rounded to the dtype. Returns the index of the first that is too large for it.
    pub fn round(&mut self, numbers: &[f32]) -> Option<usize> {
        match self {
            NumberList::F32(list) => {
                list.extend_from_slice(numbers);
                None
            }
            NumberList::F16(list) => {
                let start = list.len();
                list.resize(start + numbers.len(), f16::ZERO);
                let added = list.get_mut(start..)?;
                added.convert_from_f32_slice(numbers);
                added.iter().position(|x| !x.is_finite())
            }
            NumberList::Bf16(list) => {
                let start = list.len();
                list.resize(start + numbers.len(), bf16::ZERO);
                let added = list.get_mut(start..)?;
                added.convert_from_f32_slice(numbers);
                added.iter().position(|x| !x.is_finite())
            }
        }
    }

    /// Adds numbers from the bytes of a file.
    pub fn read(&mut self, bytes: &[u8]) {
        let twos = bytes.as_chunks::<2>().0;
        let fours = bytes.as_chunks::<4>().0;
        match self {
            NumberList::F32(list) => list.extend(fours.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            NumberList::F16(list) => list.extend(twos.iter().map(|bytes| f16::from_le_bytes(*bytes))),
            NumberList::Bf16(list) => list.extend(twos.iter().map(|bytes| bf16::from_le_bytes(*bytes))),
        }
    }

    /// Adds the numbers of a range to a list of f32.
    pub fn widen(&self, range: std::ops::Range<usize>, to: &mut Vec<f32>) {
        let start = to.len();
        match self {
            NumberList::F32(list) => to.extend_from_slice(list.get(range).unwrap_or_default()),
            NumberList::F16(list) => {
                let list = list.get(range).unwrap_or_default();
                to.resize(start + list.len(), 0.0);
                list.convert_to_f32_slice(&mut to[start..]);
            }
            NumberList::Bf16(list) => {
                let list = list.get(range).unwrap_or_default();
                to.resize(start + list.len(), 0.0);
                list.convert_to_f32_slice(&mut to[start..]);
            }
        }
    }

    /// Converts the list to a tensor of rows, without a copy.
    pub fn rows(self, width: usize) -> Result<Tensor> {
        let count = match &self {
            NumberList::F32(list) => list.len(),
            NumberList::F16(list) => list.len(),
            NumberList::Bf16(list) => list.len(),
        };
        if width == 0 || !count.is_multiple_of(width) {
            bail!(Bug, "{count} numbers that are no rows of {width}");
        }
        let shape = (count / width, width);
        Ok(match self {
            NumberList::F32(list) => Tensor::from_vec(list, shape, &Device::Cpu)?,
            NumberList::F16(list) => Tensor::from_vec(list, shape, &Device::Cpu)?,
            NumberList::Bf16(list) => Tensor::from_vec(list, shape, &Device::Cpu)?,
        })
    }
}

fn cleared<T>(list: &mut Vec<T>, room: usize) {
    list.clear();
    list.reserve_exact(room);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_to_bytes_and_back_and_what_is_too_large_is_found() {
        for (dtype, wanted) in [(DType::F32, 0.1_f32), (DType::F16, 0.099_975_586), (DType::BF16, 0.100_097_656)] {
            let mut numbers = NumberList::new(dtype).unwrap();
            assert_eq!(numbers.round(&[1.0, -2.0, 0.1, 4.0]), None);
            let bytes: Vec<u8> = match &numbers {
                NumberList::F32(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
                NumberList::F16(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
                NumberList::Bf16(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            let mut again = NumberList::new(dtype).unwrap();
            again.read(&bytes);
            assert_eq!(again, numbers);
            let mut wide = vec![9.0];
            again.widen(1..3, &mut wide);
            assert_eq!(wide, [9.0, -2.0, wanted]);
            assert_eq!(again.rows(2).unwrap().dims(), [2, 2]);
        }
        let mut small = NumberList::new(DType::F16).unwrap();
        assert_eq!((small.round(&[1.0]), small.round(&[2.0, 70_000.0])), (None, Some(1)));
        assert!(NumberList::new(DType::F64).is_err());
    }
}
