//! The tables of an evaluation.

use super::contexts::{ACTIVE, MeasuredSpot, OF_ROW};
use super::figures::{Figure, MeasuredRows};
use super::runs::{JudgedRuns, RunMeasure, RunValues};
use super::sets::{AblatedSet, KeptAlone, Sets};
use crate::common::*;
use crate::tokenizer::labels::ColumnKind;

/// The share of the clean value below which the difference to explain is rounding error.
const NOTHING: f64 = 1e-6;

/// Names of the measures of a change.
const CODE: &str = "target's code, share";
const DUE: &str = "P(tokens) where one comes next";
const ELSEWHERE: &str = "P(tokens) elsewhere in these rows";
const KL: &str = "KL on other text, nats";

/// The results of the runs of an evaluation.
pub struct Evaluation<'a> {
    runs: &'a JudgedRuns<'a>,
    sets: &'a Sets,
    clean: &'a RunValues,
    found: &'a [RunValues],
    code: MeasuredRows,
    due: MeasuredRows,
    elsewhere: MeasuredRows,
    kl: MeasuredRows,
    seed: u64,
}

/// A measure of what changes in a run, with the rows that it is a mean over.
#[derive(Clone, Copy)]
struct RunChange<'a> {
    name: &'static str,
    measure: RunMeasure,
    rows: &'a MeasuredRows,
}

impl<'a> Evaluation<'a> {
    pub fn new(runs: &'a JudgedRuns, sets: &'a Sets, clean: &'a RunValues, found: &'a [RunValues], seed: u64) -> Self {
        let of = |measure, is_meant: fn(&MeasuredSpot) -> bool| MeasuredRows::of(runs.group(measure), seed, is_meant);
        Self {
            runs,
            sets,
            clean,
            found,
            code: of(RunMeasure::Code, |_| true),
            due: of(RunMeasure::Chance, |spot| spot.is_due),
            elsewhere: of(RunMeasure::Chance, |spot| !spot.is_due),
            kl: of(RunMeasure::Kl, |_| true),
            seed,
        }
    }

    /// Returns the measures of a change, each with its rows.
    fn changes(&self) -> [RunChange<'_>; 4] {
        [
            RunChange { name: CODE, measure: RunMeasure::Code, rows: &self.code },
            RunChange { name: DUE, measure: RunMeasure::Chance, rows: &self.due },
            RunChange { name: ELSEWHERE, measure: RunMeasure::Chance, rows: &self.elsewhere },
            RunChange { name: KL, measure: RunMeasure::Kl, rows: &self.kl },
        ]
    }

    /// Computes the mean difference of some runs from the clean run: as a share of the activation, else as a mean over
    /// positions. The clean value of KL is 0.
    fn change(&self, runs: &[&RunValues], change: RunChange) -> Option<Figure> {
        let RunChange { measure, rows, .. } = change;
        let clean = self.clean.of(measure);
        let runs: Vec<&[f64]> = runs.iter().map(|found| found.of(measure)).filter(|all| !all.is_empty()).collect();
        if runs.is_empty() {
            return None;
        }
        let part = |at: usize| runs.iter().map(|run| run[at] - clean[at]).sum::<f64>() / runs.len() as f64;
        match measure {
            RunMeasure::Code => rows.ratio(part, |at| clean[at]),
            RunMeasure::Chance | RunMeasure::Kl => rows.mean(part),
        }
    }

    /// Returns the runs of a set that read a measure.
    fn of_set(&self, runs: Range<usize>, measure: RunMeasure) -> Vec<&RunValues> {
        let all = self.found.get(runs).unwrap_or_default().iter();
        all.filter(|found| !found.of(measure).is_empty()).collect()
    }

