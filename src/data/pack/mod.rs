//! Texts as rows of tokens: packed without gaps, mixed, shuffled, and in epochs for training.

mod compact;
mod encode;
mod rows;
mod training;

#[cfg(test)]
mod tests;

pub use encode::{Encoded, Encoder};
pub use rows::{Row, Rows, Stretch, rows};

use crate::base::{Result, Task, memory, names};
use crate::data::Text;
use crate::err;
use crate::model::labels::Column;
use crate::model::tokenizer::Tokenizer;
use crate::model::train::Batches;

impl Text {
    /// An endless stream of rows of `context` tokens and their targets: whole epochs, each shuffled anew and cut at
    /// another offset. A generator without a limit continues instead, and is never repeated. The same seed gives the
    /// same rows, however many are requested at once.
    pub fn batches(&self, tokenizer: &Tokenizer, context: usize, seed: u64, task: &Task) -> Result<Box<dyn Batches>> {
        Ok(Box::new(training::TrainingRows::new(self, tokenizer, context, seed, task)?))
    }
}

/// Rows read between two checks of free memory.
const BETWEEN_CHECKS: usize = 1 << 10;

/// The first rows of a text, each as `keep` leaves it; all of them without a number.
pub fn gathered<T>(
    text: &Text,
    tokenizer: &Tokenizer,
    context: usize,
    count: Option<usize>,
    task: &Task,
    keep: impl Fn(Row) -> Result<T>,
) -> Result<Vec<T>> {
    if count.is_none() && text.options().tokens.is_none() && text.is_endless() {
        return Err(err!(Argument, "expected a text with an end, found {}, which has none", text.name())
            .hint("limit it with the option `tokens`"));
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

/// The columns of the labels that a text has; those of a mixture are of its first part that has any.
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

/// The column of a name; the nearest one in the error.
pub fn column(text: &Text, name: &str, task: &Task) -> Result<Column> {
    let all = columns(text, task)?;
    if all.is_empty() {
        return Err(err!(Argument, "expected a text with labels, found none in {}", text.name())
            .hint("#{ labels: true } has rules find them in real text; the text \"grammar\" comes with its own"));
    }
    let names: Vec<&str> = all.iter().map(|column| column.name).collect();
    let unknown =
        || err!(Name, "no label is called `{name}`").maybe_hint(names::suggestion(name, names.iter().copied()));
    all.iter().find(|column| column.name == name).cloned().ok_or_else(unknown)
}

/// The values of a column for the tokens of a row; 0 in a row of a text without labels.
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

/// The BOS token of each row of a text, if there is one.
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
