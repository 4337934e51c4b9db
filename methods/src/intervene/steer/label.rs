//! The share of the tokens that a model writes which have a label, by the rules that label real text.

use crate::common::*;
use crate::data::labels;
use crate::tokenizer::labels::{Column, ColumnKind};

/// A label, and its value that counts; any value but none by default.
#[derive(Debug, Clone)]
pub struct LabelShare {
    tokenizer: Tokenizer,
    column: Column,
    value: Option<u32>,
}

impl LabelShare {
    pub fn new(tokenizer: &Tokenizer, label: &str, value: Option<&str>) -> Result<Self> {
        let columns = labels::columns();
        let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let column = columns.iter().find(|column| column.name == label).cloned().ok_or_else(|| {
            err!(Name, "rules find no label `{label}` in a text; they find {}", known.join(", "))
                .maybe_hint(names::suggestion(label, known.iter().copied()))
                .about("label")
        })?;
        let value = value.map(|value| value_of(&column, value)).transpose()?;
        Ok(Self { tokenizer: tokenizer.clone(), column, value })
    }

    /// Returns the share of new tokens with the label, read after the prompt; 0 where there are none.
    pub fn of(&self, prompt: &[u32], new: &[u32]) -> Result<f64> {
        let mut text = self.tokenizer.decode(prompt)?;
        let mut stream = self.tokenizer.stream_after(prompt)?;
        let mut offsets: Vec<Range<usize>> = Vec::with_capacity(new.len());
        for id in new {
            let start = text.len();
            text.push_str(&stream.push(*id)?);
            offsets.push(start..text.len());
        }
        text.push_str(&stream.finish());
        let labelled = labels::label(&text)?.aligned(&text, &offsets);
        let Some((_, values)) = labelled.column(self.column.name) else { return Ok(0.0) };
        let has_it = |found: &&u32| self.value.map_or(**found > 0, |value| **found == value);
        Ok(values.iter().filter(has_it).count() as f64 / new.len().max(1) as f64)
    }
}

/// Returns the number of a value of a column.
fn value_of(column: &Column, value: &str) -> Result<u32> {
    let name = column.name;
    let ColumnKind::Kind(kinds) = &column.values else {
        return Err(err!(Argument, "expected no `value` for the label `{name}`, which is a number")
            .hint("tokens count where it is above 0")
            .about("value"));
    };
    match kinds.iter().position(|kind| *kind == value) {
        Some(at) => Ok(at as u32 + 1),
        None => Err(err!(Name, "the label `{name}` has no value `{value}`, only {}", kinds.join(", "))
            .maybe_hint(names::suggestion(value, kinds.iter().copied()))
            .about("value")),
    }
}
