//! What scripts train on: ids with their targets, or a function that makes them.

use rhai::{Array, Dynamic, FnPtr, Map};

use crate::base::{Error, Result, Task};
use crate::err;
use crate::model::train::{Batches, Examples};
use crate::script::hooks::call::Calls;
use crate::script::options::options;
use crate::script::value::{Given, given};
use crate::tensor::{DType, Tensor, dtype};

/// Examples that are given as ids, or as a map of `ids`, `targets` and `mask`.
pub fn examples(name: &str, value: &Dynamic) -> Result<Examples> {
    let Some(map) = value.read_lock::<Map>().map(|map| map.clone()) else {
        return masked(ids(&given(name, value))?, None).map_err(|e: Error| e.about(name));
    };
    let mut read = options(map);
    let found = (read.get("ids", ids)?, read.get("targets", ids)?, read.get("mask", numbers)?);
    read.finish()?;
    let (Some(ids), targets, mask) = found else {
        return Err(err!(Argument, "expected `ids` in the data to train on, found none").about(name));
    };
    match targets {
        Some(targets) => Ok(Examples { ids, targets, counts: mask }),
        None => masked(ids, mask).map_err(|e: Error| e.about(name)),
    }
}

/// Rows in which every token after the first is what should come next; the mask is of the tokens that should come.
fn masked(ids: Vec<Vec<u32>>, mask: Option<Vec<Vec<f32>>>) -> Result<Examples> {
    if let Some(row) = ids.iter().find(|row| row.len() < 2) {
        return Err(err!(
            Argument,
            "expected rows of at least two tokens, so that one follows the other, found {}",
            row.len()
        )
        .hint("give `targets`, too, where the answer is not the next token"));
    }
    let fits = |mask: &Vec<Vec<f32>>| mask.len() == ids.len() && mask.iter().zip(&ids).all(|(a, b)| a.len() == b.len());
    if !mask.as_ref().is_none_or(fits) {
        return Err(err!(Shape, "expected a `mask` of the shape of the ids"));
    }
    let counts = mask.map(|mask| mask.into_iter().map(|row| row[1..].to_vec()).collect());
    Ok(Examples { counts, ..Examples::next_tokens(&ids) })
}

/// Rows of token ids: a tensor `[rows, pos]`, or an array of arrays.
fn ids(given: &Given) -> Result<Vec<Vec<u32>>> {
    let rows = |rows: Vec<Vec<i64>>| -> Result<Vec<Vec<u32>>> {
        let id = |id: i64| u32::try_from(id).map_err(|_| given.refuse("token ids from 0 on"));
        rows.into_iter().map(|row| row.into_iter().map(id).collect()).collect()
    };
    if let Some(tensor) = given.value().read_lock::<Tensor>() {
        if tensor.rank() != 2 || dtype::is_float(tensor.dtype()) {
            return Err(given.refuse("integers of shape [rows, pos]"));
        }
        return rows(dtype::cast(&tensor, DType::I64)?.to_vec2::<i64>()?);
    }
    match given.value().is::<Array>() {
        true => rows(given.elements().iter().map(Given::integers).collect::<Result<_>>()?),
        false => Err(given.refuse("a tensor of ids [rows, pos] or an array of arrays of ids")),
    }
}

/// How much each target counts: a tensor `[rows, pos]`, or an array of arrays.
fn numbers(given: &Given) -> Result<Vec<Vec<f32>>> {
    if let Some(tensor) = given.value().read_lock::<Tensor>() {
        if tensor.rank() != 2 {
            return Err(given.refuse("a tensor of shape [rows, pos]"));
        }
        return Ok(dtype::cast(&tensor, DType::F32)?.to_vec2::<f32>()?);
    }
    let row = |given: &Given| Ok(given.numbers()?.into_iter().map(|x| x as f32).collect());
    match given.value().is::<Array>() {
        true => given.elements().iter().map(row).collect(),
        false => Err(given.refuse("a tensor [rows, pos] or an array of arrays of numbers")),
    }
}

/// Examples that a function of the script makes, from the number of the pass.
pub struct Made<'a> {
    calls: &'a Calls<'a>,
    function: FnPtr,
    pass: u64,
    rows: u64,
}

impl<'a> Made<'a> {
    /// `rows` is how many rows the function makes at a time.
    pub fn new(calls: &'a Calls<'a>, function: FnPtr) -> Result<(Self, usize)> {
        let mut made = Self { calls, function, pass: 0, rows: 1 };
        let rows = made.examples(0)?.ids.len();
        made.rows = rows.max(1) as u64;
        Ok((made, rows))
    }

    fn examples(&self, pass: u64) -> Result<Examples> {
        let made = self.calls.call(&self.function, [Dynamic::from(pass as i64)])?;
        examples("data", &made)
    }
}

impl Batches for Made<'_> {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Examples> {
        task.check()?;
        let made = match self.examples(self.pass) {
            // What an interrupted function throws is the interruption.
            Err(_) if task.is_interrupted() => return Err(Error::interrupted()),
            made => made?,
        };
        if made.ids.len() != rows {
            return Err(err!(
                Shape,
                "expected {rows} rows from the function, as the first time, found {}",
                made.ids.len()
            )
            .about("data"));
        }
        self.pass += 1;
        Ok(made)
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.pass += rows / self.rows;
        Ok(())
    }

    fn about(&self) -> String {
        format!("{} rows at a time from a function of the script", self.rows)
    }
}
