//! Data of charts as they are given: lists, tensors, and maps of either.

use super::*;
use crate::base::results::MISSING;
use crate::base::{Error, memory};
use crate::options::{Foreign, Setting};
use crate::tensor::{DType, Device, Tensor, dtype};

/// One argument or option that holds data.
#[derive(Clone, Copy)]
pub struct ChartData<'a> {
    pub name: &'a str,
    pub value: &'a Plain,
    pub task: &'a Task,
}

/// Values under a name, which is empty where there is none.
pub type NamedValues = (String, Vec<f64>);

/// Rows, columns, and the values row after row.
pub type Matrix = (usize, usize, Vec<f64>);

/// Values of a list between two checks for an interruption.
const PIECE: usize = 1 << 16;

/// Returns the object of type `T` within a value, such as a tensor or a grid, if there is one.
pub(super) fn inside<T: 'static>(value: &Plain) -> Option<&T> {
    let Plain::Other(Foreign { value, .. }) = value else { return None };
    value.downcast_ref()
}

impl ChartData<'_> {
    pub fn refuse(&self, wanted: &str) -> Error {
        err!(Argument, "expected {wanted} for `{}`, found {}", self.name, self.value.described()).about(self.name)
    }

    fn inner<'a>(&'a self, value: &'a Plain) -> ChartData<'a> {
        ChartData { value, ..*self }
    }

    pub fn number(&self) -> Result<f64> {
        f64::of(self.value).ok_or_else(|| self.refuse("a number"))
    }

    /// Returns all numbers of a list or a tensor, whatever its shape; one number alone is a list of one. A value that
    /// is missing in a list, as cells of a column may be, stays missing.
    pub fn numbers(&self) -> Result<Vec<f64>> {
        if let Some(tensor) = inside::<Tensor>(self.value) {
            return values(tensor, self.task);
        }
        let Plain::List(list) = self.value else {
            return self.number().map(|one| vec![one]).map_err(|_| self.refuse("a number or an array of numbers"));
        };
        let number = |(at, one): (usize, &Plain)| match one {
            Plain::Nothing => Ok(MISSING),
            one => f64::of(one).ok_or_else(|| {
                err!(Argument, "expected a number for `{}[{at}]`, found {}", self.name, one.described())
                    .about(self.name)
            }),
        };
        let checked = |(at, one): (usize, &Plain)| {
            if at.is_multiple_of(PIECE) {
                self.task.check()?;
            }
            number((at, one))
        };
        list.iter().enumerate().map(checked).collect()
    }

    /// Returns one series or several: a list or a one-dimensional tensor is one; a list of lists, the rows of a matrix,
    /// or a map of names to lists are several.
    pub fn series(&self) -> Result<Vec<NamedValues>> {
        match self.value {
            Plain::Map(map) => {
                map.iter().map(|(name, value)| Ok((name.clone(), self.inner(value).numbers()?))).collect()
            }
            Plain::List(list) if list.first().is_some_and(is_list) => {
                let lists: Result<Vec<Vec<f64>>> = list.iter().map(|value| self.inner(value).numbers()).collect();
                Ok(numbered(lists?))
            }
            value if inside::<Tensor>(value).is_some_and(|tensor| tensor.rank() != 1) => {
                let (_, columns, values) = self.matrix()?;
                Ok(numbered(values.chunks(columns.max(1)).map(<[f64]>::to_vec).collect()))
            }
            _ => Ok(vec![(String::new(), self.numbers()?)]),
        }
    }

    /// Returns the places of the values of each series: one list for all series, or one for each, shaped like the data.
    pub fn along(&self, data: &ChartData, series: &[NamedValues]) -> Result<Vec<Vec<f64>>> {
        let is_several = match self.value {
            Plain::Map(_) => true,
            Plain::List(list) => list.first().is_some_and(is_list),
            value => inside::<Tensor>(value).is_some_and(|tensor| tensor.rank() > 1),
        };
        if is_several { self.like(data, series) } else { Ok(vec![self.numbers()?; series.len()]) }
    }

    /// Returns the values of a two-dimensional tensor, or of a list of lists of one length.
    pub fn matrix(&self) -> Result<Matrix> {
        if let Some(tensor) = inside::<Tensor>(self.value) {
            return match *tensor.dims() {
                [rows, columns] => Ok((rows, columns, values(tensor, self.task)?)),
                ref other => {
                    Err(err!(Shape, "expected a tensor of two dimensions for `{}`, found shape {other:?}", self.name)
                        .hint("choose a slice of it, or reshape it")
                        .about(self.name))
                }
            };
        }
        let Plain::List(list) = self.value else { return Err(self.refuse("a matrix")) };
        let rows = list.iter().map(|row| self.inner(row).numbers()).collect::<Result<Vec<Vec<f64>>>>()?;
        let columns = rows.first().map_or(0, Vec::len);
        if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != columns) {
            let found =
                format!("expected rows of one length, found {columns} values in row 0 and {} in row {i}", row.len());
            return Err(err!(Shape, "{found}").about(self.name));
        }
        Ok((rows.len(), columns, rows.concat()))
    }

    /// Returns a grid; a matrix becomes one whose rows and columns are called by their numbers.
    pub fn grid(&self) -> Result<Grid> {
        if let Some(grid) = inside::<Grid>(self.value) {
            return Ok(grid.clone());
        }
        let (rows, columns, values) = self.matrix()?;
        let numbered = |count: usize| (0..count).map(|i| i.to_string()).collect();
        Ok(Grid { rows: numbered(rows), columns: numbered(columns), values, ..Grid::default() })
    }

    /// Returns names with a number each, if the data are a map of these, or a list of pairs, which keeps its order.
    pub fn pairs(&self) -> Option<(Vec<String>, Vec<f64>)> {
        match self.value {
            Plain::Map(map) => map.iter().map(|(name, value)| Some((name.clone(), f64::of(value)?))).collect(),
            Plain::List(list) if !list.is_empty() => {
                let pair = |value: &Plain| match value {
                    Plain::List(pair) => match pair.as_slice() {
                        [Plain::Text(name), number] => Some((name.clone(), f64::of(number)?)),
                        _ => None,
                    },
                    _ => None,
                };
                list.iter().map(pair).collect()
            }
            _ => None,
        }
    }

    /// Returns the places of lines with their names, from a number, a list of numbers, or a map of names to numbers.
    pub fn places(&self) -> Result<Vec<(String, f64)>> {
        match self.value {
            Plain::Map(map) => {
                let place =
                    |(name, at): &(String, Plain)| Ok((name.clone(), ChartData { name, value: at, ..*self }.number()?));
                map.iter().map(place).collect()
            }
            _ => Ok(self.numbers()?.into_iter().map(|at| (String::new(), at)).collect()),
        }
    }

    /// Returns the keys of a map; none for other data.
    pub fn keys(&self) -> Option<Vec<&str>> {
        match self.value {
            Plain::Map(map) => Some(map.iter().map(|(key, _)| key.as_str()).collect()),
            _ => None,
        }
    }

    /// Returns the values of an option that is shaped like the data: key by key if the data are a map, else in order.
    pub fn like(&self, data: &ChartData, series: &[NamedValues]) -> Result<Vec<Vec<f64>>> {
        let wanted = data.keys();
        if wanted != self.keys() {
            let shape = wanted
                .map_or("a list, like the data".into(), |keys| format!("a map with the keys {}", keys.join(", ")));
            let hint = "a map has the order of its keys, not the one it was written in, so values are matched by name";
            return Err(self.refuse(&shape).hint(hint));
        }
        let mut rows: Vec<Vec<f64>> = self.series()?.into_iter().map(|(_, values)| values).collect();
        // Names with one number each are one series.
        if let [(_, only)] = series
            && wanted.is_some()
            && only.len() == rows.len()
        {
            rows = vec![rows.concat()];
        }
        if rows.len() != series.len() {
            let message = format!("expected `{}` for each of {} series, found {}", self.name, series.len(), rows.len());
            return Err(err!(Shape, "{message}").about(self.name));
        }
        Ok(rows)
    }
}

