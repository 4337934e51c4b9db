//! The rows of a text that a model with a spliced dictionary is evaluated on.

use super::effect::EvaluationText;
use super::{CLASSES, classes};
use crate::base::names;
use crate::common::*;
use crate::data::{Text, harvest, pack};
use crate::tokenizer::labels::ColumnKind;

crate::options! {
    /// Options of the rows of a text that are read, and of their predictions that count.
    pub struct JudgedRowsOptions {
        /// Number of rows of the text.
        rows: usize = 64;
        /// Leaves BOS tokens unchanged, and counts no prediction at them.
        without_bos: bool = true;
    }
}

/// Reads the first rows of a text, of `context` tokens each, or of as many as the model reads.
pub fn judged_rows(
    model: &Model,
    text: &Text,
    context: Option<usize>,
    options: &JudgedRowsOptions,
    task: &Task,
) -> Result<Vec<EvaluationText>> {
    each_row(model, text, context, options, task, |_| Ok(Vec::new()))
}

/// Reads the first rows of a text, their tokens classified by a label or by their text, and the names of the classes
/// from 0.
pub fn classified_rows(
    model: &Model,
    text: &Text,
    options: &JudgedRowsOptions,
    label: Option<&str>,
    task: &Task,
) -> Result<(Vec<EvaluationText>, Vec<String>)> {
    let Some(label) = label else {
        let of_tokens = classes(model.text_tokenizer()?)?;
        let class = |id: &u32| of_tokens.get(*id as usize).copied().unwrap_or(0);
        let rows = each_row(model, text, None, options, task, |row| Ok(row.ids.iter().map(class).collect()))?;
        return Ok((rows, CLASSES.map(String::from).to_vec()));
    };
    let mut names = CLASSES.map(String::from).to_vec();
    let rows = each_row(model, text, None, options, task, |row| {
        let (classes, of_label) = labelled(row, label)?;
        names = of_label;
        Ok(classes)
    })?;
    Ok((rows, names))
}

fn each_row(
    model: &Model,
    text: &Text,
    context: Option<usize>,
    options: &JudgedRowsOptions,
    task: &Task,
    mut classes: impl FnMut(&pack::Row) -> Result<Vec<u32>>,
) -> Result<Vec<EvaluationText>> {
    let tokenizer = model.text_tokenizer()?;
    let context = harvest::context(model.decoder.config(), context)?;
    let mut rows = pack::rows(text, tokenizer, context, task)?;
    let marks = [tokenizer.bos(), tokenizer.eos()];
    let mut judged = Vec::new();
    while judged.len() < options.rows
        && let Some(row) = rows.next(task)?
    {
        let left_out = row.ids.iter().map(|id| options.without_bos && marks.contains(&Some(*id))).collect();
        let classes = classes(&row)?;
        judged.push(EvaluationText { ids: row.ids, left_out, classes });
    }
    Ok(judged)
}

/// Returns the values of a label at each token, and their names.
fn labelled(row: &pack::Row, label: &str) -> Result<(Vec<u32>, Vec<String>)> {
    let Some(labels) = &row.labels else {
        return Err(err!(Argument, "expected a text with labels to classify its tokens by `{label}`, found none")
            .hint("read it with `labels: true`, or leave `label` out: tokens are then classified by their text"));
    };
    let Some((column, values)) = labels.column(label) else {
        let known = labels.columns.iter().map(|column| column.name);
        return Err(err!(Name, "unknown label `{label}`").maybe_hint(names::suggestion(label, known)).about("label"));
    };
    let names = match &column.values {
        ColumnKind::Kind(kinds) => std::iter::once("none").chain(kinds.iter().copied()).map(String::from).collect(),
        ColumnKind::Number | ColumnKind::Since => Vec::new(),
    };
    Ok((values.to_vec(), names))
}
