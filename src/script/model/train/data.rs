//! Data that scripts train on: texts, ids with their targets, or a function that makes them.

use crate::model::train::{Batches, Examples, HeldOut, Tables, TrainOptions};
use crate::script::engine::value::given_back;
use crate::script::prelude::*;
use crate::tensor::{DType, dtype};
use crate::tokenizer::Tokenizer;

/// Data that a script gives as an option, as it gave them.
#[derive(Clone)]
pub struct GivenData(Dynamic);

impl Setting for GivenData {
    fn wanted() -> String {
        "data like `data`".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let is_data = |data: &Dynamic| {
            data.is::<Text>() || data.is::<FnPtr>() || data.is::<Tensor>() || data.is::<Array>() || data.is::<Map>()
        };
        Some(given_back(value)).filter(is_data).map(Self)
    }

    fn written(&self) -> String {
        "data".into()
    }
}

crate::options! {
    /// Data that a model is evaluated on while it is trained.
    #[derive(Clone)]
    pub struct HeldData {
        /// Held-out data, in any form of `data`, on which the model is evaluated during training.
        held: Option<GivenData> = None;
    }
}

/// A reader of data, with a tokenizer and a length of rows.
pub struct DataReader<'a> {
    pub tokenizer: Option<&'a Tokenizer>,
    /// The length of the rows that a text is cut into.
    pub context: usize,
    pub seed: u64,
    pub calls: &'a Callbacks<'a>,
    pub options: &'a TrainOptions,
    pub task: &'a Task,
}

impl<'a> DataReader<'a> {
    /// Reads the examples of an argument or option, and counts how many rows of them make a pass.
    pub fn rows(&self, name: &'static str, value: &Dynamic) -> Result<(Box<dyn Batches + 'a>, usize)> {
        if let Some(text) = value.read_lock::<Text>() {
            let Some(tokenizer) = self.tokenizer else {
                return Err(err!(Argument, "expected a tokenizer to read the text with, found none")
                    .hint("data::tokenizer(text) makes one, for the option `tokenizer`")
                    .about("options"));
            };
            return Ok((text.batches(tokenizer, self.context, self.seed, self.task)?, self.options.rows(None)));
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            let (made, count) = GeneratedExamples::new(self.calls, name, function.clone())?;
            if name == "data" && self.options.batch.is_some() {
                return Err(err!(Argument, "expected no `batch` where a function makes the rows").about("batch"));
            }
            return Ok((Box::new(made), count));
        }
        let examples = examples(name, value)?;
        examples.width().map_err(|error| error.about(name))?;
        let tables = Tables::new(examples, self.seed);
        let rows = self.options.rows(Some(tables.rows()));
        Ok((Box::new(tables), rows))
    }

    /// Reads the rows of the evaluations: at most `held_rows`, or all that a function makes at once.
    pub fn held_out(&self, held: &GivenData) -> Result<HeldOut> {
        let (mut rows, count) = self.rows("held", &held.0)?;
        let count = if held.0.is::<FnPtr>() { count } else { self.options.held_rows };
        Ok(HeldOut { examples: rows.next(count, self.task)?, every: self.options.evaluated_every() })
    }
}

/// Reads examples that are given as ids, or as a map of `ids`, `targets` and `mask`.
fn examples(name: &str, value: &Dynamic) -> Result<Examples> {
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

/// Makes rows whose targets are the next tokens; a mask in the shape of the ids weighs each token as a target.
fn masked(ids: Vec<Vec<u32>>, mask: Option<Vec<Vec<f32>>>) -> Result<Examples> {
    if let Some(row) = ids.iter().find(|row| row.len() < 2) {
        return Err(err!(
            Argument,
            "expected rows of at least two tokens, a token and the next one, found {}",
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

/// Reads rows of token ids: a tensor `[rows, pos]`, or an array of arrays.
fn ids(given: &GivenValue) -> Result<Vec<Vec<u32>>> {
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
    if given.value().is::<Array>() {
        rows(given.elements().iter().map(GivenValue::integers).collect::<Result<_>>()?)
    } else {
        Err(given.refuse("a tensor of ids [rows, pos] or an array of arrays of ids"))
    }
}

/// Reads the weight of each target: a tensor `[rows, pos]`, or an array of arrays.
fn numbers(given: &GivenValue) -> Result<Vec<Vec<f32>>> {
    if let Some(tensor) = given.value().read_lock::<Tensor>() {
        if tensor.rank() != 2 {
            return Err(given.refuse("a tensor of shape [rows, pos]"));
        }
        return Ok(dtype::cast(&tensor, DType::F32)?.to_vec2::<f32>()?);
    }
    let row = |given: &GivenValue| Ok(given.numbers()?.into_iter().map(|x| x as f32).collect());
    if given.value().is::<Array>() {
        given.elements().iter().map(row).collect()
    } else {
        Err(given.refuse("a tensor [rows, pos] or an array of arrays of numbers"))
    }
}

/// Examples that a function of the script makes, from the number of the pass.
struct GeneratedExamples<'a> {
    calls: &'a Callbacks<'a>,
    /// The argument or option that it was given as.
    name: &'static str,
    function: FnPtr,
    pass: u64,
    rows: u64,
}

impl<'a> GeneratedExamples<'a> {
    /// Makes data of a function, and counts the rows that it makes at a time.
    fn new(calls: &'a Callbacks<'a>, name: &'static str, function: FnPtr) -> Result<(Self, usize)> {
        let mut made = Self { calls, name, function, pass: 0, rows: 1 };
        let rows = made.examples(0)?.ids.len();
        made.rows = rows.max(1) as u64;
        Ok((made, rows))
    }

    fn examples(&self, pass: u64) -> Result<Examples> {
        let made = self.calls.call(&self.function, [Dynamic::from(pass as i64)])?;
        examples(self.name, &made)
    }
}

impl Batches for GeneratedExamples<'_> {
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
            .about(self.name));
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
