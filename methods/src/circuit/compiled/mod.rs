//! Small transformers whose weights we construct, so that their algorithm and their circuit are known: what methods that
//! find circuits are judged by.
//!
//! Compiled transformers as ground truth are Lindner et al. 2023 (Tracr); the construction here is our own. The
//! residual stream is cut into parts with a meaning each (`plan`). A head or MLP of the algorithm reads and writes
//! only parts of its own, so that an edge between two of them carries either what the algorithm needs or exactly
//! nothing. All other heads and MLPs are decoys: their weights are random, they read everything, and write where nobody
//! reads. There are no norms, and no biases but those of receivers, which belong to no edge. Positions are learned
//! ones, and no node of the graph.
//!
//! An edge is true if the output on the model's prompts changes once the receiver does not read the sender (zero
//! ablation). What two prompts have in common shows no difference when activations come from the other prompt.

mod brackets;
mod counting;
mod duplicates;
mod plan;
mod sequences;

#[cfg(test)]
mod tests;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::edges::eap_file::model_sizes;
use super::edges::{Wiring, sites};
use super::graph::{Edge, Graph, Node, Part, Port};
use crate::common::*;
use crate::data::pairs::Pair;
use plan::WeightPlan;

/// A sender, a receiver, and which input of a head receives.
type Wire = (&'static str, &'static str, Option<Port>);

/// Task, algorithm and circuit of a compiled model.
#[derive(Debug)]
pub struct Algorithm {
    pub name: &'static str,
    /// A description of what the model computes, and how, in plain words.
    pub text: &'static str,
    /// The tokens, beginning with those that the model predicts.
    pub tokens: &'static [&'static str],
    /// The number of tokens that the model predicts.
    outputs: usize,
    /// A function that returns all prompts that the model is made for.
    prompts: fn() -> Vec<Vec<u32>>,
    /// A function that returns the token after a prompt.
    answer: fn(&[u32]) -> u32,
    plan: fn() -> Result<WeightPlan>,
    /// The nodes of the circuit between embedding and logits, each with what it does.
    nodes: &'static [(&'static str, &'static str)],
    edges: &'static [Wire],
}

const ALGORITHMS: [&Algorithm; 9] = [
    &sequences::REVERSE,
    &counting::HISTOGRAM,
    &sequences::SORT,
    &brackets::BRACKETS,
    &duplicates::INDUCTION,
    &counting::MOST_FREQUENT,
    &counting::DISTINCT,
    &brackets::PATTERN,
    &duplicates::INDIRECT_OBJECT,
];

/// Returns the names of all compiled models.
pub fn all() -> impl Iterator<Item = &'static str> + Clone {
    ALGORITHMS.iter().map(|algorithm| algorithm.name)
}

/// A compiled model and its circuit.
#[derive(Debug, Clone)]
pub struct CompiledModel {
    pub algorithm: &'static Algorithm,
    pub model: Model,
    /// The edges of its circuit.
    pub truth: Graph,
}

crate::options! {
    /// Options of pairs of prompts of a compiled model.
    pub struct CompiledPairOptions {
        /// Seed of the draws.
        seed: i64 = 0;
    }
}

/// Builds the compiled model of a name.
pub fn compiled(name: &str) -> Result<CompiledModel> {
    let Some(algorithm) = ALGORITHMS.iter().find(|algorithm| algorithm.name == name) else {
        let suggestion = names::suggestion(name, all());
        return Err(err!(Name, "unknown compiled model `{name}`")
            .hint(suggestion.unwrap_or_else(|| format!("there are {}", all().collect::<Vec<_>>().join(", "))))
            .about("name"));
    };
    let model = (algorithm.plan)()?.model(algorithm)?;
    let truth = algorithm.truth(&model)?;
    Ok(CompiledModel { algorithm, model, truth })
}

/// The number of draws in a row without a new pair after which no more are expected.
const PATIENCE: usize = 10_000;

impl CompiledModel {
    /// Draws pairs of prompts of one length with different answers, no two pairs equal; each answer is as frequent as
    /// the others. The first pairs do not depend on `n`.
    pub fn pairs(&self, n: usize, options: &CompiledPairOptions, task: &Task) -> Result<Vec<Pair>> {
        // Of each: two prompts in the pair and twice more among those seen, and the map that a script gets.
        memory::check(n as u128 * 1024, || format!("a list of {n} pairs"))?;
        let mut drawn = PairDraws::new(self.algorithm, stream(options.seed as u64, "compiled", 0));
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut refused = 0;
        while found.len() < n {
            task.check()?;
            if refused == PATIENCE {
                let most = found.len();
                let name = self.algorithm.name;
                return Err(err!(Argument, "expected at most {most} pairs of `{name}`, found {n}: there are no more")
                    .about("n"));
            }
            match drawn.pair().filter(|pair| seen.insert((pair.clean.clone(), pair.corrupt.clone()))) {
                Some(pair) => {
                    found.push(pair);
                    refused = 0;
                }
                None => refused += 1,
            }
        }
        Ok(found)
    }
}

/// Prompts by their answers.
type ByAnswer = BTreeMap<u32, Vec<Vec<u32>>>;

