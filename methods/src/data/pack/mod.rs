//! Texts as rows of tokens: packed without gaps, mixed, shuffled, and in epochs for training.

mod compact;
mod encode;
mod packed;
mod training;

#[cfg(test)]
mod tests;

pub use encode::{EncodedDocument, Encoder};
pub use packed::{Row, Stretch, TokenRows, rows};

use crate::common::*;
use crate::data::Text;
use crate::model::train::Batches;
use crate::tokenizer::labels::{Column, ColumnKind};

impl Text {
    /// Returns an endless stream of rows of `context` tokens and their targets: whole epochs, each shuffled anew and
    /// cut at another offset. A generator without a limit continues instead, and is never repeated. The same seed gives
    /// the same rows, however many are requested at once.
    pub fn batches(&self, tokenizer: &Tokenizer, context: usize, seed: u64, task: &Task) -> Result<Box<dyn Batches>> {
        Ok(Box::new(training::TrainingRows::new(self, tokenizer, context, seed, task)?))
    }
}

crate::options! {
    /// Rows of a text that are read.
    pub struct RowOptions {
        /// Number of tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        /// Maximum number of rows.
        rows: Option<usize> = None => usually("all");
    }
}

impl RowOptions {
    /// Returns the rows of a text with a tokenizer; `own` is the context of the model, if there is one.
    pub fn gathered<T>(
        &self,
        text: &Text,
        tokenizer: &Tokenizer,
        own: Option<usize>,
        task: &Task,
        keep: impl Fn(Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let context = self.context.or(own).ok_or_else(|| {
            err!(Argument, "expected `context`, the length of rows, beside a tokenizer")
                .hint("#{ context: 256 }")
                .about("context")
        })?;
        gathered(text, tokenizer, context, self.rows, task, keep)
    }
}

/// Converts rows of numbers to a tensor of integers: `[rows, pos]`.
pub fn tensor(rows: Vec<Vec<u32>>) -> Result<Tensor> {
    let shape = (rows.len(), rows.first().map_or(0, Vec::len));
    memory::check((shape.0 * shape.1 * size_of::<i64>()) as u128, || "the tensor of a text".into())?;
    let numbers: Vec<i64> = rows.into_iter().flatten().map(i64::from).collect();
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

/// Number of rows read between two checks of free memory.
const BETWEEN_CHECKS: usize = 1 << 10;

/// Returns the first rows of a text, or all of them, each as `keep` returns it.
pub fn gathered<T>(
    text: &Text,
    tokenizer: &Tokenizer,
    context: usize,
    count: Option<usize>,
    task: &Task,
    keep: impl Fn(Row) -> Result<T>,
) -> Result<Vec<T>> {
    if count.is_none() {
        text.expect_end()?;
    }
    let mut rows = rows(text, tokenizer, context, task)?;
    let bar = task.begin(&format!("reading {}", text.name()), count.map(|count| count as u64));
    let mut kept = Vec::new();
    while kept.len() < count.unwrap_or(usize::MAX)
        && let Some(row) = rows.next(task)?
    {
        if kept.len().is_multiple_of(BETWEEN_CHECKS) {
            let bytes = (kept.len() + BETWEEN_CHECKS) as u128 * context as u128 * size_of::<u32>() as u128;
            memory::check(bytes, || "the rows of a text".into()).map_err(|e| e.hint("read fewer with `tokens`"))?;
        }
        kept.push(keep(row)?);
        bar.advance(1);
    }
    Ok(kept)
}

/// Number of documents that are searched for labels.
const LOOKED_AT: usize = 100;

/// Returns the columns of the labels that a text has; those of a mixture are of its first part that has any.
pub fn columns(text: &Text, task: &Task) -> Result<Vec<Column>> {
    if let Some(parts) = text.parts() {
        for (part, _) in parts {
            let found = columns(part, task)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        return Ok(Vec::new());
    }
    let mut documents = text.documents(task)?;
    for _ in 0..LOOKED_AT {
        match documents.next(task)? {
            None => break,
            Some(document) => match document.marks {
                None => {}
                Some(marks) => return Ok(marks.columns.to_vec()),
            },
        }
    }
    Ok(Vec::new())
}

/// Returns the column of a name; the error suggests the nearest one.
pub fn column(text: &Text, name: &str, task: &Task) -> Result<Column> {
    let all = columns(text, task)?;
    if all.is_empty() {
        text.expect_characters()?;
        return Err(err!(Argument, "expected a text with labels, found none in {}", text.name())
            .hint("#{ labels: true } has rules find them in real text; the text \"grammar\" comes with its own"));
    }
    let names: Vec<&str> = all.iter().map(|column| column.name).collect();
    let unknown =
        || err!(Name, "no label is called `{name}`").maybe_hint(names::suggestion(name, names.iter().copied()));
    all.iter().find(|column| column.name == name).cloned().ok_or_else(unknown)
}

/// Returns the names of a column's values, in the order of their numbers; the first is "none".
pub fn kinds(column: &Column) -> Result<Vec<&'static str>> {
    match &column.values {
        ColumnKind::Kind(names) => Ok(std::iter::once("none").chain(names.iter().copied()).collect()),
        ColumnKind::Number | ColumnKind::Since => {
            Err(err!(Argument, "expected a column of kinds, found numbers in `{}`", column.name))
        }
    }
}

/// Returns the values of a column for the tokens of a row; 0 in a row of a text without labels.
pub fn values(row: &Row, column: &Column) -> Result<Vec<u32>> {
    match row.labels.as_ref().and_then(|labels| labels.column(column.name)) {
        None => Ok(vec![0; row.ids.len()]),
        Some((same, values)) if same == column => Ok(values.to_vec()),
        Some(_) => {
            Err(err!(Argument, "the label `{}` does not mean the same in all texts of the mixture", column.name)
                .hint("read its texts one by one"))
        }
    }
}

/// Returns the BOS token of each row of a text, if there is one.
pub fn beginning(text: &Text, bos: Option<bool>, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    match text.options().bos.or(bos) {
        Some(false) => Ok(None),
        Some(true) => {
            let none = || err!(Argument, "this tokenizer has no token that marks the beginning of a text");
            tokenizer.bos().map(Some).ok_or_else(|| none().hint("leave out `bos`"))
        }
        None => Ok(tokenizer.rule().0.first().copied()),
    }
}
