//! Delta rules with a decay for each coordinate: the loops and their gradients agree with the reference implementation.

use candle_core::Tensor;

use super::super::*;
use super::back::check;
use super::recurrence::{check_carried, narrow, wide};
use super::{assert_close, at_every_level, numbers};
use crate::base::error::Result;

/// Rows, columns, heads, and the sizes of keys and values: those that fill registers, and others.
const SIZES: [[usize; 5]; 4] = [[2, 5, 3, 3, 5], [1, 35, 2, 16, 16], [1, 33, 1, 5, 24], [1, 1, 2, 4, 7]];

/// Draws reads, logarithms of decays, keys, removal keys, rates and values.
fn drawn([rows, columns, heads, d_key, d_value]: [usize; 5]) -> [Tensor; 6] {
    let of_keys = |scale: f32, seed: u64| numbers(&[rows, columns, heads, d_key], scale, seed);
    let removed = of_keys(1.0, 4);
    let length = removed.sqr().unwrap().sum_keepdim(3).unwrap().sqrt().unwrap();
    [
        of_keys(1.0, 1),
        of_keys(0.5, 2).abs().unwrap().neg().unwrap(),
        of_keys(1.0, 3),
        removed.broadcast_div(&length).unwrap(),
        of_keys(1.0, 5).abs().unwrap(),
        numbers(&[rows, columns, heads, d_value], 1.0, 6),
    ]
}

fn inputs(all: &[Tensor]) -> DeltaRuleInputs<'_> {
    let [read, decay, key, removed, rate, value] = all else { panic!("six arguments") };
    DeltaRuleInputs { read, decay, key, removed, rate, value }
}

#[test]
fn loops_read_what_the_reference_reads() {
    at_every_level(|| {
        for sizes in SIZES {
            let all = drawn(sizes);
            let [rows, _, heads, d_key, d_value] = sizes;
            let exact = all.each_ref().map(wide);
            for before in [None, Some(numbers(&[rows, heads, d_key, d_value], 1.0, 7))] {
                let (found, last) = delta_rule(&inputs(&all), before.as_ref(), true).unwrap();
                let begun = before.as_ref().map(wide);
                let (expected, end) = delta_rule(&inputs(&exact), begun.as_ref(), true).unwrap();
                assert_close(&found, &narrow(&expected), 1e-5, 1.0);
                assert_close(&last.unwrap(), &narrow(&end.unwrap()), 1e-5, 1.0);
                let states = delta_rule_states(&inputs(&exact), begun.as_ref(), None).unwrap();
                let read = delta_rule_read(&inputs(&exact), &states).unwrap();
                assert_close(&narrow(&read), &narrow(&expected), 1e-6, 1.0);
            }
        }
    });
}

#[test]
fn the_reference_is_the_recurrence() {
    let [_, columns, _, d_key, d_value] = SIZES[0];
    let all = drawn(SIZES[0]).map(|x| wide(&x));
    let (found, _) = delta_rule(&inputs(&all), None, false).unwrap();
    let of = |x: &Tensor| -> Vec<Vec<f64>> {
        x.get(1).unwrap().narrow(1, 2, 1).unwrap().squeeze(1).unwrap().to_vec2().unwrap()
    };
    let [read, decay, key, removed, rate, value] = all.each_ref().map(of);
    let found = of(&found);
    let mut state = vec![vec![0.0; d_value]; d_key];
    for t in 0..columns {
        let known: Vec<f64> = (0..d_value).map(|j| (0..d_key).map(|i| removed[t][i] * state[i][j]).sum()).collect();
        for (i, row) in state.iter_mut().enumerate() {
            for (j, x) in row.iter_mut().enumerate() {
                *x = decay[t][i].exp() * *x - rate[t][i] * removed[t][i] * known[j] + key[t][i] * value[t][j];
            }
        }
        for j in 0..d_value {
            let wanted: f64 = (0..d_key).map(|i| read[t][i] * state[i][j]).sum();
            assert!((found[t][j] - wanted).abs() < 1e-12);
        }
    }
}

#[test]
fn gradients_of_delta_rules() {
    at_every_level(|| {
        for sizes in SIZES {
            check(&drawn(sizes), 2e-5, 4.0, |all| -> Result<Tensor> { Ok(delta_rule(&inputs(all), None, false)?.0) });
        }
    });
}

#[test]
fn what_is_added_to_a_state_is_carried_on() {
    check_carried(&drawn(SIZES[0]), |all, before, added| delta_rule_states(&inputs(all), before, added));
}
