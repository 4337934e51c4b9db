//! Ways to erase a label of a text from a site of a model, side by side: what a new probe still reads, how much was
//! changed, and what it costs the model.

use std::collections::BTreeSet;

use super::{EraseOptions, Eraser, EraserKind};
use crate::base::{Cell, Result, Table, Task};
use crate::data::Text;
use crate::data::harvest::{self, width};
use crate::data::pack::{self, Row};
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::hooks::Bound;
use crate::model::reading::compare::kl;
use crate::model::run::Ask;
use crate::model::site::{Place, one_site};
use crate::probes::judge::JudgeProbeOptions;
use crate::probes::matrix::matrix;
use crate::probes::split::{RowSplit, SplitOptions};
use crate::probes::{ClassLabels, ClassName, Probe, ProbeOptions, RowGroups};
use crate::sae::Sae;
use crate::tensor::{DType, Device, Tensor, floats};

/// Tokens of a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

/// Draws of random directions that each row of the control is the mean of.
const DRAWS: usize = 3;

crate::options! {
    #[derive(Debug, Clone)]
    pub struct ErasureOptions {
        /// The values of the label that are told apart.
        values: Vec<String> = Vec::new() => usually("all kinds of the label");
        /// The methods that are compared.
        methods: Vec<EraserKind> = vec![EraserKind::Leace, EraserKind::MeanProjection, EraserKind::Inlp, EraserKind::Random];
        /// The numbers of features that are erased, with a dictionary.
        k: Vec<usize> = vec![1, 2, 4, 8] => at_least(1.0);
        /// A label that marks tokens before those whose loss is measured, such as "pronoun_next".
        predicts: Option<String> = None => usually("none");
        /// Rounds of "inlp".
        rounds: usize = 3 => at_least(1.0);
        /// Maximum number of tokens of the text.
        tokens: usize = 1 << 14 => at_least(1.0);
        /// Tokens in a row of the text.
        context: Option<usize> = None => usually("the model's");
        /// The share of documents that is held out.
        held_out: f64 = 0.3 => above(0.0).at_most(1.0);
        /// Seed of the split, of random directions, and of the bootstrap.
        seed: i64 = 0;
    }
}

/// What is compared: a site of a model on a labelled text.
pub struct Erased<'a> {
    pub model: &'a Model,
    pub site: &'a str,
    pub text: &'a Text,
    pub label: &'a str,
    pub dictionary: Option<&'a Sae>,
}

/// The activations at labelled positions, and where they are.
struct LabelledRows {
    rows: Vec<Row>,
    x: Tensor,
    labels: ClassLabels,
    split: RowSplit,
    /// The document of each labelled position.
    documents: RowGroups,
    /// Of each row and position, whether the loss of what comes next is measured there, in documents held out.
    is_predicted: Vec<Vec<bool>>,
    /// Whether KL is: at all other positions of these documents that have none of the values.
    is_elsewhere: Vec<Vec<bool>>,
}

/// One eraser of the comparison, with the row of the table that it is part of.
struct Variant {
    name: String,
    size: usize,
    eraser: Eraser,
}

/// Sums over positions of what an eraser costs the model.
#[derive(Clone, Copy, Default)]
struct Costs {
    loss: f64,
    kl: f64,
}