    /// Returns a table of how much of the target's activation, and of the tokens' probability, is left with only some
    /// features.
    pub fn faithfulness(&self) -> Table {
        let measures = [("target's code", RunMeasure::Code, &self.code), (DUE, RunMeasure::Chance, &self.due)];
        let mut rows = Vec::new();
        for KeptAlone { errors, empty, circuit, random } in &self.sets.kept {
            for (what, measure, positions) in measures {
                let of = |run: usize| self.found.get(run).map(|found| found.of(measure)).unwrap_or_default();
                let whole = self.clean.of(measure);
                let none = of(*empty);
                let mean = |of: &[f64]| positions.mean(|at| of[at]).map(|figure| figure.value);
                let (Some(m), Some(m0)) = (mean(whole), mean(none)) else { continue };
                // Where the clean value equals that of mean ablation there is nothing to explain.
                let is_something = (m - m0).abs() > NOTHING * m.abs();
                let share = |run: usize| {
                    let left = of(run);
                    let found = positions.ratio(|at| left[at] - none[at], |at| whole[at] - none[at]);
                    found.filter(|_| is_something)
                };
                let circuit = share(*circuit);
                let random: Vec<f64> = random.clone().filter_map(share).map(|figure| figure.value).collect();
                let mut row: Vec<Cell> = vec![what.into(), (*errors).into()];
                row.extend(Figure::cells(circuit));
                row.push(average(&random));
                row.extend(ends(&random));
                row.extend([random.len().into(), Cell::from(m), m0.into()]);
                row.extend([positions.rows(), positions.positions()].map(Cell::from));
                rows.push(row);
            }
        }
        let columns = [
            ["measure", "errors", "circuit", "low", "high"].as_slice(),
            &["random sets", "lowest", "highest", "sets", "m(model)", "m(means alone)", "rows", "positions"],
        ];
        Table::new("faithfulness: (m(C) - m(0)) / (m(M) - m(0))", columns.concat(), rows)
    }

    /// Returns a table of what is lost when the circuit is zero-ablated, and when as many other features of each
    /// dictionary are.
    pub fn necessity(&self) -> Table {
        let mut rows = Vec::new();
        for change in self.changes() {
            for AblatedSet { name, features, runs } in &self.sets.whole {
                let found = self.of_set(runs.clone(), change.measure);
                let Some(figure) = self.change(&found, change) else { continue };
                let each: Vec<f64> =
                    found.iter().filter_map(|one| self.change(&[*one], change)).map(|one| one.value).collect();
                let mut row: Vec<Cell> = vec![change.name.into(), name.as_str().into(), (*features).into()];
                row.extend(Figure::cells(Some(figure)));
                row.extend(ends(&each));
                row.push(each.len().into());
                row.extend(Figure::counts(Some(figure)));
                rows.push(row);
            }
        }
        let columns = [
            ["change of", "without", "features", "change", "low", "high"].as_slice(),
            &["lowest", "highest", "sets", "rows", "positions"],
        ];
        Table::new("what is lost without the features, set to 0", columns.concat(), rows)
    }

    /// Returns a table of what is lost when the circuit's features at one level are zero-ablated.
    pub fn levels(&self) -> Table {
        let mut rows = Vec::new();
        for (AblatedSet { name, features, runs }, others) in &self.sets.levels {
            for change in self.changes() {
                let Some(figure) = self.change(&self.of_set(runs.clone(), change.measure), change) else { continue };
                let others = self.of_set(others.clone(), change.measure);
                let others: Vec<f64> =
                    others.iter().filter_map(|one| self.change(&[*one], change)).map(|one| one.value).collect();
                let mut row: Vec<Cell> = vec![name.as_str().into(), (*features).into(), change.name.into()];
                row.extend(Figure::cells(Some(figure)));
                row.push(average(&others));
                row.extend(ends(&others));
                row.push(others.len().into());
                row.extend(Figure::counts(Some(figure)));
                rows.push(row);
            }
        }
        let columns = [
            ["without those at", "features", "change of", "circuit", "low", "high"].as_slice(),
            &["random sets", "lowest", "highest", "sets", "rows", "positions"],
        ];
        Table::new("what is lost without the features of one level, set to 0", columns.concat(), rows)
    }

    /// Returns a table of what is lost without each node alone, sorted by how much unrelated text changes.
    pub fn nodes(&self) -> Table {
        let figures = |node: &AblatedSet| {
            let of = |change: RunChange| self.change(&self.of_set(node.runs.clone(), change.measure), change);
            let kl = self.found.get(node.runs.start).map(|found| found.kl.as_slice()).unwrap_or_default();
            let touched: BTreeSet<usize> = self
                .runs
                .group(RunMeasure::Kl)
                .spots()
                .zip(kl)
                .filter(|(_, kl)| **kl != 0.0)
                .map(|(spot, _)| spot.row)
                .collect();
            let [_, due, _, other] = self.changes();
            (of(other), of(due), touched.len())
        };
        let mut found = parallel::of_each(&self.sets.nodes, &|node| (node, figures(node)));
        let size = |kl: &Option<Figure>| kl.map_or(0.0, |figure| figure.value);
        order::sort_descending(&mut found, |(_, (kl, ..))| size(kl));
        let rows = found.into_iter().map(|(node, (kl, due, touched))| {
            let mut row: Vec<Cell> = vec![node.name.as_str().into()];
            row.extend(Figure::cells(kl));
            row.extend([touched, self.kl.rows()].map(Cell::from));
            row.extend(Figure::cells(due));
            row.push(self.due.rows().into());
            row
        });
        let due = format!("change of {DUE}");
        let columns = ["node", KL, "low", "high", "rows changed", "rows", &due, "low", "high", "rows"];
        Table::new("what is lost without one node, set to 0", columns, rows)
    }

