//! The tables of a judgement.

use super::contexts::Contexts;
use super::runs::Found;
use super::{Kept, TakenOff};
use crate::base::{Cell, Table};

/// Below this part of what the model has, the difference that there is to explain is one of rounding.
const NOTHING: f64 = 1e-6;

/// One number of a run, where there is one.
type Measure = fn(&Found) -> Option<f64>;

/// How a run differs from that of the model as it is, in one number.
type Change = fn(&Found, &Found) -> Option<f64>;

/// What of the target's activation, and of the tokens' probability, is left where only some features are.
pub fn faithfulness(clean: &Found, runs: &[(&str, Kept)]) -> Table {
    let measures: [(&str, Measure); 2] =
        [("target's code", |found| Some(found.code)), ("P(tokens) where due", |found| found.due)];
    let mut rows = Vec::new();
    for (errors, Kept { empty, circuit, random }) in runs {
        for (what, measure) in measures {
            let (Some(whole), Some(none)) = (measure(clean), measure(empty)) else { continue };
            // Where the model does no more than its means there is nothing to explain.
            let is_something = (whole - none).abs() > NOTHING * whole.abs();
            let share = |found: &Found| measure(found).filter(|_| is_something).map(|m| (m - none) / (whole - none));
            let random: Vec<f64> = random.iter().filter_map(share).collect();
            let mut row: Vec<Cell> = vec![what.into(), (*errors).into(), cell(share(circuit))];
            row.extend(interval(&random));
            row.extend([Cell::from(whole), none.into()]);
            rows.push(row);
        }
    }
    let columns = ["measure", "errors", "circuit", "random sets", "lowest", "highest", "m(model)", "m(means alone)"];
    table("faithfulness: (m(C) - m(0)) / (m(M) - m(0))", &columns, rows)
}

/// What is lost without some features, set to 0: those of the circuit, level by level and together, beside as many
/// random ones and as many that are about as active.
pub fn necessity(clean: &Found, sets: &[TakenOff]) -> Table {
    let mut rows = Vec::new();
    for set in sets {
        for (what, change) in changes() {
            let of = |found: &Found| change(clean, found).filter(|x| x.is_finite());
            let Some(circuit) = of(&set.circuit) else { continue };
            let all = |found: &[Found]| found.iter().filter_map(of).collect::<Vec<f64>>();
            let mut row: Vec<Cell> = vec![set.name.as_str().into(), set.features.into(), what.into(), circuit.into()];
            row.extend(interval(&all(&set.random)));
            row.extend(interval(&all(&set.matched)));
            rows.push(row);
        }
    }
    let columns = [
        "taken off",
        "features",
        "change of",
        "circuit",
        "random",
        "lowest",
        "highest",
        "as active",
        "lowest",
        "highest",
    ];
    table("what is lost without the features, set to 0", &columns, rows)
}

/// What necessity is told of: each as the change from the model as it is.
fn changes() -> [(&'static str, Change); 4] {
    [
        ("target's code, share", |clean, found| Some(found.code / clean.code - 1.0)),
        ("P(tokens) where due", |clean, found| Some(found.due? - clean.due?)),
        ("P(tokens) elsewhere", |clean, found| Some(found.elsewhere? - clean.elsewhere?)),
        ("KL on other text, nats", |_, found| found.kl),
    ]
}

/// Whether the tokens lose more where they are due without the circuit than without any set of others.
pub fn beats_random(clean: &Found, all: &TakenOff) -> Option<bool> {
    let lost = |found: &Found| Some(clean.due? - found.due?);
    let circuit = lost(&all.circuit)?;
    let others: Vec<f64> = all.random.iter().chain(&all.matched).filter_map(lost).collect();
    (!others.is_empty()).then(|| circuit > 0.0 && others.iter().all(|other| circuit > *other))
}

/// How many positions count for what.
pub fn looked_at(contexts: &Contexts) -> Table {
    let counts = [
        ("rows of text", contexts.batch.rows().len()),
        ("where the target is active", contexts.active.len()),
        ("where the tokens are due", contexts.due.len()),
        ("elsewhere in these rows", contexts.elsewhere.len()),
        ("of other text", contexts.unrelated.len()),
    ];
    let rows = counts.into_iter().map(|(what, count)| vec![Cell::from(what), count.into()]);
    table("what was looked at", &["positions", "number"], rows.collect())
}

fn table(title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    Table { title: title.into(), columns: columns.iter().map(|column| column.to_string()).collect(), rows }
}

fn cell(number: Option<f64>) -> Cell {
    number.map_or(Cell::Missing, Cell::from)
}

/// The mean, the lowest and the highest of some numbers; missing where there are none.
fn interval(numbers: &[f64]) -> [Cell; 3] {
    let count = numbers.len() as f64;
    let of = |fold: fn(f64, f64) -> f64| numbers.iter().copied().reduce(fold);
    [of(|a, b| a + b).map(|sum| sum / count), of(f64::min), of(f64::max)].map(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: f64, due: Option<f64>) -> Found {
        Found { code, due, elsewhere: due.map(|due| due / 10.0), kl: Some(0.25) }
    }

    #[test]
    fn faithfulness_is_0_for_the_means_and_1_for_the_model() {
        let clean = found(2.0, Some(0.5));
        let kept = Kept { empty: found(0.5, Some(0.1)), circuit: clean, random: vec![found(0.5, Some(0.3)), clean] };
        let table = faithfulness(&clean, &[("kept", kept)]);
        assert_eq!(table.rows[0][2..6], [1.0, 0.5, 0.0, 1.0].map(Cell::from));
        assert_eq!(table.rows[1][2], Cell::from(1.0));
        assert!(matches!(table.rows[1][3], Cell::Float(x) if (x - 0.75).abs() < 1e-12));
        // There is nothing to explain where the means do as much as the model, and no row of what is not measured.
        let kept = Kept { empty: found(2.0, None), circuit: found(2.0, None), random: vec![] };
        let table = faithfulness(&found(2.0, None), &[("dropped", kept)]);
        assert_eq!((table.rows.len(), &table.rows[0][2], &table.rows[0][3]), (1, &Cell::Missing, &Cell::Missing));
    }

    #[test]
    fn what_is_lost_is_told_as_changes_beside_an_interval() {
        let clean = found(2.0, Some(0.5));
        let set = |circuit: Found| TakenOff {
            name: "all levels".into(),
            features: 3,
            circuit,
            random: vec![found(2.0, Some(0.45)), found(1.0, Some(0.55))],
            matched: vec![],
        };
        let all = set(found(0.5, Some(0.25)));
        let table = necessity(&clean, std::slice::from_ref(&all));
        let row = |i: usize| table.rows[i][3..7].to_vec();
        assert_eq!(row(0), [-0.75, -0.25, -0.5, 0.0].map(Cell::from));
        assert_eq!(table.rows[1][3], Cell::from(-0.25));
        assert_eq!(table.rows[3][7..], [Cell::Missing, Cell::Missing, Cell::Missing]);
        assert_eq!(beats_random(&clean, &all), Some(true));
        assert_eq!(beats_random(&clean, &set(found(0.5, Some(0.45)))), Some(false));
        assert_eq!(beats_random(&clean, &set(found(0.5, None))), None);
    }
}
