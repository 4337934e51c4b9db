//! Models that write a sequence in another order: reversed, sorted.

use super::plan::{HARD, HeadWires, LOGIT, WeightPlan, copy, step, write};
use super::{Algorithm, of_lengths, sequences};
use crate::base::Result;
use crate::circuit::graph::Port;

/// The number of different letters.
const LETTERS: usize = 4;
const TOKENS: [&str; LETTERS + 1] = ["a", "b", "c", "d", ">"];
const MARK: u32 = LETTERS as u32;
/// The largest number of letters that are reversed, and the number that are sorted.
const LENGTH: usize = 5;
/// The length of the longest prompt: letters, the separator, and all but the last letter once more.
const CONTEXT: usize = 2 * LENGTH;

/// Returns each sequence with the separator and every beginning of what follows it.
fn with_beginnings(all: Vec<Vec<u32>>, then: fn(&[u32]) -> Vec<u32>) -> Vec<Vec<u32>> {
    let prompts = |letters: Vec<u32>| {
        let behind = then(&letters);
        (0..letters.len()).map(move |written| [&letters, &[MARK][..], &behind[..written]].concat())
    };
    all.into_iter().flat_map(prompts).collect()
}

/// Returns the letter after a prompt: of what follows its letters, the first that is not written yet.
fn next(prompt: &[u32], then: fn(&[u32]) -> Vec<u32>) -> u32 {
    let letters = prompt.split(|id| *id == MARK).next().unwrap_or_default();
    let written = prompt.len().saturating_sub(letters.len() + 1);
    then(letters).get(written).copied().unwrap_or_default()
}

fn reversed(letters: &[u32]) -> Vec<u32> {
    letters.iter().rev().copied().collect()
}

fn sorted(letters: &[u32]) -> Vec<u32> {
    let mut sorted = letters.to_vec();
    sorted.sort_unstable();
    sorted
}

pub const REVERSE: Algorithm = Algorithm {
    name: "reverse",
    text: "After up to five letters and `>` the letters come again in reverse: `a b c > c b` is followed by `a`. Head \
           z.0.1 attends to `>` and reads its position s. Head z.1.0, at position p, seeks position 2 s - 1 - p and copies \
           the letter that stands there.",
    tokens: &TOKENS,
    outputs: LETTERS,
    prompts: || with_beginnings(of_lengths(0..LETTERS as u32, 1..=LENGTH), reversed),
    answer: |prompt| next(prompt, reversed),
    plan: reverse,
    nodes: &[("z.0.1", "the position of `>`"), ("z.1.0", "the letter at the mirrored position")],
    edges: &[
        ("embed", "z.0.1", Some(Port::K)),
        ("z.0.1", "z.1.0", Some(Port::Q)),
        ("embed", "z.1.0", Some(Port::V)),
        ("z.1.0", "logits", None),
    ],
};

fn reverse() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, CONTEXT);
    let letters = plan.tokens(0..LETTERS);
    let mark = plan.tokens(LETTERS..LETTERS + 1).start;
    let middle = plan.part(1).start;
    let written = plan.part(LETTERS);
    let attends_to_mark = HeadWires {
        q: vec![(plan.one, 0, HARD)],
        k: vec![(mark, 0, 1.0)],
        v: vec![(plan.place, 0, 1.0)],
        o: vec![(0, middle, 1.0)],
    };
    plan.head(0, 1, attends_to_mark);
    let (q, k) = plan.seek(&[(middle, 2.0), (plan.place, -1.0), (plan.one, -1.0)], 0);
    let copies = HeadWires { q, k, v: copy(letters, 0, 1.0), o: write(written.clone()) };
    plan.head(1, 0, copies);
    plan.answers(written, LOGIT);
    Ok(plan)
}

pub const SORT: Algorithm = Algorithm {
    name: "sort",
    text: "After five letters and `>` the letters come again in the order of the alphabet: `c a b a d > a a` is followed by \
           `b`. Head z.1.1 attends to the five letters alike, and so counts, for each letter, how many are not behind it in \
           the alphabet. MLP 1 writes the first letter whose count is above the number of letters written so far, which it \
           knows from the position (counting sort).",
    tokens: &TOKENS,
    outputs: LETTERS,
    prompts: || with_beginnings(sequences(0..LETTERS as u32, LENGTH), sorted),
    answer: |prompt| next(prompt, sorted),
    plan: sort,
    nodes: &[("z.1.1", "how many letters are not behind each one"), ("mlp_out.1", "the letter whose turn it is")],
    edges: &[("embed", "z.1.1", Some(Port::V)), ("z.1.1", "mlp_out.1", None), ("mlp_out.1", "logits", None)],
};

fn sort() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, CONTEXT);
    let letters = plan.tokens(0..LETTERS);
    let shares = plan.part(LETTERS - 1);
    let written = plan.part(LETTERS);
    let unsorted = plan.position_value(|position| if position < LENGTH { 1.0 } else { 0.0 });
    // Between the shares of as many letters as are written, and of one more.
    let threshold = plan.position_value(|position| (position as f64 - LENGTH as f64 + 0.5) / LENGTH as f64);
    let below = |letter: usize| (letter..LETTERS - 1).map(move |place| (letter, place));
    let counts = HeadWires {
        q: vec![(plan.one, 0, HARD)],
        k: vec![(unsorted, 0, 1.0)],
        v: (0..LETTERS).flat_map(below).map(|(letter, place)| (letters.start + letter, place, 1.0)).collect(),
        o: write(shares.clone()),
    };
    plan.head(1, 1, counts);
    let turn = |place: usize| {
        let reads = [(shares.start + place, 1.0), (threshold, -1.0)];
        step(&reads, 0.0, 20.0, &[(written.start + place, 1.0), (written.start + place + 1, -1.0)])
    };
    plan.mlp(1, (0..LETTERS - 1).flat_map(turn).collect());
    plan.answers(written, LOGIT);
    plan.usual(LETTERS - 1, LOGIT);
    Ok(plan)
}