    /// Returns a table of what the tokens lose without the circuit where one of them comes next, by the values of a
    /// label.
    pub fn by(&self) -> Option<Table> {
        let column = self.runs.contexts.by.as_ref()?;
        let group = self.runs.group(RunMeasure::Chance);
        let mut values: Vec<u32> = group.spots().filter(|spot| spot.is_due).map(|spot| spot.label).collect();
        values.sort_unstable();
        values.dedup();
        let name = |value: u32| match &column.values {
            ColumnKind::Kind(kinds) => {
                let kind = (value as usize).checked_sub(1).and_then(|at| kinds.get(at));
                kind.map_or("none".into(), |kind| Cell::from(*kind))
            }
            ColumnKind::Number | ColumnKind::Since => value.into(),
        };
        let whole = self.sets.whole.first()?;
        let rows = values.into_iter().map(|value| {
            let those = MeasuredRows::of(group, self.seed, |spot| spot.is_due && spot.label == value);
            let of = RunChange { name: DUE, measure: RunMeasure::Chance, rows: &those };
            let figure = self.change(&self.of_set(whole.runs.clone(), RunMeasure::Chance), of);
            let mut row = vec![name(value)];
            row.extend(Figure::cells(those.mean(|at| self.clean.chance[at])));
            row.extend(Figure::cells(figure));
            row.extend(Figure::counts(figure));
            row
        });
        let columns =
            [column.name, "P(tokens)", "low", "high", "change without the circuit", "low", "high", "rows", "positions"];
        Some(Table::new(format!("{DUE}, by the label `{}` of the token before it", column.name), columns, rows))
    }

    /// Returns whether the lower end of what the tokens lose without the circuit is above what they lose without any
    /// other set.
    pub fn beats_random(&self) -> Option<bool> {
        let [_, due, ..] = self.changes();
        let (circuit, others) = self.sets.whole.split_first()?;
        let lost = |found: &RunValues| self.change(&[found], due).map(|figure| -figure.value);
        let circuit = self.change(&self.of_set(circuit.runs.clone(), RunMeasure::Chance), due)?;
        let others = others.iter().flat_map(|set| self.of_set(set.runs.clone(), RunMeasure::Chance)).filter_map(lost);
        let most = others.fold(0.0, f64::max);
        Some(circuit.interval.is_some_and(|[_, smallest]| -smallest > most))
    }

    /// Returns a table of the numbers of rows and positions.
    pub fn looked_at(&self) -> Table {
        let contexts = &self.runs.contexts;
        let of_due = if contexts.due_rows == self.due.rows() {
            format!("all such positions of the {} rows of text", contexts.read)
        } else {
            format!("all such positions of rows drawn from {} of {}", contexts.due_rows, contexts.read)
        };
        let of_target = if contexts.fired as usize <= ACTIVE {
            "all such positions".to_string()
        } else {
            format!("drawn from all {} such positions", contexts.fired)
        };
        let elsewhere = format!("at most {OF_ROW} of each of these rows, evenly spread before its last such position");
        let other = format!(
            "{OF_ROW} at most of each, evenly spread; rows drawn from those where the target is silent and none of the \
             tokens stands"
        );
        let counts = [
            ("where one of the tokens comes next", &self.due, of_due),
            ("where another token comes next", &self.elsewhere, elsewhere),
            ("where the target is active", &self.code, of_target),
            ("of other text", &self.kl, other),
        ];
        let rows = counts
            .into_iter()
            .map(|(what, rows, how)| vec![Cell::from(what), rows.positions().into(), rows.rows().into(), how.into()]);
        Table::new("what was looked at", ["positions", "number", "rows", "how they are chosen"], rows)
    }
}

/// Returns the mean of some numbers; missing where there are none.
fn average(numbers: &[f64]) -> Cell {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64).into()
}

/// Returns the lowest and the highest of several numbers; missing where there are not two.
fn ends(numbers: &[f64]) -> [Cell; 2] {
    let of = |fold: fn(f64, f64) -> f64| numbers.iter().copied().reduce(fold).filter(|_| numbers.len() > 1);
    [of(f64::min), of(f64::max)].map(Cell::from)
}
