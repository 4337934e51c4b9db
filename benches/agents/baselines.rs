//! What stands beside the solver: calls that measure nothing of what is asked, and cheap looks that do not intervene.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::calls::Calls;
use super::questions::{Field, Question};
use super::solver::{chosen, script};

/// Answers by random calls: each possible answer gets the effect of noise at a random site on random tokens, and the largest
/// wins. Parts with more values than that are drawn, as numbers are.
pub fn by_random_calls(question: &Question, calls: &mut dyn Calls) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(question.seed);
    let mut answer = question.drawn(&mut random);
    let asked = &question.asked;
    let is_listed = asked.fields.iter().all(|(_, field)| match field {
        Field::Integer { from, to } => to - from < 64,
        Field::Number { .. } => false,
        _ => true,
    });
    if is_listed {
        let text = format!("run::restart({});\n{}", question.seed, include_str!("baselines/random.rhai"));
        let reply = calls.run(&script(&text, asked, 1));
        assert!(!reply.is_error, "{}, seed {}: {}", question.kind, question.seed, reply.text);
        answer = chosen(asked, &reply.value, &[]).unwrap().0;
    }
    answer
}

/// Answers by a cheap look: what is largest or nearest without running the model on anything, or without changing it.
pub fn by_a_look(question: &Question, calls: &mut dyn Calls) -> Value {
    let text = match question.kind {
        "head" => include_str!("baselines/head.rhai"),
        "edge" => include_str!("baselines/edge.rhai"),
        "circuit" => include_str!("baselines/circuit.rhai"),
        "layer" => include_str!("baselines/layer.rhai"),
        "subspace" => include_str!("baselines/subspace.rhai"),
        "backdoor" => include_str!("baselines/backdoor.rhai"),
        "adapter" => include_str!("baselines/adapter.rhai"),
        "site" => include_str!("baselines/site.rhai"),
        "feature" => include_str!("baselines/feature.rhai"),
        _ => include_str!("baselines/number.rhai"),
    };
    let reply = calls.run(&script(text, &question.asked, 1));
    assert!(!reply.is_error, "{}, seed {}: {}", question.kind, question.seed, reply.text);
    chosen(&question.asked, &reply.value, &[]).unwrap().0
}
