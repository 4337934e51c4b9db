//! Tests that screening finds what computing all scores finds, on distinct numbers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{ScoreSizes, SparseRows};
use super::*;
use crate::base::instructions::InstructionSet;
use crate::linear::rounded::Bf16Rows;

/// Returns numbers around 0, whose scale differs between rows, with some outlier coordinates.
fn numbers(rows: usize, width: usize, turn: u64, larger: f32) -> Vec<f32> {
    let mut state = turn * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut number = |index: usize| {
        let sum = next() + next() + next();
        sum * if index % width < 2 { larger } else { 1.0 } * (1.0 + (index / width % 5) as f32)
    };
    (0..rows * width).map(&mut number).collect()
}

/// Returns the scores that were kept, by row and column.
fn by_place(kept: &SparseRows) -> BTreeMap<(usize, u32), f32> {
    let row = |row: usize| kept.range(row).map(move |index| ((row, kept.columns[index]), kept.values[index]));
    (0..kept.rows()).flat_map(row).collect()
}

/// Asserts that scores differ by the rounding of sums in another order, and that one which is kept by one alone lies at the edge
/// of what is kept.
fn assert_same_but_for_rounding(found: &SparseRows, expected: &SparseRows, edge: impl Fn(usize, u32) -> f32) {
    const ROUNDING: f32 = 1e-3;
    let found = by_place(found);
    let expected = by_place(expected);
    for (place, score) in &found {
        let other = expected.get(place).copied().unwrap_or_else(|| edge(place.0, place.1));
        assert!((score - other).abs() < ROUNDING, "{score} for {other} at {place:?}");
    }
    for (place, score) in expected.iter().filter(|(place, _)| !found.contains_key(place)) {
        let edge = edge(place.0, place.1);
        assert!((score - edge).abs() < ROUNDING, "{score} is missing at {place:?}, beside {edge}");
    }
}

fn assert_it_finds_the_same([inner, columns_of]: [usize; 2], turn: u64, larger: f32) {
    let rows = 50;
    let x = numbers(rows, inner, turn, larger);
    let weights = numbers(columns_of, inner, turn + 1, 1.0);
    let bias = numbers(columns_of, 1, turn + 2, 1.0);
    let sizes = ScoreSizes { rows, inner, columns: columns_of };
    let product = Product { x: &x, weights: &weights, bias: &bias, sizes, rounded: None };
    assert_it_finds_the_same_of(product);
    let rounded = Bf16Factors { x: &Bf16Rows::of(&x, inner), weights: &Bf16Rows::of(&weights, inner) };
    assert_it_finds_the_same_of(Product { rounded: Some(rounded), ..product });
}

fn assert_it_finds_the_same_of(product: Product) {
    let floors: Vec<f32> = product.bias.iter().map(|bias| 60.0 + bias).collect();
    let kept = || {
        let few = |floor| product.few(floor, 1.0).unwrap();
        [
            product.largest_of_rows(1).unwrap(),
            product.largest_of_rows(16).unwrap(),
            product.largest_of_all(400).unwrap(),
            few(AtLeast::Number(80.0)),
            few(AtLeast::Floors(&floors)),
        ]
    };
    let expected = InstructionSet::Scalar.limit(kept);
    for instructions in [InstructionSet::Avx2, InstructionSet::Best] {
        assert_same_where_screened(&floors, &instructions.limit(kept), &expected);
    }
}

/// Asserts that what screening keeps is what computing all scores keeps.
fn assert_same_where_screened(floors: &[f32], found: &[SparseRows; 5], expected: &[SparseRows; 5]) {
    let least = |scores: &[f32]| scores.iter().copied().fold(f32::INFINITY, f32::min);
    for which in [0, 1] {
        let of_row = |row, _| least(&expected[which].values[expected[which].range(row)]);
        assert_same_but_for_rounding(&found[which], &expected[which], of_row);
    }
    assert_same_but_for_rounding(&found[2], &expected[2], |_, _| least(&expected[2].values));
    assert_same_but_for_rounding(&found[3], &expected[3], |_, _| 80.0);
    assert_same_but_for_rounding(&found[4], &expected[4], |_, column| floors[column as usize]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn it_finds_the_same(inner in 64usize..90, columns_of in 512usize..600, turn in 0u64..1000, larger in 1f32..9.0) {
        assert_it_finds_the_same([inner, columns_of], turn, larger);
    }
}

#[test]
fn a_score_at_the_floor_may_be_on_either_side_of_it() {
    assert_it_finds_the_same([79, 512], 471, 7.3712983);
}

#[test]
fn it_is_used_where_it_pays_and_numbers_are_finite() {
    let with = |rows: usize, inner: usize, columns: usize, wanted: WantedScores, bad: f32| {
        let mut x = vec![1.0; rows * inner];
        let weights = vec![0.5; columns * inner];
        let bias = vec![0.0; columns];
        x[0] = bad;
        let sizes = ScoreSizes { rows, inner, columns };
        let product = Product { x: &x, weights: &weights, bias: &bias, sizes, rounded: None };
        let screen = ScoreScreen::of(&product, wanted)?;
        struct Nothing;
        impl KeepScores for Nothing {
            fn look<S: pulp::Simd>(&mut self, _: S, _: usize, _: usize, _: &mut [f32], _: &[f32]) {}
            fn see(&mut self, _: usize, _: &[u32], _: &[f32]) {}
        }
        Some(screen.look(0..rows, &mut Nothing))
    };
    let is_there = search(arch()).is_some();
    let above = WantedScores::From(AtLeast::Number(1000.0));
    assert_eq!(with(60, 64, 520, above, 1.0), is_there.then_some(true));
    assert_eq!(with(60, 64, 520, above, f32::NAN), is_there.then_some(false));
    // All are candidates.
    assert_eq!(with(60, 64, 520, WantedScores::From(AtLeast::Positive), 1.0), is_there.then_some(false));
    assert_eq!(with(60, 64, 520, WantedScores::Largest(100), 1.0), None);
    assert_eq!(with(60, 64, 100, above, 1.0), None);
    assert_eq!(with(60, 8, 520, above, 1.0), None);
    assert_eq!(with(8, 64, 520, above, 1.0), None);
    assert_eq!(InstructionSet::Scalar.limit(|| with(60, 64, 520, above, 1.0)), None);
}
