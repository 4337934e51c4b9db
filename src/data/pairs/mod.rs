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
    /// The corrupt prompt, for which the wrong answers are correct, or none.
    pub corrupt: String,
    /// The correct answers, with their leading spaces.
    pub answers: Vec<String>,
    /// The wrong answers.
    pub wrong: Vec<String>,
    /// The kind of pair within its task, such as the order of names or the relation of a fact.
    pub kind: &'static str,
}

crate::choices! {
    /// The style of the prompts.
    pub enum PromptStyle {
        /// The held-out templates, names and combinations of the labelled language.
        Grammar = "grammar",
        /// Prompts of the literature, for models of real text.
        Natural = "natural",
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct PairOptions {
        /// Number of pairs.
        n: usize = 100;
        /// Seed of the draws.
        seed: i64 = 0;
        /// Prompts of the labelled language, with held-out templates, names and combinations; or "natural" ones for
        /// models of real text.
        style: PromptStyle = PromptStyle::Grammar;
    }
}

/// Makes one pair from random draws, if they allow one.
type Make = fn(&mut ChaCha8Rng) -> Option<Pair>;

/// The tasks, with their functions for both styles.
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

/// After this many draws in a row without a new pair, no more are expected.
const PATIENCE: usize = 5_000;

/// Pairs of a task, no two of them the same. The first ones do not depend on their number.
pub fn pairs(name: &str, options: &PairOptions, task: &Task) -> Result<Vec<Pair>> {
    let Some((name, grammar, natural)) = MAKERS.iter().find(|maker| maker.0 == name) else {
        return Err(err!(Name, "unknown task `{name}`").maybe_hint(names::suggestion(name, TASKS)).about("task"));
    };
    let (purpose, make) = match options.style {
        PromptStyle::Grammar => ("pairs, grammar", grammar),
        PromptStyle::Natural => ("pairs, natural", natural),
    };
    let n = options.n;
    let mut rng = stream(options.seed as u64, purpose, 0);
    let (mut pairs, mut seen) = (Vec::new(), BTreeSet::new());
    let mut repeats = 0;
    while pairs.len() < n {
        task.check()?;
        match make(&mut rng).filter(|pair| seen.insert((pair.clean.clone(), pair.corrupt.clone()))) {
            Some(pair) => {
                pairs.push(pair);
                repeats = 0;
            }
            None if repeats == PATIENCE => {
                let found = pairs.len();
                return Err(err!(Argument, "expected at most {found} pairs of `{name}`, found {n}: there are no more")
                    .about("n"));
            }
            None => repeats += 1,
        }
    }
    Ok(pairs)
}