/// Draws of pairs from all prompts.
struct PairDraws {
    algorithm: &'static Algorithm,
    random: ChaCha8Rng,
    /// The prompts of each length that has several answers.
    by_length: BTreeMap<usize, ByAnswer>,
    /// The prompts of all lengths in `by_length` together.
    all: ByAnswer,
}

impl PairDraws {
    fn new(algorithm: &'static Algorithm, random: ChaCha8Rng) -> Self {
        let mut by_length: BTreeMap<usize, ByAnswer> = BTreeMap::new();
        for prompt in (algorithm.prompts)() {
            let answers = by_length.entry(prompt.len()).or_default();
            answers.entry((algorithm.answer)(&prompt)).or_default().push(prompt);
        }
        by_length.retain(|_, answers| answers.len() > 1);
        let mut all = ByAnswer::new();
        for (answer, prompts) in by_length.values().flatten() {
            all.entry(*answer).or_default().extend(prompts.iter().cloned());
        }
        Self { algorithm, random, by_length, all }
    }

    /// Draws two prompts of one length: each answer is as likely as the others, and so is each wrong one.
    fn pair(&mut self) -> Option<Pair> {
        let (answer, prompts) = drawn(&mut self.random, &self.all.iter().collect::<Vec<_>>())?;
        let clean = drawn(&mut self.random, prompts)?;
        let others = self.by_length.get(&clean.len())?.iter().filter(|(other, _)| *other != answer);
        let (wrong, prompts) = drawn(&mut self.random, &others.collect::<Vec<_>>())?;
        let corrupt = drawn(&mut self.random, prompts)?;
        let text = |prompt: &[u32]| prompt.iter().map(|id| self.algorithm.token(*id)).collect::<Vec<_>>().join(" ");
        let spaced = |id: &u32| vec![format!(" {}", self.algorithm.token(*id))];
        Some(Pair {
            clean: text(&clean),
            corrupt: text(&corrupt),
            answers: spaced(answer),
            wrong: spaced(wrong),
            kind: self.algorithm.name,
            template: None,
        })
    }
}

/// Draws an element of a list.
fn drawn<T: Clone>(random: &mut ChaCha8Rng, all: &[T]) -> Option<T> {
    if all.is_empty() { None } else { all.get(random.random_range(0..all.len())).cloned() }
}

impl Algorithm {
    fn token(&self, id: u32) -> &'static str {
        self.tokens.get(id as usize).copied().unwrap_or_default()
    }

    /// Returns the circuit as a graph of the model's heads and MLPs.
    fn truth(&self, model: &Model) -> Result<Graph> {
        let sites = sites(&Wiring::new(model.decoder.config())?);
        let ends = [("embed", "the tokens"), ("logits", "the answer")];
        let mut all: Vec<Node> = Vec::new();
        for (name, meaning) in self.nodes.iter().chain(&ends) {
            let (site, part) = placed(name);
            let level = sites.iter().position(|known| known == site);
            let level = level.ok_or_else(|| err!(Bug, "a truth with a node `{name}` that no model has"))?;
            all.push(Node { meaning: Some((*meaning).into()), ..Node::new(site, level, part) });
        }
        all.sort_by_key(|node| node.level);
        let place = |name: &str| {
            let at = all.iter().position(|node| node.name() == name);
            at.ok_or_else(|| err!(Bug, "a truth with an edge of `{name}`, which is not among its nodes"))
        };
        let edge = |(from, to, port): &Wire| -> Result<Edge> {
            Ok(Edge { port: *port, ..Edge::new(place(from)?, place(to)?, 1.0) })
        };
        let edges = self.edges.iter().map(edge).collect::<Result<Vec<_>>>()?;
        Ok(Graph {
            title: format!("the circuit of `{}`", self.name),
            model: model.name().to_string(),
            sites,
            nodes: all,
            edges,
            is_whole: true,
            made: [("by".into(), "construction".into())]
                .into_iter()
                .chain(model_sizes(model.decoder.config()))
                .collect(),
            ..Graph::default()
        })
    }
}

/// Returns the site of a node's name and its part there: `z.1.0` is head 0 of `z.1`.
fn placed(name: &'static str) -> (&'static str, Part) {
    let head = name.starts_with("z.").then(|| name.rsplit_once('.')).flatten();
    match head.and_then(|(site, head)| Some((site, head.parse().ok()?))) {
        Some((site, head)) => (site, Part::Head(head)),
        None => (name, Part::Whole),
    }
}

/// Returns all sequences of `length` tokens of a range.
fn sequences(tokens: std::ops::Range<u32>, length: usize) -> Vec<Vec<u32>> {
    (0..length).fold(vec![Vec::new()], |all, _| {
        let longer = |start: Vec<u32>| tokens.clone().map(move |token| [start.as_slice(), &[token]].concat());
        all.into_iter().flat_map(longer).collect()
    })
}

/// Returns all sequences of each length in a range.
fn of_lengths(tokens: std::ops::Range<u32>, lengths: std::ops::RangeInclusive<usize>) -> Vec<Vec<u32>> {
    lengths.flat_map(|length| sequences(tokens.clone(), length)).collect()
}
