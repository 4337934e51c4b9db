//! Scans: the loops and their gradients agree with the reference implementation.

use candle_core::{DType, Tensor};

use super::super::*;
use super::back::check;
use super::{assert_close, numbers};
use crate::base::error::Result;

/// Rows, columns, heads, the inputs of a head, groups, and the size of a state: those that fill registers, and others.
const SIZES: [[usize; 6]; 4] = [[2, 5, 4, 3, 2, 7], [1, 35, 6, 1, 1, 16], [1, 33, 2, 4, 1, 24], [1, 1, 3, 2, 3, 5]];

/// Draws inputs, steps, writes, reads and rates.
fn drawn([rows, columns, heads, d_head, groups, state]: [usize; 6], rates: usize) -> [Tensor; 5] {
    [
        numbers(&[rows, columns, heads, d_head], 1.0, 1),
        numbers(&[rows, columns, heads], 0.8, 2).abs().unwrap(),
        numbers(&[rows, columns, groups, state], 1.0, 3),
        numbers(&[rows, columns, groups, state], 1.0, 4),
        numbers(&[heads, rates], 1.5, 5).abs().unwrap().neg().unwrap(),
    ]
}

fn inputs(all: &[Tensor]) -> ScanInputs<'_> {
    let [x, dt, b, c, rate] = all else { panic!("five arguments") };
    ScanInputs { x, dt, b, c, rate }
}

fn each(check: impl Fn([usize; 6], usize)) {
    for sizes in SIZES {
        check(sizes, 1);
        check(sizes, sizes[5]);
    }
}

pub fn wide(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F64).unwrap()
}

pub fn narrow(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F32).unwrap()
}

#[test]
fn loops_read_what_the_reference_reads() {
    each(|sizes, rates| {
        let all = drawn(sizes, rates);
        let [rows, _, heads, d_head, _, state] = sizes;
        let exact = all.each_ref().map(wide);
        for before in [None, Some(numbers(&[rows, heads, d_head, state], 1.0, 6))] {
            let (found, last) = scan(&inputs(&all), before.as_ref(), true).unwrap();
            let begun = before.as_ref().map(wide);
            let (expected, end) = scan(&inputs(&exact), begun.as_ref(), true).unwrap();
            assert_close(&found, &narrow(&expected), 1e-5, 1.0);
            assert_close(&last.unwrap(), &narrow(&end.unwrap()), 1e-5, 1.0);
            let states = scan_states(&inputs(&exact), begun.as_ref(), None).unwrap();
            let read = states_read(&inputs(&exact), &states).unwrap();
            assert_close(&narrow(&read), &narrow(&expected), 1e-6, 1.0);
        }
    });
}

#[test]
fn gradients_of_scans() {
    each(|sizes, rates| {
        check(&drawn(sizes, rates), 2e-5, 4.0, |all| -> Result<Tensor> { Ok(scan(&inputs(all), None, false)?.0) });
    });
}

/// Checks that what is added to the third of five states is carried on; `states` computes those of arguments.
pub fn check_carried(all: &[Tensor], states: impl Fn(&[Tensor], Option<&Tensor>, Option<&Tensor>) -> Result<Tensor>) {
    let all: Vec<Tensor> = all.iter().map(wide).collect();
    let plain = states(&all, None, None).unwrap();
    let state = plain.narrow(1, 1, 1).unwrap();
    let nothing = state.zeros_like().unwrap();
    let added = Tensor::cat(&[&nothing, &nothing, &state, &nothing, &nothing], 1).unwrap();
    let found = states(&all, None, Some(&added)).unwrap();
    assert_close(&narrow(&found.narrow(1, 0, 2).unwrap()), &narrow(&plain.narrow(1, 0, 2).unwrap()), 0.0, 0.0);
    // The rest of a text reads the state behind its first tokens, whatever it is.
    let rest = all.iter().map(|x| if x.rank() == 2 { x.clone() } else { x.narrow(1, 3, 2).unwrap() });
    let before = (plain.narrow(1, 2, 1).unwrap() + &state).unwrap().squeeze(1).unwrap();
    let alone = states(&rest.collect::<Vec<_>>(), Some(&before), None).unwrap();
    assert_close(&narrow(&found.narrow(1, 3, 2).unwrap()), &narrow(&alone), 1e-6, 1.0);
}

#[test]
fn what_is_added_to_a_state_is_carried_on() {
    check_carried(&drawn(SIZES[0], 1), |all, before, added| scan_states(&inputs(all), before, added));
}
