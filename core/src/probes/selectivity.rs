//! Selectivity: how much better a probe does on labels than on random ones (Hewitt & Liang 2019).
//!
//! A control task gives every type, such as a word, a random label, so that only a probe that remembers types does well
//! on it. Its labels are drawn from those of the rows. Selectivity is the accuracy on the labels less that on the control
//! task, both on held-out rows.

use rand::seq::IndexedRandom;

use super::fit::ProbeOptions;
use super::labels::{ClassLabels, ClassName, RowGroups};
use super::matrix::{matrix, picked};
use super::measures::JudgedRows;
use super::probe::Probe;
use super::split::{HeldOutOptions, RowSplit};
use crate::base::bootstrap::intervals;
use crate::base::random::{OF_CALL, Seed, stream};
use crate::base::{Cell, Result, Table, Task};
use crate::err;
use crate::tensor::Tensor;

crate::options! {
    pub struct SelectivityOptions {
        /// Group of each row that has one label in a control task, such as the id of the token.
        types: Option<RowGroups> = None => usually("each row by itself, so that labels are shuffled");
        /// Number of control tasks.
        draws: usize = 5 => at_least(1.0);
        /// Seed of the control tasks and of the bootstrap; without one, the rows that are held out are those of seed 0.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with rows: HeldOutOptions;
        with probe: ProbeOptions;
    }
}

/// Number of draws of labels for a control task that has all classes where it is fitted.
const TRIES: u64 = 100;

/// Computes the accuracy on the labels, the mean accuracy on control tasks, and the difference, on held-out rows.
pub fn selectivity(x: &Tensor, names: &[ClassName], options: &SelectivityOptions, task: &Task) -> Result<Table> {
    options.probe.check()?;
    let labels = ClassLabels::of(names).map_err(|e| e.about("y"))?;
    let x = matrix(x).map_err(|e| e.about("x"))?;
    labels.check_rows(x.nrows()).map_err(|e| e.about("y"))?;
    let split = RowSplit::of(x.nrows(), &options.rows, options.seed.sample())?;
    let types = match &options.types {
        Some(types) if types.0.len() != x.nrows() => {
            return Err(
                err!(Shape, "expected a type for each of {} rows, found {}", x.nrows(), types.0.len()).about("types")
            );
        }
        types => RowGroups::or_rows(types.as_ref(), x.nrows())?,
    };
    let train = picked(x.as_ref(), &split.train);
    let held_out = picked(x.as_ref(), &split.held_out);
    let judged = |labels: &ClassLabels| -> Result<JudgedRows> {
        let probe = Probe::of_matrix(train.as_ref(), &labels.picked(&split.train), &options.probe, task)?;
        Ok(JudgedRows::new(probe.on(held_out.as_ref()).as_ref(), labels.picked(&split.held_out)))
    };
    let real = judged(&labels)?;
    let bar = task.begin("control tasks", Some(options.draws as u64));
    let mut controls = Vec::new();
    for draw in 0..options.draws {
        let control = control(&labels, &types, &split.train, options.seed.draws(), draw as u64)?;
        controls.push(judged(&control)?);
        bar.advance(1);
    }
    let groups = RowGroups::or_rows(options.rows.groups.as_ref(), x.nrows())?;
    let groups = RowGroups::of(split.held_out.iter().map(|row| groups.0[*row]));
    let measure = |weights: &[f64]| {
        let real = real.accuracy(weights);
        let control = controls.iter().map(|one| one.accuracy(weights)).sum::<f64>() / controls.len() as f64;
        vec![real, control, real - control]
    };
    let values = measure(&real.each_once());
    let intervals = intervals(groups.count(), options.seed.draws(), 3, |drawn| measure(&groups.weights(drawn)));
    let row = |((name, value), interval): ((&str, f64), Option<[f64; 2]>)| {
        let [low, high] = Cell::ends(interval);
        vec![Cell::from(name), Cell::Float(value), low, high]
    };
    Ok(Table::new(
        format!("{} rows to fit, {} held out, {} control tasks", train.nrows(), held_out.nrows(), options.draws),
        ["measure", "value", "low", "high"],
        ["accuracy", "on control tasks", "selectivity"].into_iter().zip(values).zip(intervals).map(row),
    ))
}

/// Draws a random label for each type from the labels of the rows.
fn control(labels: &ClassLabels, types: &RowGroups, train: &[usize], seed: u64, draw: u64) -> Result<ClassLabels> {
    for attempt in 0..TRIES {
        let mut random = stream(seed, "control task", draw * TRIES + attempt);
        let label = |_| labels.of_row.choose(&mut random).copied().unwrap_or_default();
        let of_type: Vec<usize> = (0..types.count()).map(label).collect();
        let of_row = types.0.iter().map(|which| of_type[*which]).collect();
        let control = ClassLabels { classes: labels.classes.clone(), of_row };
        if control.picked(train).counts().iter().all(|count| *count > 0) {
            return Ok(control);
        }
    }
    Err(err!(Argument, "expected more types of rows than {}: no control task has every class", types.count())
        .about("types"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_tasks_of_one_call_differ_and_have_every_class() {
        let names: Vec<ClassName> = (0..40).map(|row| ClassName::Integer(row % 2)).collect();
        let labels = ClassLabels::of(&names).unwrap();
        let types = RowGroups::of(0..40);
        let train: Vec<usize> = (0..30).collect();
        let tasks: Vec<Vec<usize>> =
            (0..20).map(|draw| control(&labels, &types, &train, 3, draw).unwrap().of_row).collect();
        assert!((0..20).all(|at| !tasks[..at].contains(&tasks[at])), "{tasks:?}");
        assert!(tasks.iter().all(|task| (0..2).all(|class| task[..30].contains(&class))));
    }
}
