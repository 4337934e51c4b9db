//! Letters that are counted: those equal to the last one, the most frequent one, the different ones.

use super::plan::{HARD, HeadWires, LOGIT, Neuron, WeightPlan, copy, step, write};
use super::{Algorithm, of_lengths};
use crate::circuit::graph::Port;
use crate::common::*;

/// The number of different letters.
const LETTERS: usize = 4;
/// The largest number of letters whose equals are counted.
const COUNTED: usize = 5;

/// Builds neurons that write, of the numbers 1, 2, .. `most`, the one that a sum over the residual stream stands for:
/// the next is reached at each threshold. The first is the usual answer.
fn numbers(reads: &[(usize, f64)], thresholds: &[f64], steep: f64, written: usize) -> Vec<Neuron> {
    let reached = |(number, threshold): (usize, &f64)| {
        step(reads, *threshold, steep, &[(written + number + 1, 1.0), (written + number, -1.0)])
    };
    thresholds.iter().enumerate().flat_map(reached).collect()
}

const HISTOGRAM_TOKENS: [&str; COUNTED + LETTERS + 1] = ["1", "2", "3", "4", "5", "a", "b", "c", "d", "^"];
const START: u32 = (COUNTED + LETTERS) as u32;

pub const HISTOGRAM: Algorithm = Algorithm {
    name: "histogram",
    text: "After `^` and up to five letters comes the number of letters equal to the last one: `^ a b a` is followed by \
           `2`. Head z.0.0 attends alike to `^` and to all letters equal to its own, c of them, and finds the share of \
           attention on `^`, 1 / (1 + c). MLP 0 reads the number from it.",
    tokens: &HISTOGRAM_TOKENS,
    outputs: COUNTED,
    prompts: || {
        let letters = of_lengths(COUNTED as u32..START, 1..=COUNTED);
        letters.into_iter().map(|letters| [&[START], letters.as_slice()].concat()).collect()
    },
    answer: |prompt| prompt.iter().filter(|id| prompt.last() == Some(id)).count() as u32 - 1,
    plan: histogram,
    nodes: &[("z.0.0", "1 / (1 + the number of equal letters)"), ("mlp_out.0", "the number")],
    edges: &[
        ("embed", "z.0.0", Some(Port::Q)),
        ("embed", "z.0.0", Some(Port::K)),
        ("embed", "z.0.0", Some(Port::V)),
        ("z.0.0", "mlp_out.0", None),
        ("mlp_out.0", "logits", None),
    ],
};

fn histogram() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, COUNTED + 1);
    let letters = plan.tokens(COUNTED..COUNTED + LETTERS);
    let start = plan.tokens(START as usize..START as usize + 1).start;
    let share = plan.part(1).start;
    let written = plan.part(COUNTED);
    let for_all = (0..LETTERS).map(|place| (start, place, 1.0));
    let equal = HeadWires {
        q: copy(letters.clone(), 0, HARD),
        k: copy(letters, 0, 1.0).into_iter().chain(for_all).collect(),
        v: vec![(start, 0, 1.0)],
        o: vec![(0, share, 1.0)],
    };
    plan.head(0, 0, equal);
    // Halfway between 1 / (1 + c) and 1 / (2 + c), from below: a larger share is a smaller number.
    let halfway = |count: usize| -0.5 * (1.0 / (1 + count) as f64 + 1.0 / (2 + count) as f64);
    let thresholds: Vec<f64> = (1..COUNTED).map(halfway).collect();
    plan.mlp(0, numbers(&[(share, -1.0)], &thresholds, 100.0, written.start));
    plan.answers(written, LOGIT);
    plan.usual(0, LOGIT);
    Ok(plan)
}

const MOST: usize = 6;

pub const MOST_FREQUENT: Algorithm = Algorithm {
    name: "most frequent",
    text: "After up to six letters comes the most frequent one, of several the first in the alphabet: `b a c b` is followed \
           by `b`. Head z.1.0 attends to all letters alike, so that it writes the share of each; the logits are these \
           shares, and a bias decides between equals.",
    tokens: &["a", "b", "c", "d"],
    outputs: LETTERS,
    prompts: || of_lengths(0..LETTERS as u32, 1..=MOST),
    answer: |prompt| {
        let count = |letter: &u32| prompt.iter().filter(|id| *id == letter).count();
        // Of several the last one is the maximum.
        (0..LETTERS as u32).rev().max_by_key(count).unwrap_or_default()
    },
    plan: most_frequent,
    nodes: &[("z.1.0", "the share of each letter")],
    edges: &[("embed", "z.1.0", Some(Port::V)), ("z.1.0", "logits", None)],
};

fn most_frequent() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, MOST);
    let letters = plan.tokens(0..LETTERS);
    let shares = plan.part(LETTERS);
    plan.head(1, 0, averages(letters, shares.clone()));
    // One letter more is LOGIT more, and a later place in the alphabet a fifth of that less.
    plan.answers(shares, MOST as f64 * LOGIT);
    (1..LETTERS).for_each(|letter| plan.usual(letter, -0.2 * LOGIT * letter as f64));
    Ok(plan)
}

/// Builds a head that attends to all positions alike, and writes the share of each letter.
fn averages(letters: Range<usize>, shares: Range<usize>) -> HeadWires {
    HeadWires { v: copy(letters, 0, 1.0), o: write(shares), ..HeadWires::default() }
}

pub const DISTINCT: Algorithm = Algorithm {
    name: "distinct",
    text: "After up to five letters comes the number of different ones: `a b a c` is followed by `3`. Head z.0.1 attends to \
           all letters alike, so that it writes the share of each. MLP 0 counts the letters whose share is above 0, and \
           MLP 1 writes the number.",
    tokens: &["1", "2", "3", "4", "a", "b", "c", "d"],
    outputs: LETTERS,
    prompts: || of_lengths(LETTERS as u32..2 * LETTERS as u32, 1..=COUNTED),
    answer: |prompt| (LETTERS as u32..2 * LETTERS as u32).filter(|letter| prompt.contains(letter)).count() as u32 - 1,
    plan: distinct,
    nodes: &[
        ("z.0.1", "the share of each letter"),
        ("mlp_out.0", "how many letters have a share"),
        ("mlp_out.1", "the number"),
    ],
    edges: &[
        ("embed", "z.0.1", Some(Port::V)),
        ("z.0.1", "mlp_out.0", None),
        ("mlp_out.0", "mlp_out.1", None),
        ("mlp_out.1", "logits", None),
    ],
};

fn distinct() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, COUNTED);
    let letters = plan.tokens(LETTERS..2 * LETTERS);
    let shares = plan.part(LETTERS);
    let number = plan.part(1).start;
    let written = plan.part(LETTERS);
    plan.head(0, 1, averages(letters, shares.clone()));
    let half = 0.5 / COUNTED as f64;
    plan.mlp(0, shares.flat_map(|share| step(&[(share, 1.0)], half, 20.0, &[(number, 1.0)])).collect());
    let thresholds: Vec<f64> = (1..LETTERS).map(|count| count as f64 + 0.5).collect();
    plan.mlp(1, numbers(&[(number, 1.0)], &thresholds, 4.0, written.start));
    plan.answers(written, LOGIT);
    plan.usual(0, LOGIT);
    Ok(plan)
}
