//! Pairs of prompts for each task: a clean one, a corrupt one that differs in what decides the answer, and the answers.

mod frame;
mod language;
mod natural;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;

use crate::base::random::stream;
use crate::base::{Result, Task, names};
use crate::err;

/// Two prompts, after which the answer comes next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub clean: String,
    /// The corrupted prompt, for which the wrong answers are right, or none is.
    pub corrupt: String,
    /// The correct answers, with the space before them where there is one.
    pub answers: Vec<String>,
    /// The wrong answers.
    pub wrong: Vec<String>,
    /// The kind of pair within its task, such as the order of names or the relation of a fact.
    pub kind: &'static str,
}

/// The style of the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The held-out templates, names and combinations of the labelled language.
    Grammar,
    /// Prompts as the literature puts them to models of real text.
    Natural,
}

impl Style {
    pub const NAMES: [&'static str; 2] = ["grammar", "natural"];

    /// The style of a name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "grammar" => Ok(Self::Grammar),
            "natural" => Ok(Self::Natural),
            _ => Err(err!(Name, "unknown style `{name}`").maybe_hint(names::suggestion(name, Self::NAMES))),
        }
    }
}

/// Makes one pair, if what was drawn allows one.
type Make = fn(&mut ChaCha8Rng) -> Option<Pair>;

/// The tasks, and how each is made in both styles.
const MAKERS: [(&str, Make, Make); 7] = [
    ("ioi", language::ioi, natural::ioi),
    ("greater_than", language::greater_than, natural::greater_than),
    ("parenthesis", language::parenthesis, natural::parenthesis),
    ("apostrophe", language::apostrophe, natural::apostrophe),
    ("agreement", language::agreement, natural::agreement),
    ("gender", language::gender, natural::gender),
    ("facts", language::facts, natural::facts),
];

/// The names of the tasks.
pub const TASKS: [&str; MAKERS.len()] =
    ["ioi", "greater_than", "parenthesis", "apostrophe", "agreement", "gender", "facts"];

/// After this many draws in a row without a new pair, there are taken to be no more.
const PATIENCE: usize = 5_000;

/// `n` pairs of a task, no two alike, the same ones for the same seed. The first ones do not depend on `n`.
pub fn pairs(name: &str, n: usize, seed: u64, style: Style, task: &Task) -> Result<Vec<Pair>> {
    let Some((name, grammar, natural)) = MAKERS.iter().find(|maker| maker.0 == name) else {
        return Err(err!(Name, "unknown task `{name}`").maybe_hint(names::suggestion(name, TASKS)).about("task"));
    };
    let (purpose, make) = match style {
        Style::Grammar => ("pairs, grammar", grammar),
        Style::Natural => ("pairs, natural", natural),
    };
    let mut rng = stream(seed, purpose, 0);
    let (mut pairs, mut seen) = (Vec::new(), BTreeSet::new());
    let mut in_vain = 0;
    while pairs.len() < n {
        task.check()?;
        match make(&mut rng).filter(|pair| seen.insert((pair.clean.clone(), pair.corrupt.clone()))) {
            Some(pair) => {
                pairs.push(pair);
                in_vain = 0;
            }
            None if in_vain == PATIENCE => {
                let found = pairs.len();
                return Err(err!(Argument, "expected at most {found} pairs of `{name}`, found {n}: there are no more")
                    .about("n"));
            }
            None => in_vain += 1,
        }
    }
    Ok(pairs)
}