fn is_list(value: &Plain) -> bool {
    matches!(value, Plain::List(_)) || inside::<Tensor>(value).is_some()
}

/// Returns the lists with their numbers as names, unless there is only one.
fn numbered(lists: Vec<Vec<f64>>) -> Vec<NamedValues> {
    let alone = lists.len() == 1;
    let name = |i: usize| if alone { String::new() } else { i.to_string() };
    lists.into_iter().enumerate().map(|(i, values)| (name(i), values)).collect()
}

/// Returns the values of a tensor, row after row.
pub(super) fn values(tensor: &Tensor, task: &Task) -> Result<Vec<f64>> {
    memory::check(tensor.elem_count() as u128 * 8, || "a tensor's values".into())?;
    let count = tensor.elem_count() as f64;
    let tensor = tensor.clone();
    task.heavy(count, move || {
        Ok(dtype::convert(&tensor.to_device(&Device::Cpu)?, DType::F64)?.flatten_all()?.to_vec1()?)
    })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn series(value: Plain) -> Result<Vec<NamedValues>> {
        ChartData { name: "data", value: &value, task: &Task::default() }.series()
    }

    fn list(values: &[f64]) -> Plain {
        Plain::List(values.iter().map(|v| Plain::Float(*v)).collect())
    }

    fn given(tensor: Tensor) -> Plain {
        Plain::Other(Foreign { what: "a Tensor".into(), value: Rc::new(tensor) })
    }

    #[test]
    fn lists_tensors_and_maps_become_series() {
        let tensor = |shape: &[usize]| Tensor::arange(0_u32, 6, &Device::Cpu).unwrap().reshape(shape).unwrap();
        let one = |values: &[f64]| vec![(String::new(), values.to_vec())];
        assert_eq!(series(list(&[1.0, 2.0])), Ok(one(&[1.0, 2.0])));
        assert_eq!(series(Plain::Integer(5)), Ok(one(&[5.0])));
        assert_eq!(series(given(tensor(&[6]))).unwrap()[0].1.len(), 6);
        let eight_bit = dtype::convert(&tensor(&[6]), DType::F8E4M3).unwrap();
        assert_eq!(series(given(eight_bit)), Ok(one(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
        let rows = vec![("0".into(), vec![0.0, 1.0, 2.0]), ("1".into(), vec![3.0, 4.0, 5.0])];
        assert_eq!(series(given(tensor(&[2, 3]))), Ok(rows));
        let nested = Plain::List(vec![list(&[1.0]), list(&[2.0])]);
        assert_eq!(series(nested), Ok(vec![("0".into(), vec![1.0]), ("1".into(), vec![2.0])]));
        let map = Plain::Map(vec![("a".into(), list(&[2.0])), ("b".into(), list(&[1.0]))]);
        assert_eq!(series(map), Ok(vec![("a".into(), vec![2.0]), ("b".into(), vec![1.0])]));
        assert!(series(given(tensor(&[1, 2, 3]))).unwrap_err().message.contains("shape [1, 2, 3]"));
        let refused = |value: Plain| series(value).unwrap_err();
        assert_eq!(refused(Plain::Text("x".into())).about.as_deref(), Some("data"));
        let mixed = Plain::List(vec![Plain::Integer(1), Plain::Nothing, Plain::Text("x".into())]);
        assert_eq!(refused(mixed).message, "expected a number for `data[2]`, found string \"x\"");
    }

    #[test]
    fn places_are_those_of_all_series_or_of_each() {
        let task = Task::default();
        let rows = Plain::List(vec![list(&[1.0, 2.0]), list(&[3.0])]);
        let data = ChartData { name: "data", value: &rows, task: &task };
        let series = data.series().unwrap();
        let along = |value: Plain| ChartData { name: "x_values", value: &value, task: &task }.along(&data, &series);
        assert_eq!(along(list(&[5.0, 6.0])), Ok(vec![vec![5.0, 6.0]; 2]));
        assert_eq!(along(Plain::List(vec![list(&[5.0, 6.0]), list(&[7.0])])), Ok(vec![vec![5.0, 6.0], vec![7.0]]));
        let matrix = Tensor::arange(0_u32, 4, &Device::Cpu).unwrap().reshape((2, 2)).unwrap();
        assert_eq!(along(given(matrix)), Ok(vec![vec![0.0, 1.0], vec![2.0, 3.0]]));
        let one = along(Plain::List(vec![list(&[5.0, 6.0])])).unwrap_err();
        assert_eq!(one.message, "expected `x_values` for each of 2 series, found 1");
        let named = along(Plain::Map(vec![("a".into(), list(&[5.0]))])).unwrap_err();
        assert_eq!(named.message, "expected a list, like the data for `x_values`, found a map");
    }

    #[test]
    fn rows_of_different_lengths_are_no_matrix() {
        let ragged = Plain::List(vec![list(&[1.0, 2.0]), list(&[3.0])]);
        let error = ChartData { name: "data", value: &ragged, task: &Task::default() }.matrix().unwrap_err();
        assert_eq!(error.message, "expected rows of one length, found 2 values in row 0 and 1 in row 1");
    }
}
