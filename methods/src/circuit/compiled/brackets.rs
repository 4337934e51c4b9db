//! Questions with the answers yes and no: whether brackets close, whether a pattern occurs.

use super::plan::{HARD, HeadWires, LOGIT, Neuron, WeightPlan, step};
use super::{Algorithm, of_lengths};
use crate::base::Result;
use crate::circuit::graph::Port;

const OPENING: u32 = 2;
const CLOSING: u32 = 3;
const START: u32 = 4;
/// The largest number of brackets.
const BRACKETS_MOST: usize = 8;

pub const BRACKETS: Algorithm = Algorithm {
    name: "parity of brackets",
    text: "After `^` and up to eight brackets comes whether each one has its partner: `^ ( ( ) )` is followed by `yes`, \
           `^ ) (` by `no`. Head z.0.0 attends to all positions alike and finds opening minus closing, as a share. MLP 0 \
           marks positions where that is below 0, and head z.1.1 finds whether there was one. MLP 1 says no if there was, or \
           if more were opened than closed.",
    tokens: &["yes", "no", "(", ")", "^"],
    outputs: 2,
    prompts: || {
        let all = of_lengths(OPENING..CLOSING + 1, 1..=BRACKETS_MOST);
        all.into_iter().map(|brackets| [&[START], brackets.as_slice()].concat()).collect()
    },
    answer: |prompt| {
        let depths = prompt.iter().scan(0_i32, |depth, id| {
            *depth += i32::from(*id == OPENING) - i32::from(*id == CLOSING);
            Some(*depth)
        });
        let (lowest, last) = depths.fold((0, 0), |(lowest, _), depth| (depth.min(lowest), depth));
        u32::from(lowest < 0 || last != 0)
    },
    plan: brackets,
    nodes: &[
        ("z.0.0", "opening minus closing brackets so far"),
        ("mlp_out.0", "whether more were closed than opened"),
        ("z.1.1", "whether that ever was so"),
        ("mlp_out.1", "whether a bracket lacks its partner"),
    ],
    edges: &[
        ("embed", "z.0.0", Some(Port::V)),
        ("z.0.0", "mlp_out.0", None),
        ("mlp_out.0", "z.1.1", Some(Port::V)),
        ("z.0.0", "mlp_out.1", None),
        ("z.1.1", "mlp_out.1", None),
        ("mlp_out.1", "logits", None),
    ],
};

fn brackets() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, BRACKETS_MOST + 1);
    let value = |token: usize| match token as u32 {
        OPENING => 1.0,
        CLOSING => -1.0,
        _ => 0.0,
    };
    let bracket = plan.token_value(value, START as usize + 1);
    let [depth, below, ever, no] = [(); 4].map(|()| plan.part(1).start);
    let average =
        |of: usize, to: usize| HeadWires { v: vec![(of, 0, 1.0)], o: vec![(0, to, 1.0)], ..HeadWires::default() };
    plan.head(0, 0, average(bracket, depth));
    // One bracket of nine positions is a share of 1 / 9.
    let half = 0.5 / (BRACKETS_MOST + 1) as f64;
    plan.mlp(0, step(&[(depth, -1.0)], half, 20.0, &[(below, 1.0)]).into());
    plan.head(1, 1, average(below, ever));
    let [open, lacking] = [depth, ever].map(|of| step(&[(of, 1.0)], half, 20.0, &[(no, 1.0)]));
    plan.mlp(1, open.into_iter().chain(lacking).collect());
    says_no(&mut plan, no, 1);
    Ok(plan)
}

/// Makes one answer the usual one; the logit of the other exceeds it where `dim` of the residual stream is 1.
fn says_no(plan: &mut WeightPlan, dim: usize, output: usize) {
    plan.usual(1 - output, LOGIT);
    plan.answer(dim, output, 2.0 * LOGIT);
}

const A: u32 = 2;
const B: u32 = 3;
/// The largest number of letters among which a pattern is sought.
const PATTERN_MOST: usize = 6;

pub const PATTERN: Algorithm = Algorithm {
    name: "pattern",
    text: "After up to six letters comes whether `b` ever followed `a` directly: `c a b` is followed by `yes`. Head z.0.0 \
           attends to the position before and finds whether `a` stands there. MLP 0 marks positions with `b` behind `a`. \
           Head z.1.1 attends to a mark if there is one, else to the first position, and tells the two apart.",
    tokens: &["yes", "no", "a", "b", "c"],
    outputs: 2,
    prompts: || of_lengths(A..B + 2, 1..=PATTERN_MOST),
    answer: |prompt| u32::from(!prompt.windows(2).any(|two| two == [A, B])),
    plan: pattern,
    nodes: &[
        ("z.0.0", "whether `a` stands before"),
        ("mlp_out.0", "whether this is `b` behind `a`"),
        ("z.1.1", "whether that occurs"),
    ],
    edges: &[
        ("embed", "z.0.0", Some(Port::V)),
        ("z.0.0", "mlp_out.0", None),
        ("embed", "mlp_out.0", None),
        ("mlp_out.0", "z.1.1", Some(Port::K)),
        ("z.1.1", "logits", None),
    ],
};

fn pattern() -> Result<WeightPlan> {
    let mut plan = WeightPlan::new(2, 2, PATTERN_MOST);
    let [a, b] = [A, B].map(|token| plan.tokens(token as usize..token as usize + 1).start);
    let first = plan.position_value(|position| if position == 0 { 1.0 } else { 0.0 });
    let later = plan.position_value(|position| if position == 0 { 0.0 } else { 1.0 });
    let [behind, found, yes] = [(); 3].map(|()| plan.part(1).start);
    let (q, k) = plan.seek(&[(plan.place, 1.0), (plan.one, -1.0)], 0);
    plan.head(0, 0, HeadWires { q, k, v: vec![(a, 0, 1.0)], o: vec![(0, behind, 1.0)] });
    let both = Neuron { reads: vec![(behind, 1.0), (b, 1.0)], bias: -1.0, writes: vec![(found, 1.0)] };
    plan.mlp(0, vec![both]);
    let looks = HeadWires {
        q: vec![(plan.one, 0, HARD)],
        k: vec![(found, 0, 2.0), (first, 0, 1.0)],
        v: vec![(later, 0, 1.0)],
        o: vec![(0, yes, 1.0)],
    };
    plan.head(1, 1, looks);
    says_no(&mut plan, yes, 0);
    Ok(plan)
}
