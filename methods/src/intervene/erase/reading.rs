//! The labelled positions of a text that erasers are compared on, with their activations.

use super::EraserKind;
use crate::data::harvest::{self, width};
use crate::data::pack::{self, Row};
use crate::probes::split::{HeldOutOptions, RowSplit};
use crate::probes::{ClassLabels, ClassName, RowGroups};
use crate::sae::prelude::*;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

crate::options! {
    pub struct ErasureOptions {
        /// The values of the label that are distinguished.
        values: Vec<String> = Vec::new() => usually("all kinds of the label");
        /// The methods that are compared.
        methods: Vec<EraserKind> = vec![EraserKind::Leace, EraserKind::MeanProjection, EraserKind::Inlp, EraserKind::Random];
        /// The numbers of features that are erased, with a dictionary.
        k: Vec<usize> = vec![1, 2, 4, 8] => at_least(1.0);
        /// A label that marks tokens before those whose loss is measured, such as "pronoun_next".
        predicts: Option<String> = None => usually("none");
        /// Number of rounds of "inlp".
        rounds: usize = 3 => at_least(1.0);
        /// Maximum number of tokens of the text.
        tokens: usize = 1 << 14 => at_least(1.0);
        /// Number of tokens in a row of the text.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        /// The share of documents that is held out.
        held_out: f64 = 0.3 => above(0.0).at_most(1.0);
        /// Seed of the split, of random directions, and of the bootstrap; without one, the split is that of seed 0.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// A site of a model on a labelled text, on which erasers are compared.
pub struct LabelledSite<'a> {
    pub model: &'a Model,
    pub site: &'a str,
    pub text: &'a Text,
    pub label: &'a str,
    pub dictionary: Option<&'a Sae>,
}

/// Activations at labelled positions, and the positions.
pub struct LabelledRows {
    pub rows: Vec<Row>,
    pub x: Tensor,
    /// The activations at all positions of documents that are not held out.
    pub background: Tensor,
    pub labels: ClassLabels,
    pub split: RowSplit,
    /// The document of each labelled position.
    pub documents: RowGroups,
    /// Whether the loss of the next token is measured at each row and position, in held-out documents.
    pub is_predicted: Vec<Vec<bool>>,
    /// Whether KL is measured: at all other positions of these documents that have none of the values.
    pub is_elsewhere: Vec<Vec<bool>>,
}

impl LabelledRows {
    pub fn of(of: &LabelledSite, options: &ErasureOptions, task: &Task) -> Result<Self> {
        let model = of.model;
        let config = of.model.decoder.config();
        let place = one_site(config, of.site, "erase at one site, such as \"resid_post.1\"")?;
        let width = width(config, place)?;
        let text = of.text.labelled();
        let column = pack::column(&text, of.label, task).map_err(|e| e.about("label"))?;
        let kinds = pack::kinds(&column).map_err(|e| e.about("label"))?;
        let values = wanted(&kinds, &options.values, of.label)?;
        let predicts = options.predicts.as_ref().map(|name| pack::column(&text, name, task));
        let predicts = predicts.transpose().map_err(|e| e.about("predicts"))?;
        let context = harvest::context(config, options.context)?;
        let rows = Some(options.tokens.div_ceil(context));
        let rows = pack::gathered(&text, model.tokenizer()?, context, rows, task, Ok)?;
        let mut kept = Vec::new();
        let mut names = Vec::new();
        let mut documents = Vec::new();
        let mut labels_of = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            let found = pack::values(row, &column)?;
            for (position, value) in found.iter().enumerate().filter(|(_, value)| values.contains(value)) {
                kept.push((number, position));
                names.push(ClassName::Text(kinds[*value as usize].into()));
                documents.push(document(row, number, position));
            }
            labels_of.push(found);
        }
        let labels = ClassLabels::of(&names).map_err(|e| e.hint("read more text with `tokens`").about("label"))?;
        let all = activations(model, place, width, &rows, task)?;
        let starts: Vec<usize> = rows
            .iter()
            .scan(0, |start, row| {
                *start += row.ids.len();
                Some(*start - row.ids.len())
            })
            .collect();
        let at = |places: &[(usize, usize)]| {
            picked(&all, &places.iter().map(|(row, position)| starts[*row] + position).collect::<Vec<_>>())
        };
        let x = at(&kept)?;
        let documents = RowGroups::of(documents);
        let groups = Some(documents.clone());
        let held = HeldOutOptions { held_out: options.held_out, groups };
        let split = RowSplit::of(names.len(), &held, options.seed.sample())
            .map_err(|e| e.hint("read more text with `tokens`"))?;
        let held: BTreeSet<String> =
            split.held_out.iter().map(|at| document(&rows[kept[*at].0], kept[*at].0, kept[*at].1)).collect();
        let mut is_predicted = Vec::new();
        let mut is_elsewhere = Vec::new();
        let mut met = Vec::new();
        for (number, (row, found)) in rows.iter().zip(&labels_of).enumerate() {
            let due = match &predicts {
                Some(column) => pack::values(row, column)?,
                None => vec![0; row.ids.len()],
            };
            let is_held: Vec<bool> =
                (0..row.ids.len()).map(|position| held.contains(&document(row, number, position))).collect();
            met.extend(is_held.iter().enumerate().filter(|(_, is_held)| !**is_held).map(|(at, _)| (number, at)));
            // Nothing comes next after the last token of a row.
            let last = row.ids.len().saturating_sub(1);
            is_predicted.push((0..row.ids.len()).map(|at| is_held[at] && due[at] != 0 && at < last).collect());
            is_elsewhere.push(
                (0..row.ids.len()).map(|at| is_held[at] && due[at] == 0 && !values.contains(&found[at])).collect(),
            );
        }
        let background = at(&met)?;
        Ok(Self { rows, x, background, labels, split, documents, is_predicted, is_elsewhere })
    }
}

