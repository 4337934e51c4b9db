//! Data of charts as scripts write it: lists, tensors, and maps of either.

use rhai::{Array, Dynamic, Map};

use crate::base::{Error, Result, memory};
use crate::err;
use crate::script::value::{Given, given};
use crate::tensor::{DType, Device, Tensor, dtype};

/// One argument or option that holds data.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub name: &'a str,
    pub value: &'a Dynamic,
}

/// Values under a name, which is empty where there is none.
pub type Named = (String, Vec<f64>);

/// Rows, columns, and the values row after row.
pub type Matrix = (usize, usize, Vec<f64>);

impl Data<'_> {
    pub fn refuse(&self, wanted: &str) -> Error {
        given(self.name, self.value).refuse(wanted)
    }

    fn inner<'a>(&'a self, value: &'a Dynamic) -> Data<'a> {
        Data { value, ..*self }
    }

    /// All numbers of a list or a tensor, whatever its shape; one number alone is a list of one. What is missing in a
    /// list, as cells of a column may be, is NaN.
    pub fn numbers(&self) -> Result<Vec<f64>> {
        if let Some(tensor) = self.value.read_lock::<Tensor>() {
            return values(&tensor);
        }
        let given = given(self.name, self.value);
        let has_gaps = self.value.read_lock::<Array>().is_some_and(|list| list.iter().any(Dynamic::is_unit));
        if !has_gaps {
            return given.numbers();
        }
        let number = |one: &Given| if one.value().is_unit() { Ok(f64::NAN) } else { one.number() };
        given.elements().iter().map(number).collect()
    }

    /// One series or several: a list or a one-dimensional tensor is one, a list of lists, the rows of a matrix, or a
    /// map of names to lists are several.
    pub fn series(&self) -> Result<Vec<Named>> {
        if let Some(map) = self.value.read_lock::<Map>() {
            let one =
                |(name, value): (&rhai::Identifier, &Dynamic)| Ok((name.to_string(), self.inner(value).numbers()?));
            return map.iter().map(one).collect();
        }
        let nested = self.value.read_lock::<Array>().is_some_and(|list| list.first().is_some_and(is_list));
        let matrix = self.value.read_lock::<Tensor>().is_some_and(|tensor| tensor.rank() != 1);
        if matrix {
            let (_, columns, values) = self.matrix()?;
            return Ok(numbered(values.chunks(columns.max(1)).map(<[f64]>::to_vec).collect()));
        }
        if !nested {
            return Ok(vec![(String::new(), self.numbers()?)]);
        }
        let list = given(self.name, self.value).list()?;
        let lists: Result<Vec<Vec<f64>>> = list.iter().map(|value| self.inner(value).numbers()).collect();
        Ok(numbered(lists?))
    }

    /// A two-dimensional tensor, or a list of lists of one length.
    pub fn matrix(&self) -> Result<Matrix> {
        if let Some(tensor) = self.value.read_lock::<Tensor>() {
            return match *tensor.dims() {
                [rows, columns] => Ok((rows, columns, values(&tensor)?)),
                ref other => {
                    Err(err!(Shape, "expected a tensor of two dimensions for `{}`, found shape {other:?}", self.name)
                        .hint("choose a slice of it, or reshape it")
                        .about(self.name))
                }
            };
        }
        let list = given(self.name, self.value).list().map_err(|_| self.refuse("a matrix"))?;
        let rows: Result<Vec<Vec<f64>>> = list.iter().map(|row| self.inner(row).numbers()).collect();
        let rows = rows?;
        let columns = rows.first().map_or(0, Vec::len);
        if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != columns) {
            let found =
                format!("expected rows of one length, found {columns} values in row 0 and {} in row {i}", row.len());
            return Err(err!(Shape, "{found}").about(self.name));
        }
        Ok((rows.len(), columns, rows.concat()))
    }
}

fn is_list(value: &Dynamic) -> bool {
    value.is_array() || value.read_lock::<Tensor>().is_some()
}

/// Lists without names are called by their number, unless there is only one.
fn numbered(lists: Vec<Vec<f64>>) -> Vec<Named> {
    let alone = lists.len() == 1;
    let name = |i: usize| if alone { String::new() } else { i.to_string() };
    lists.into_iter().enumerate().map(|(i, values)| (name(i), values)).collect()
}

/// The values of a tensor, row after row.
fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    memory::check(tensor.elem_count() as u128 * 8, || "a tensor's values".into())?;
    Ok(dtype::convert(&tensor.to_device(&Device::Cpu)?, DType::F64)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: Dynamic) -> Result<Vec<Named>> {
        Data { name: "data", value: &value }.series()
    }

    fn list(values: &[f64]) -> Dynamic {
        values.iter().map(|v| Dynamic::from(*v)).collect::<Array>().into()
    }

    #[test]
    fn lists_tensors_and_maps_become_series() {
        let tensor = |shape: &[usize]| Tensor::arange(0_u32, 6, &Device::Cpu).unwrap().reshape(shape).unwrap();
        let one = |values: &[f64]| vec![(String::new(), values.to_vec())];
        assert_eq!(series(list(&[1.0, 2.0])), Ok(one(&[1.0, 2.0])));
        assert_eq!(series(Dynamic::from(5_i64)), Ok(one(&[5.0])));
        assert_eq!(series(Dynamic::from(tensor(&[6]))).unwrap()[0].1.len(), 6);
        let eight_bit = dtype::convert(&tensor(&[6]), DType::F8E4M3).unwrap();
        assert_eq!(series(Dynamic::from(eight_bit)), Ok(one(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
        let rows = vec![("0".into(), vec![0.0, 1.0, 2.0]), ("1".into(), vec![3.0, 4.0, 5.0])];
        assert_eq!(series(Dynamic::from(tensor(&[2, 3]))), Ok(rows));
        let nested: Dynamic = Array::from([list(&[1.0]), list(&[2.0])]).into();
        assert_eq!(series(nested), Ok(vec![("0".into(), vec![1.0]), ("1".into(), vec![2.0])]));
        let map: Map = [("b".into(), list(&[1.0])), ("a".into(), list(&[2.0]))].into();
        assert_eq!(series(map.into()), Ok(vec![("a".into(), vec![2.0]), ("b".into(), vec![1.0])]));
        assert!(series(Dynamic::from(tensor(&[1, 2, 3]))).unwrap_err().message.contains("shape [1, 2, 3]"));
        assert_eq!(series("x".into()).unwrap_err().about.as_deref(), Some("data"));
    }

    #[test]
    fn rows_of_different_lengths_are_no_matrix() {
        let ragged: Dynamic = Array::from([list(&[1.0, 2.0]), list(&[3.0])]).into();
        let error = Data { name: "data", value: &ragged }.matrix().unwrap_err();
        assert_eq!(error.message, "expected rows of one length, found 2 values in row 0 and 1 in row 1");
    }
}
