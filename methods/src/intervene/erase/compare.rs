//! Ways to erase a label of a text from a site of a model, compared: the accuracy of a new probe, the size of the edit,
//! and the harm to the model.

use super::costs::{Costs, costs};
use super::reading::{ErasureOptions, LabelledRows, LabelledSite, picked};
use super::{EraseOptions, Eraser, EraserKind, FittedWith};
use crate::probes::judge::JudgeProbeOptions;
use crate::probes::matrix::matrix;
use crate::probes::split::RowSplit;
use crate::probes::{ClassName, Probe, ProbeOptions, RowGroups};
use crate::sae::prelude::*;

/// The number of draws of random directions that each row of the control averages.
const DRAWS: u64 = 3;

/// An eraser of the comparison, with the row of the table that it is part of.
struct Variant {
    name: String,
    size: usize,
    eraser: Eraser,
}

/// Compares erasers, fitted on the labelled positions, with all positions of the same documents as their background.
///
/// The table has for each method: the accuracy of a probe that is fitted on the erased activations of some documents
/// and judged on those of others, with its interval over documents; the edit size, the sum of squared changes there
/// over the sum of squared deviations from the mean; the rise of the loss of the tokens that are predicted; and
/// KL(clean || erased) elsewhere, in nats.
pub fn erasure(of: &LabelledSite, options: &ErasureOptions, task: &Task) -> Result<Table> {
    if options.methods.contains(&EraserKind::Oracle) {
        return Err(
            err!(Argument, "expected methods that need no labels in the model, found \"oracle\"").about("methods")
        );
    }
    let read = LabelledRows::of(of, options, task)?;
    let variants = variants(&read, of.dictionary, options, task)?;
    let erasers: Vec<&Eraser> = variants.iter().map(|variant| &variant.eraser).collect();
    let costs = costs(of.model, &read, of.site, &erasers, task)?;
    let mut table = Table::new(
        format!("{} erased at {}", of.label, of.site),
        [
            "method",
            "directions",
            "probe accuracy",
            "low",
            "high",
            "majority rate",
            "edit size",
            "loss rise",
            "KL elsewhere",
        ],
        [],
    );
    let untouched = probed(&read, None, options, task)?;
    let has_predicted = read.is_predicted.iter().flatten().any(|is| *is);
    let has_elsewhere = read.is_elsewhere.iter().flatten().any(|is| *is);
    let of_loss = |loss: f64| Cell::from(has_predicted.then_some(loss));
    let of_kl = |kl: f64| Cell::from(has_elsewhere.then_some(kl));
    table.rows.push(line("none", 0, &untouched, 0.0, of_loss(0.0), of_kl(0.0)));
    let mut at = 0;
    while let Some(first) = variants.get(at) {
        let same =
            variants[at..].iter().take_while(|other| (&other.name, other.size) == (&first.name, first.size)).count();
        let mut sum = Vec::with_capacity(same);
        for (variant, cost) in variants[at..at + same].iter().zip(&costs[at..at + same]) {
            let erased = variant.eraser.apply(&read.x, None)?;
            sum.push((probed(&read, Some(&erased), options, task)?, edit_size(&read, &erased)?, *cost));
        }
        let mean = |of: &dyn Fn(&(ProbeAccuracy, f64, Costs)) -> f64| sum.iter().map(of).sum::<f64>() / same as f64;
        let probed = ProbeAccuracy {
            accuracy: mean(&|one| one.0.accuracy),
            interval: if same == 1 { sum[0].0.interval } else { None },
            majority: sum[0].0.majority,
        };
        let edit = mean(&|one| one.1);
        let loss = mean(&|one| one.2.loss);
        let kl = mean(&|one| one.2.kl);
        table.rows.push(line(&first.name, first.size, &probed, edit, of_loss(loss), of_kl(kl)));
        at += same;
    }
    Ok(table)
}

fn line(name: &str, size: usize, probed: &ProbeAccuracy, edit: f64, loss: Cell, kl: Cell) -> Vec<Cell> {
    let [low, high] = Cell::ends(probed.interval);
    vec![name.into(), size.into(), probed.accuracy.into(), low, high, probed.majority.into(), edit.into(), loss, kl]
}

/// Fits each eraser on the documents that are not held out; those of one row of the table are together.
fn variants(
    read: &LabelledRows,
    dictionary: Option<&Sae>,
    options: &ErasureOptions,
    task: &Task,
) -> Result<Vec<Variant>> {
    let x = picked(&read.x, &read.split.train)?;
    let labels = read.labels.picked(&read.split.train);
    let fit = |options: &EraseOptions, dictionary: Option<&Sae>| {
        let background = dictionary.is_none().then_some(&read.background);
        Eraser::fit(&x, &labels, options, FittedWith { dictionary, background }, task)
    };
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
            for draw in 0..DRAWS {
                let seed = Seed::of(options.seed.draws().wrapping_mul(DRAWS).wrapping_add(draw).cast_signed());
                let asked = EraseOptions { kind: EraserKind::Random, k: Some(size), seed, ..EraseOptions::default() };
                found.push(Variant { name: "random".into(), size, eraser: fit(&asked, None)? });
            }
        }
    }
    Ok(found)
}

/// The accuracy of a probe on held-out documents.
struct ProbeAccuracy {
    accuracy: f64,
    interval: Option<[f64; 2]>,
    majority: f64,
}

fn probed(
    read: &LabelledRows,
    erased: Option<&Tensor>,
    options: &ErasureOptions,
    task: &Task,
) -> Result<ProbeAccuracy> {
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
    let interval = value(0, 2).zip(value(0, 3)).map(|(low, high)| [low, high]);
    Ok(ProbeAccuracy { accuracy: value(0, 1).unwrap_or(f64::NAN), interval, majority: value(1, 1).unwrap_or(f64::NAN) })
}

/// Returns the sum of squared changes over that of squared deviations from the mean, on held-out documents.
fn edit_size(read: &LabelledRows, erased: &Tensor) -> Result<f64> {
    let before = matrix(&picked(&read.x, &read.split.held_out)?)?;
    let after = matrix(&picked(erased, &read.split.held_out)?)?;
    let means = crate::probes::matrix::means(before.as_ref());
    let mut changed = 0.0;
    let mut all = 0.0;
    for j in 0..before.ncols() {
        for i in 0..before.nrows() {
            changed += (after[(i, j)] - before[(i, j)]).powi(2);
            all += (before[(i, j)] - means[j]).powi(2);
        }
    }
    Ok(changed / all)
}
