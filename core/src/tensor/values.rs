//! Tensors as options of a call: a tensor that is there, or numbers in arrays.

use super::{DType, Tensor, create, dtype, element};
use crate::base::Result;
use crate::options::{Foreign, Plain, Setting};

/// The deepest nesting of arrays that is read.
const DEEPEST: usize = 8;

/// A tensor, or numbers in arrays of equal length, which have no dtype of their own.
#[derive(Debug, Clone)]
pub enum Values {
    Tensor(Tensor),
    Numbers { values: Vec<f64>, dims: Vec<usize> },
}

impl Values {
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Numbers { dims, .. } => dims,
        }
    }

    /// Returns the dtype; that of numbers is the one that `tensor(..)` gives them.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Tensor(tensor) => tensor.dtype(),
            Self::Numbers { .. } => DType::F32,
        }
    }

    /// Returns the tensor, in a dtype of floats. One that needs a gradient is refused by the name of its option, as
    /// `encoder`.
    pub fn tensor(&self, name: &str, to: DType) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => {
                element::detached(name, tensor).map_err(|e| e.about(name))?;
                dtype::convert(tensor, to)
            }
            Self::Numbers { values, dims } => create::from_floats(values.clone(), dims, to),
        }
    }
}

impl Setting for Values {
    fn wanted() -> String {
        "a tensor, or numbers in arrays of equal length".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        if let Plain::Other(Foreign { value, .. }) = value {
            return value.downcast_ref::<Tensor>().cloned().map(Self::Tensor);
        }
        let mut values = Vec::new();
        let mut dims = Vec::new();
        collect(value, 0, &mut dims, &mut values).then_some(Self::Numbers { values, dims })
    }

    fn written(&self) -> String {
        match self {
            Self::Tensor(tensor) => format!("a tensor of shape {:?}", tensor.dims()),
            Self::Numbers { values, dims } => format!("{values:?} as {dims:?}"),
        }
    }
}

/// Collects the numbers of nested arrays; returns false where an array is of another length than those beside it.
fn collect(value: &Plain, depth: usize, dims: &mut Vec<usize>, values: &mut Vec<f64>) -> bool {
    let Plain::List(list) = value else {
        let Some(number) = f64::of(value).filter(|_| depth == dims.len()) else { return false };
        values.push(number);
        return true;
    };
    match dims.get(depth) {
        // Numbers were found at this depth before.
        None if !values.is_empty() || depth == DEEPEST => return false,
        None => dims.push(list.len()),
        Some(len) if *len != list.len() => return false,
        Some(_) => {}
    }
    list.iter().all(|inner| collect(inner, depth + 1, dims, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(numbers: &[i64]) -> Plain {
        Plain::List(numbers.iter().map(|number| Plain::Integer(*number)).collect())
    }

    #[test]
    fn arrays_of_equal_length_are_tensors_and_others_are_refused() {
        let rows = Values::of(&Plain::List(vec![row(&[1, 2]), row(&[3, 4]), row(&[5, 6])])).unwrap();
        assert_eq!((rows.dims(), rows.dtype()), (&[3, 2][..], DType::F32));
        let found = rows.tensor("x", DType::F64).unwrap();
        assert_eq!(found.to_vec2::<f64>().unwrap(), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        assert_eq!(Values::of(&Plain::Float(0.5)).unwrap().dims(), &[0; 0]);
        let others = [
            Plain::List(vec![row(&[1, 2]), row(&[3])]),
            Plain::List(vec![row(&[1]), Plain::Integer(3)]),
            Plain::List(vec![Plain::Integer(3), row(&[1])]),
            Plain::List(vec![Plain::Text("x".into())]),
            Plain::Nothing,
        ];
        for other in others {
            assert!(Values::of(&other).is_none(), "{other:?}");
        }
    }
}