/// For each method: the accuracy of a probe that is fitted on the erased activations of some documents and judged on
/// those of others, with its interval over documents; the edit size, the sum of squared changes there over the sum of
/// squared deviations from the mean; the rise of the loss of the tokens that are predicted; and KL(clean || erased)
/// elsewhere, in nats.
pub fn erasure(of: &Erased, options: &ErasureOptions, task: &Task) -> Result<Table> {
    if options.methods.contains(&EraserKind::Oracle) {
        return Err(
            err!(Argument, "expected methods that need no labels in the model, found \"oracle\"").about("methods")
        );
    }
    let read = LabelledRows::of(of, options, task)?;
    let variants = variants(&read, of.dictionary, options, task)?;
    let costs = costs(of.model, &read, of.site, &variants, task)?;
    let mut table = Table {
        title: format!("{} erased at {}", of.label, of.site),
        columns: [
            "method",
            "directions",
            "probe accuracy",
            "from",
            "to",
            "majority rate",
            "edit size",
            "loss rise",
            "KL elsewhere",
        ]
        .map(String::from)
        .to_vec(),
        rows: Vec::new(),
    };
    let untouched = probed(&read, None, options, task)?;
    let has_predicted = read.is_predicted.iter().flatten().any(|is| *is);
    let of_loss = |loss: f64| if has_predicted { Cell::Float(loss) } else { Cell::Missing };
    table.rows.push(line("none", 0, &untouched, 0.0, of_loss(0.0), 0.0));
    let mut at = 0;
    while let Some(first) = variants.get(at) {
        let same =
            variants[at..].iter().take_while(|other| (&other.name, other.size) == (&first.name, first.size)).count();
        let mut sum = Vec::with_capacity(same);
        for (variant, cost) in variants[at..at + same].iter().zip(&costs[at..at + same]) {
            let erased = variant.eraser.apply(&read.x, None)?;
            sum.push((probed(&read, Some(&erased), options, task)?, edit_size(&read, &erased)?, *cost));
        }
        let mean = |of: &dyn Fn(&(Probed, f64, Costs)) -> f64| sum.iter().map(of).sum::<f64>() / same as f64;
        let probed = Probed {
            accuracy: mean(&|one| one.0.accuracy),
            interval: if same == 1 { sum[0].0.interval } else { None },
            majority: sum[0].0.majority,
        };
        let (edit, loss, kl) = (mean(&|one| one.1), mean(&|one| one.2.loss), mean(&|one| one.2.kl));
        table.rows.push(line(&first.name, first.size, &probed, edit, of_loss(loss), kl));
        at += same;
    }
    Ok(table)
}

fn line(name: &str, size: usize, probed: &Probed, edit: f64, loss: Cell, kl: f64) -> Vec<Cell> {
    let [from, to] = probed.interval.map_or([Cell::Missing, Cell::Missing], |ends| ends.map(Cell::Float));
    vec![
        name.into(),
        size.into(),
        probed.accuracy.into(),
        from,
        to,
        probed.majority.into(),
        edit.into(),
        loss,
        kl.into(),
    ]
}

impl LabelledRows {
    fn of(of: &Erased, options: &ErasureOptions, task: &Task) -> Result<Self> {
        let (model, config) = (of.model, of.model.decoder.config());
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
        let (mut kept, mut names, mut documents) = (Vec::new(), Vec::new(), Vec::new());
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
        let x = activations(model, place, width, &rows, &kept, task)?;
        let documents = RowGroups::of(documents);
        let groups = Some(documents.clone());
        let split = RowSplit::of(names.len(), &SplitOptions { held_out: options.held_out, groups, seed: options.seed })
            .map_err(|e| e.hint("read more text with `tokens`"))?;
        let held: BTreeSet<String> =
            split.held_out.iter().map(|at| document(&rows[kept[*at].0], kept[*at].0, kept[*at].1)).collect();
        let (mut is_predicted, mut is_elsewhere) = (Vec::new(), Vec::new());
        for (number, (row, found)) in rows.iter().zip(&labels_of).enumerate() {
            let due = match &predicts {
                Some(column) => pack::values(row, column)?,
                None => vec![0; row.ids.len()],
            };
            let is_held: Vec<bool> =
                (0..row.ids.len()).map(|position| held.contains(&document(row, number, position))).collect();
            // Nothing comes next after the last token of a row.
            let last = row.ids.len().saturating_sub(1);
            is_predicted.push((0..row.ids.len()).map(|at| is_held[at] && due[at] != 0 && at < last).collect());
            is_elsewhere.push(
                (0..row.ids.len()).map(|at| is_held[at] && due[at] == 0 && !values.contains(&found[at])).collect(),
            );
        }
        Ok(Self { rows, x, labels, split, documents, is_predicted, is_elsewhere })
    }
}

/// The document of a position, or its row where it is of none.
fn document(row: &Row, number: usize, position: usize) -> String {
    let of = row.stretches.iter().find(|stretch| stretch.positions.contains(&position));
    of.map_or_else(|| format!("row {number}"), |stretch| stretch.origin.to_string())
}

/// The numbers of the values that are told apart; all but "none" where none is named.
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