/// Returns the document of a position, or its row where it is of none.
fn document(row: &Row, number: usize, position: usize) -> String {
    let of = row.stretches.iter().find(|stretch| stretch.positions.contains(&position));
    of.map_or_else(|| format!("row {number}"), |stretch| stretch.origin.to_string())
}

/// Returns the numbers of the distinguished values; all but "none" where none is named.
fn wanted(kinds: &[&str], values: &[String], label: &str) -> Result<Vec<u32>> {
    if values.is_empty() {
        return Ok((1..kinds.len() as u32).collect());
    }
    let number = |value: &String| {
        kinds.iter().position(|kind| kind == value).map(|at| at as u32).ok_or_else(|| {
            err!(Name, "the label `{label}` has no value `{value}`")
                .maybe_hint(crate::base::names::suggestion(value, kinds.iter().copied()))
                .about("values")
        })
    };
    values.iter().map(number).collect()
}

/// Splits the rows into batches of about [`AT_ONCE`] tokens.
pub fn batches(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1).max(1);
    rows.chunks((AT_ONCE / longest).max(1))
}

pub fn batch_of(rows: &[Row]) -> Result<Batch> {
    Batch::new(rows.iter().map(|row| row.ids.clone()).collect())
}

/// Returns the activations at all positions of rows, one after the other: `[n, width]`.
fn activations(model: &Model, place: Place, width: usize, rows: &[Row], task: &Task) -> Result<Tensor> {
    let bytes = rows.iter().map(|row| row.ids.len()).sum::<usize>() as u128 * width as u128 * 4;
    memory::check(2 * bytes, || "the activations of a text".into()).map_err(|e| e.about("tokens"))?;
    let mut found = Vec::with_capacity(rows.len());
    let bar = task.begin("reading activations", Some(rows.len() as u64));
    for rows in batches(rows) {
        task.check()?;
        let ask = Ask { places: vec![place], ..Ask::default() };
        let here = model.decoder.cache(&batch_of(rows)?, ask, task)?.at(place)?;
        let texts = here.dim(0)?;
        let columns = here.dim(1)?;
        let here = here.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.reshape((texts, columns, width))?;
        for (number, row) in rows.iter().enumerate() {
            found.push(here.get(number)?.narrow(0, 0, row.ids.len())?);
        }
        bar.advance(rows.len() as u64);
    }
    Ok(Tensor::cat(&found, 0)?)
}

pub fn picked(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    Ok(x.index_select(&Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?, 0)?)
}
