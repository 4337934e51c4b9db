//! Models that look for earlier tokens: induction, and the name that occurs once.

use super::plan::{HARD, HeadWires, LOGIT, WeightPlan, copy, write};
use super::{Algorithm, of_lengths, sequences};
use crate::circuit::graph::Port;
use crate::common::*;

const LETTERS: usize = 4;
const NONE: u32 = LETTERS as u32;
const START: u32 = NONE + 1;
/// The largest number of letters in a prompt.
const MOST: usize = 6;

/// Scores of the induction head: a match, each position later, and the start, which exceeds all that do not match.
const MATCH: f64 = 80.0;
const LATER: f64 = 10.0;
const FIRST: f64 = 75.0;

pub const INDUCTION: Algorithm = Algorithm {
    name: "induction",
    text: "After `^` and up to six letters comes the letter that followed the last one when it occurred before, the latest \
           time: `^ a b c a` is followed by `b`; or `?`, if it did not. Head z.0.1 copies the letter before each position. \
           Head z.1.0 seeks the latest position behind a letter equal to its own, or else `^`, and copies what stands there.",
    tokens: &["a", "b", "c", "d", "?", "^"],
    outputs: LETTERS + 1,
    prompts: || {
        let all = of_lengths(0..NONE, 1..=MOST);
        all.into_iter().map(|letters| [&[START], letters.as_slice()].concat()).collect()
    },
    answer: |prompt| {
        let Some((last, before)) = prompt.split_last() else { return NONE };
        let found = before.iter().rposition(|id| id == last);
        found.and_then(|place| prompt.get(place + 1)).copied().unwrap_or(NONE)
    },
    plan: induction,
    nodes: &[("z.0.1", "the letter before"), ("z.1.0", "what followed this letter before")],
    edges: &[
        ("embed", "z.0.1", Some(Port::V)),
        ("embed", "z.1.0", Some(Port::Q)),
        ("z.0.1", "z.1.0", Some(Port::K)),
        ("embed", "z.1.0", Some(Port::V)),
        ("z.1.0", "logits", None),
    ],
};

fn induction() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, MOST + 1);
    let letters = plan.tokens(0..LETTERS);
    let start = plan.tokens(START as usize..START as usize + 1).start;
    let first = plan.position_value(|position| if position == 0 { 1.0 } else { 0.0 });
    let before = plan.part(LETTERS);
    let written = plan.part(LETTERS + 1);
    let (q, k) = plan.seek(&[(plan.place, 1.0), (plan.one, -1.0)], 0);
    plan.head(0, 1, HeadWires { q, k, v: copy(letters.clone(), 0, 1.0), o: write(before.clone()) });
    let constant = LETTERS;
    let continues = HeadWires {
        q: copy(letters.clone(), 0, MATCH).into_iter().chain([(plan.one, constant, 1.0)]).collect(),
        k: copy(before, 0, 1.0).into_iter().chain([(plan.place, constant, LATER), (first, constant, FIRST)]).collect(),
        v: copy(letters, 0, 1.0).into_iter().chain([(start, NONE as usize, 1.0)]).collect(),
        o: write(written.clone()),
    };
    plan.head(1, 0, continues);
    plan.answers(written, LOGIT);
    Ok(plan)
}

const NAMES: usize = 6;
const TO: u32 = NAMES as u32;

pub const INDIRECT_OBJECT: Algorithm = Algorithm {
    name: "indirect object",
    text: "After two names, one of them again, and `to` comes the other one: `Ann Bob Ann to` is followed by `Bob`. Head \
           z.0.0, at the third name, attends to the equal one of the first two and copies it. Head z.1.1 copies that from \
           the third name to `to`. Head z.2.0 attends to the first two names but not to this one, and copies what it finds: \
           the plan of Wang et al. 2022, of which trained models have a variant.",
    tokens: &["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "to"],
    outputs: NAMES,
    prompts: || {
        let two = sequences(0..TO, 2).into_iter().filter(|names| names[0] != names[1]);
        two.flat_map(|names| [0, 1].map(|again| [names[0], names[1], names[again], TO].to_vec())).collect()
    },
    answer: |prompt| {
        let repeated = prompt.get(2);
        prompt.iter().take(2).find(|name| Some(*name) != repeated).copied().unwrap_or_default()
    },
    plan: indirect_object,
    nodes: &[
        ("z.0.0", "the name that occurs twice, at the third name"),
        ("z.1.1", "the same at the end"),
        ("z.2.0", "the other name"),
    ],
    edges: &[
        ("embed", "z.0.0", Some(Port::Q)),
        ("embed", "z.0.0", Some(Port::K)),
        ("embed", "z.0.0", Some(Port::V)),
        ("z.0.0", "z.1.1", Some(Port::V)),
        ("z.1.1", "z.2.0", Some(Port::Q)),
        ("embed", "z.2.0", Some(Port::K)),
        ("embed", "z.2.0", Some(Port::V)),
        ("z.2.0", "logits", None),
    ],
};

fn indirect_object() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(3, 2, 4);
    let names = plan.tokens(0..NAMES);
    let early = plan.position_value(|position| if position < 2 { 1.0 } else { 0.0 });
    let third = plan.position_value(|position| if position == 2 { 1.0 } else { 0.0 });
    let [twice, held_back, written] = [(); 3].map(|()| plan.part(NAMES));
    // Early positions are sought by all queries, and by what they have of a name those that have it, or lack it.
    let seeks = |plan: &WeightPlan, name: Range<usize>, weight: f64| HeadWires {
        q: copy(name, 0, weight).into_iter().chain([(plan.one, NAMES, HARD)]).collect(),
        k: copy(names.clone(), 0, 1.0).into_iter().chain([(early, NAMES, 1.0)]).collect(),
        v: copy(names.clone(), 0, 1.0),
        o: Vec::new(),
    };
    plan.head(0, 0, HeadWires { o: write(twice.clone()), ..seeks(&plan, names.clone(), HARD) });
    let moves = HeadWires {
        q: vec![(plan.one, 0, HARD)],
        k: vec![(third, 0, 1.0)],
        v: copy(twice, 0, 1.0),
        o: write(held_back.clone()),
    };
    plan.head(1, 1, moves);
    plan.head(2, 0, HeadWires { o: write(written.clone()), ..seeks(&plan, held_back, -HARD) });
    plan.answers(written, LOGIT);
    Ok(plan)
}