/// The rows in batches of about [`AT_ONCE`] tokens.
fn batches(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1).max(1);
    rows.chunks((AT_ONCE / longest).max(1))
}

fn batch_of(rows: &[Row]) -> Result<Batch> {
    Batch::new(rows.iter().map(|row| row.ids.clone()).collect())
}

/// The activations at some positions, `[n, width]`.
fn activations(
    model: &Model,
    place: Place,
    width: usize,
    rows: &[Row],
    kept: &[(usize, usize)],
    task: &Task,
) -> Result<Tensor> {
    let (mut values, mut start) = (Vec::with_capacity(kept.len() * width), 0);
    let bar = task.begin("reading activations", Some(rows.len() as u64));
    for rows in batches(rows) {
        task.check()?;
        let ask = Ask { places: vec![place], ..Ask::default() };
        let found = model.decoder.cache(&batch_of(rows)?, ask, task)?.at(place)?;
        let (texts, columns) = (found.dim(0)?, found.dim(1)?);
        let found = found.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.reshape((texts * columns, width))?;
        for (row, position) in kept.iter().filter(|(row, _)| (start..start + rows.len()).contains(row)) {
            values.extend(found.get((row - start) * columns + position)?.to_vec1::<f32>()?);
        }
        start += rows.len();
        bar.advance(rows.len() as u64);
    }
    Ok(Tensor::from_vec(values, (kept.len(), width), &Device::Cpu)?)
}

fn picked(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    Ok(x.index_select(&Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?, 0)?)
}

/// The erasers, each fitted on the documents that are not held out; those of one row of the table together.
fn variants(
    read: &LabelledRows,
    dictionary: Option<&Sae>,
    options: &ErasureOptions,
    task: &Task,
) -> Result<Vec<Variant>> {
    let (x, labels) = (picked(&read.x, &read.split.train)?, read.labels.picked(&read.split.train));
    let fit = |options: &EraseOptions, sae: Option<&Sae>| Eraser::fit(&x, &labels, options, sae, task);
    let mut found: Vec<Variant> = Vec::new();
    for kind in options.methods.iter().filter(|kind| !matches!(kind, EraserKind::Random | EraserKind::Features)) {
        let rounds = (*kind == EraserKind::Inlp).then_some(options.rounds);
        let eraser = fit(&EraseOptions { kind: *kind, rounds, ..EraseOptions::default() }, None)?;
        let size = eraser.rank().unwrap_or_default();
        found.push(Variant { name: kind.word().replace('_', " "), size, eraser });
    }
    if dictionary.is_some() || options.methods.contains(&EraserKind::Features) {
        for k in &options.k {
            let asked = EraseOptions { kind: EraserKind::Features, k: Some(*k), ..EraseOptions::default() };
            found.push(Variant { name: "features".into(), size: *k, eraser: fit(&asked, dictionary)? });
        }
    }
    if options.methods.contains(&EraserKind::Random) {
        // As many random directions as each of the methods takes out.
        let sizes: BTreeSet<usize> = found.iter().map(|variant| variant.size).collect();
        for size in sizes.into_iter().filter(|size| *size > 0 && *size <= read.x.dims()[1]) {
            for draw in 0..DRAWS as i64 {
                let seed = Some(options.seed.wrapping_mul(DRAWS as i64).wrapping_add(draw));
                let asked = EraseOptions { kind: EraserKind::Random, k: Some(size), seed, ..EraseOptions::default() };
                found.push(Variant { name: "random".into(), size, eraser: fit(&asked, None)? });
            }
        }
    }
    Ok(found)
}

/// What a probe reads on documents held out.
struct Probed {
    accuracy: f64,
    interval: Option<[f64; 2]>,
    majority: f64,
}

