//! State spaces: gradients at sites of the recurrence, caches, and edits of states.

use kit::{far, largest};
use microtome::base::Task;
use microtome::model::batch::Batch;
use microtome::model::decoder::Past;
use microtome::model::run::Ask;
use microtome::tensor::DType;

use super::checks::{Line, check_refusals, checked_edits, checked_gradients, decoder, edit, place, text};

pub const STATE_SPACES: [&str; 3] = ["falcon_mamba", "mamba", "mamba2"];

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in STATE_SPACES {
        let names = ["ssm_x.0", "ssm_b.1", "ssm_c.0", "ssm_dt.1", "ssm_state.0", "ssm_state.1", "ssm_gate.2", "embed"];
        checked_gradients(&decoder(family, DType::F64), &text(family)[..7], 3..7, names, 1e-5);
    }
}

/// A later edit finds the states that an earlier one left.
#[test]
fn edits_of_states_are_carried_on_as_by_a_cache() {
    for family in STATE_SPACES {
        let edits = [(7, Line(0.5, -0.2)), (2, Line(0.0, 0.0)), (8, Line(-1.0, 0.1))];
        let model = decoder(family, DType::F64);
        let change = checked_edits(&model, &text(family)[..10], "ssm_state.*", &edits, &["ssm_state.1", "ssm_read.2"]);
        assert!(largest(change.narrow(1, 9, 1).unwrap()) > 1e-3, "{family}");
    }
}

/// Behind a state of zeros, the first layer reads what it reads of the tokens from there on, with those that the
/// convolution sees.
#[test]
fn nothing_is_remembered_through_a_state_of_zeros() {
    for family in STATE_SPACES {
        let model = decoder(family, DType::F64);
        let text = text(family);
        let seen = model.config().ssm.as_ref().unwrap().kernel - 1;
        let place = place(&model, "ssm_read.0");
        let read = |from: usize| {
            let batch = Batch::new(vec![text[from..].to_vec()]).unwrap();
            let hooks = vec![edit(&model, "ssm_state.*", (9 - from) as i64, Line(0.0, 0.0))];
            let ask = Ask { hooks, places: vec![place], ..Ask::default() };
            let found = model.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap();
            found.narrow(1, 10 - from, text.len() - 10).unwrap()
        };
        assert!(far(read(0), read(10 - seen)) < 1e-12, "{family}");
    }
}

#[test]
fn a_cache_of_texts_of_different_lengths_has_the_states_of_each() {
    for family in STATE_SPACES.into_iter().chain(["rwkv7"]) {
        let model = decoder(family, DType::F64);
        let long = text(family);
        let short = long[3..8].to_vec();
        let after = |rows: Vec<Vec<u32>>| {
            let mut past = Past::new();
            let task = Task::default();
            let more = vec![vec![5, 9, 11]; rows.len()];
            model.run_behind(&mut past, &Batch::new(rows).unwrap(), Ask::default(), &task).unwrap();
            model.run_behind(&mut past, &Batch::new(more).unwrap(), Ask::default(), &task).unwrap().logits
        };
        let both = after(vec![long.clone(), short.clone()]);
        assert!(far(after(vec![long]), both.narrow(0, 0, 1).unwrap()) < 1e-9, "{family}");
        assert!(far(after(vec![short]), both.narrow(0, 1, 1).unwrap()) < 1e-9, "{family}");
    }
}

#[test]
fn what_needs_attention_or_an_mlp_says_so() {
    check_refusals(
        "mamba2",
        &[
            ("m.cache(x, \"pattern.0\")", "mamba2 models of this kind have no site `pattern`"),
            ("m.cache(x, \"mlp_out.0\")", "mamba2 models of this kind have no site `mlp_out`"),
            ("m.qk(0, 0)", "expected attention, found a layer with a state space, which has no heads of attention"),
            ("m.ov(0, 0)", "expected attention, found a layer with a state space, which has no heads of attention"),
            ("circuit::edges(m, [pair])", "this model has state spaces in place of attention"),
        ],
        // By heads, such a layer is shown as a whole.
        &["m.attribution(x[0], 5, #{ by: \"head\" })"],
    );
}
