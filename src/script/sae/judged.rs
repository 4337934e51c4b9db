//! The rows of a text that a model with a spliced dictionary is evaluated on.

use crate::base::Result;
use crate::base::Task;
use crate::data::{Text, pack};
use crate::err;
use crate::model::labels::Values;
use crate::sae::metrics::{CLASSES, Judged, classes};
use crate::script::model::Model;
use crate::script::options::OptionReader;
use crate::script::value::Given;

/// Which rows are read, and how their tokens are classified.
pub struct Judging {
    rows: usize,
    without_bos: bool,
    label: Option<String>,
}

impl Judging {
    pub fn read(read: &mut OptionReader) -> Result<Self> {
        Ok(Self { rows: read.size("rows", 64)?, without_bos: read.flag("without_bos", true)?, label: None })
    }

    /// With the label that tokens are classified by.
    pub fn read_by_class(read: &mut OptionReader) -> Result<Self> {
        Ok(Self { label: read.get("label", Given::text)?, ..Self::read(read)? })
    }

    /// The rows, their tokens classified where that is asked for, and the names of the classes from 0.
    pub fn rows(&self, m: &Model, text: &Text, by_class: bool, task: &Task) -> Result<(Vec<Judged>, Vec<String>)> {
        let tokenizer = m.tokenizer()?;
        let of_tokens = if by_class && self.label.is_none() { classes(tokenizer)? } else { Vec::new() };
        let mut names: Vec<String> = CLASSES.map(String::from).to_vec();
        let mut rows = pack::rows(text, tokenizer, m.config().context, task)?;
        let marks = [tokenizer.bos(), tokenizer.eos()];
        let mut judged = Vec::new();
        while judged.len() < self.rows
            && let Some(row) = rows.next(task)?
        {
            let left_out = row.ids.iter().map(|id| self.without_bos && marks.contains(&Some(*id))).collect();
            let mut classes: Vec<u32> = Vec::new();
            match &self.label {
                Some(label) => (classes, names) = labelled(&row, label)?,
                None if by_class => {
                    classes.extend(row.ids.iter().map(|id| of_tokens.get(*id as usize).copied().unwrap_or(0)));
                }
                None => {}
            }
            judged.push(Judged { ids: row.ids, left_out, classes });
        }
        Ok((judged, names))
    }
}

/// The values of a label at each token, and their names.
fn labelled(row: &pack::Row, label: &str) -> Result<(Vec<u32>, Vec<String>)> {
    let Some(labels) = &row.labels else {
        return Err(err!(Argument, "expected a text with labels to classify its tokens by `{label}`, found none")
            .hint("read it with `labels: true`, or leave `label` out: tokens are then classified by their text"));
    };
    let Some((column, values)) = labels.column(label) else {
        let known = labels.columns.iter().map(|column| column.name);
        return Err(err!(Name, "unknown label `{label}`").maybe_hint(crate::base::names::suggestion(label, known)));
    };
    let names = match &column.values {
        Values::Kind(kinds) => std::iter::once("none").chain(kinds.iter().copied()).map(String::from).collect(),
        Values::Number | Values::Since => Vec::new(),
    };
    Ok((values.to_vec(), names))
}