fn probed(read: &LabelledRows, erased: Option<&Tensor>, options: &ErasureOptions, task: &Task) -> Result<Probed> {
    let x = erased.unwrap_or(&read.x);
    let RowSplit { train, held_out } = &read.split;
    let probe = Probe::fit(&picked(x, train)?, &read.labels.picked(train), &ProbeOptions::default(), task)?;
    let names: Vec<ClassName> =
        held_out.iter().map(|row| read.labels.classes[read.labels.of_row[*row]].clone()).collect();
    let groups = Some(RowGroups::of(held_out.iter().map(|row| read.documents.0[*row])));
    let table = probe.judge(&picked(x, held_out)?, &names, &JudgeProbeOptions { groups, seed: options.seed })?;
    let value = |row: usize, column: usize| match table.rows.get(row).and_then(|row| row.get(column)) {
        Some(Cell::Float(value)) => Some(*value),
        _ => None,
    };
    let interval = value(0, 2).zip(value(0, 3)).map(|(from, to)| [from, to]);
    Ok(Probed { accuracy: value(0, 1).unwrap_or(f64::NAN), interval, majority: value(1, 1).unwrap_or(f64::NAN) })
}

/// The sum of squared changes over that of squared deviations from the mean, on documents held out.
fn edit_size(read: &LabelledRows, erased: &Tensor) -> Result<f64> {
    let (before, after) =
        (matrix(&picked(&read.x, &read.split.held_out)?)?, matrix(&picked(erased, &read.split.held_out)?)?);
    let means = crate::probes::matrix::means(before.as_ref());
    let (mut changed, mut all) = (0.0, 0.0);
    for j in 0..before.ncols() {
        for i in 0..before.nrows() {
            changed += (after[(i, j)] - before[(i, j)]).powi(2);
            all += (before[(i, j)] - means[j]).powi(2);
        }
    }
    Ok(changed / all)
}

/// What each eraser, as a hook at all positions, costs the model: means over the positions of each kind.
fn costs(model: &Model, read: &LabelledRows, site: &str, variants: &[Variant], task: &Task) -> Result<Vec<Costs>> {
    let mut sums = vec![Costs::default(); variants.len()];
    let count = |marks: &[Vec<bool>]| marks.iter().flatten().filter(|is| **is).count() as f64;
    let (predicted, elsewhere) = (count(&read.is_predicted), count(&read.is_elsewhere));
    let bar = task.begin("running the model", Some((read.rows.len() * (variants.len() + 1)) as u64));
    let mut start = 0;
    for rows in batches(&read.rows) {
        let (losses, kls) =
            (&read.is_predicted[start..start + rows.len()], &read.is_elsewhere[start..start + rows.len()]);
        start += rows.len();
        let places: Vec<(usize, usize)> = (0..rows.len())
            .flat_map(|row| (0..rows[row].ids.len()).map(move |position| (row, position)))
            .filter(|(row, position)| losses[*row][*position] || kls[*row][*position])
            .collect();
        if places.is_empty() {
            bar.advance((rows.len() * (variants.len() + 1)) as u64);
            continue;
        }
        let batch = batch_of(rows)?;
        let clean = logits_at(&model.decoder.logits(&batch, Vec::new(), task)?, &places)?;
        bar.advance(rows.len() as u64);
        for (variant, sum) in variants.iter().zip(&mut sums) {
            task.check()?;
            let hook = Bound::new(model.decoder.config(), site, None, None, Box::new(variant.eraser.clone()))?;
            let erased = logits_at(&model.decoder.logits(&batch, vec![hook], task)?, &places)?;
            for ((row, position), (clean, erased)) in places.iter().zip(clean.iter().zip(&erased)) {
                if losses[*row][*position] {
                    let next = rows[*row].ids[position + 1] as usize;
                    sum.loss += surprise(erased, next)? - surprise(clean, next)?;
                } else {
                    sum.kl += kl(clean, erased);
                }
            }
            bar.advance(rows.len() as u64);
        }
    }
    let mean = |sum: Costs| Costs { loss: sum.loss / predicted.max(1.0), kl: sum.kl / elsewhere.max(1.0) };
    Ok(sums.into_iter().map(mean).collect())
}

/// The logits at some positions of a batch.
fn logits_at(logits: &Tensor, places: &[(usize, usize)]) -> Result<Vec<Vec<f64>>> {
    places.iter().map(|(row, position)| floats(&logits.get(*row)?.get(*position)?)).collect()
}

/// -log p of a token.
fn surprise(logits: &[f64], token: usize) -> Result<f64> {
    let logit =
        logits.get(token).ok_or_else(|| err!(Argument, "the model does not predict token {token} of the text"))?;
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln() - logit)
}
