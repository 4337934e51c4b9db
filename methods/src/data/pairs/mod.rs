//! Pairs of prompts for each task: a clean one, a corrupt one that differs where the answer is decided, and the
//! answers. `tokens` has them as a model reads them.

mod frame;
mod language;
mod natural;
pub mod tokens;
mod words;

#[cfg(test)]
mod tests;

use rand_chacha::ChaCha8Rng;

use crate::common::*;

/// Two prompts, each of which an answer follows.
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
    /// The number of the prompt's template, in a task whose prompts are made from a list of them.
    pub template: Option<usize>,
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
    pub struct PairOptions {
        /// Number of pairs.
        n: usize = 100;
        /// Seed of the draws.
        seed: i64 = 0;
        /// Prompts of the labelled language, with held-out templates, names and combinations; or "natural" ones for
        /// models of real text.
        style: PromptStyle = PromptStyle::Grammar;
        /// The number of the template that all prompts are made from; that of a pair is its `template`.
        template: Option<usize> = None => usually("any");
    }
}

/// A function that makes one pair from random draws, if they allow one.
type PairMaker = fn(&mut ChaCha8Rng) -> Option<Pair>;

/// The tasks, with their functions for both styles.
const MAKERS: [(&str, PairMaker, PairMaker); 7] = [
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

/// The number of draws in a row without a new pair after which no more are expected.
const PATIENCE: usize = 20_000;

/// Draws pairs of a task, no two of them equal. The first ones do not depend on their number.
pub fn pairs(name: &str, options: &PairOptions, task: &Task) -> Result<Vec<Pair>> {
    let mut draw = Draw::new(name, options)?;
    draw.some(options.n, task, |pair| Ok(Some(pair)))
}

/// Draws of one task.
struct Draw {
    name: &'static str,
    make: PairMaker,
    template: Option<usize>,
    rng: ChaCha8Rng,
    seen: BTreeSet<(String, String)>,
}

impl Draw {
    fn new(name: &str, options: &PairOptions) -> Result<Self> {
        let Some((name, grammar, natural)) = MAKERS.iter().find(|maker| maker.0 == name) else {
            return Err(err!(Name, "unknown task `{name}`").maybe_hint(names::suggestion(name, TASKS)).about("task"));
        };
        let (purpose, make) = match options.style {
            PromptStyle::Grammar => ("pairs, grammar", grammar),
            PromptStyle::Natural => ("pairs, natural", natural),
        };
        let rng = stream(options.seed as u64, purpose, 0);
        Ok(Self { name, make: *make, template: options.template, rng, seen: BTreeSet::new() })
    }

    /// Returns the next new pair of the requested template; none after too many draws without one.
    fn next(&mut self, task: &Task) -> Result<Option<Pair>> {
        for _ in 0..PATIENCE {
            task.check()?;
            let made = (self.make)(&mut self.rng);
            let fits = |pair: &Pair| self.template.is_none() || pair.template == self.template;
            if let Some(pair) = made.filter(fits)
                && self.seen.insert((pair.clean.clone(), pair.corrupt.clone()))
            {
                return Ok(Some(pair));
            }
        }
        Ok(None)
    }

    /// Returns the first `n` pairs that `kept` returns something for.
    fn some<T>(&mut self, n: usize, task: &Task, mut kept: impl FnMut(Pair) -> Result<Option<T>>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut refused = 0;
        while found.len() < n {
            let next = if refused < PATIENCE { self.next(task)? } else { None };
            let Some(pair) = next else { return Err(self.no_more(found.len(), n)) };
            match kept(pair)? {
                Some(pair) => {
                    found.push(pair);
                    refused = 0;
                }
                None => refused += 1,
            }
        }
        Ok(found)
    }

    fn no_more(&self, found: usize, n: usize) -> Error {
        let name = self.name;
        match self.template.filter(|_| found == 0) {
            Some(template) => err!(Argument, "expected the number of a template of `{name}`, found {template}")
                .hint("the number of a pair's template is `data::pairs(..)[0].template`; `()` where there are none")
                .about("template"),
            None => {
                err!(Argument, "expected at most {found} pairs of `{name}`, found {n}: there are no more").about("n")
            }
        }
    }
}
