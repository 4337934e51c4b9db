//! The numbers of an evaluation: each with its interval, its control, its sample size, and its formula.

use crate::common::*;

/// A number about a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub name: String,
    /// The value; none where there is nothing to measure.
    pub value: Option<f64>,
    /// The 95 % interval, by the bootstrap.
    pub interval: Option<[f64; 2]>,
    /// The value of random directions.
    pub random: Option<f64>,
    /// The sample size: the number of `of`, which the bootstrap draws.
    pub n: usize,
    pub of: &'static str,
    pub formula: String,
}

impl Score {
    /// Computes the mean over some units, which the bootstrap draws, with that of random directions. Values that are
    /// not finite are left out.
    pub fn mean(name: impl Into<String>, own: &[f64], random: &[f64], of: &'static str, formula: &str) -> Self {
        let finite = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
        let own = finite(own);
        let random = finite(random);
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let drawn = |drawn: &[usize]| drawn.iter().map(|at| own[*at]).sum::<f64>() / drawn.len() as f64;
        Self {
            name: name.into(),
            value: mean(&own),
            interval: bootstrap(own.len(), 0, drawn),
            random: mean(&random),
            n: own.len(),
            of,
            formula: formula.into(),
        }
    }
}

/// The evaluation of a dictionary.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The dictionary that was evaluated, and the text.
    pub title: String,
    pub scores: Vec<Score>,
    /// The tables that scores are means of, by name.
    pub parts: Vec<(&'static str, Table)>,
}

impl Evaluation {
    pub fn table(&self) -> Table {
        table(self.title.clone(), &self.scores)
    }

    /// Returns a score by its name.
    pub fn score(&self, name: &str) -> Result<&Score> {
        let names = || self.scores.iter().map(|score| score.name.as_str());
        self.scores.iter().find(|score| score.name == name).ok_or_else(|| unknown("measure", name, names()))
    }

    /// Returns the table of a part by its name.
    pub fn part(&self, name: &str) -> Result<&Table> {
        let names = || self.parts.iter().map(|(name, _)| *name);
        let found = self.parts.iter().find(|(known, _)| *known == name);
        found.map(|(_, table)| table).ok_or_else(|| unknown("part", name, names()))
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let listed = || format!("there are {}", known.clone().collect::<Vec<_>>().join(", "));
    let hint = names::suggestion(name, known.clone()).unwrap_or_else(listed);
    err!(Name, "unknown {what} `{name}`").hint(hint).about("name")
}

/// The columns of scores.
pub const COLUMNS: [&str; 8] = ["measure", "value", "low", "high", "random", "n", "of", "what it is"];

fn table(title: String, scores: &[Score]) -> Table {
    let row = |one: &Score| {
        let [low, high] = Cell::ends(one.interval);
        vec![
            one.name.as_str().into(),
            one.value.into(),
            low,
            high,
            one.random.into(),
            one.n.into(),
            one.of.into(),
            one.formula.as_str().into(),
        ]
    };
    Table::new(title, COLUMNS, scores.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_leaves_out_what_has_no_value_and_is_none_of_nothing() {
        let found = Score::mean("one", &[1.0, f64::NAN, 3.0], &[0.5], "labels", "a mean");
        assert_eq!((found.value, found.random, found.n), (Some(2.0), Some(0.5), 2));
        assert!(found.interval.is_some_and(|[low, high]| low == 1.0 && high == 3.0));
        let none = Score::mean("none", &[], &[], "labels", "a mean");
        assert_eq!((none.value, none.interval, none.n), (None, None, 0));
        assert_eq!(table("t".into(), &[none]).rows[0][1], Cell::Missing);
    }
}
