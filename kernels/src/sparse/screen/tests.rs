//! Tests that screening finds what computing all scores finds, on distinct numbers.

use proptest::prelude::*;

use super::super::{ScoreSizes, SparseRows};
use super::*;
use crate::base::instructions::InstructionSet;

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

/// Returns rows, columns and numbers in order.
fn sorted(found: &SparseRows) -> Vec<(usize, u32, f32)> {
    let row = |row: usize| found.range(row).map(move |index| (row, found.columns[index], found.values[index]));
    let mut all: Vec<_> = (0..found.rows()).flat_map(row).collect();
    all.sort_by_key(|(row, column, _)| (*row, *column));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn it_finds_the_same(inner in 64usize..90, columns_of in 512usize..600, turn in 0u64..1000, larger in 1f32..9.0) {
        let rows = 50;
        let x = numbers(rows, inner, turn, larger);
        let weights = numbers(columns_of, inner, turn + 1, 1.0);
        let bias = numbers(columns_of, 1, turn + 2, 1.0);
        let sizes = ScoreSizes { rows, inner, columns: columns_of };
        let product = Product { x: &x, weights: &weights, bias: &bias, sizes };
        let floors: Vec<f32> = bias.iter().map(|bias| 60.0 + bias).collect();
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
        let found = kept();
        let expected = InstructionSet::Avx2.limit(kept);
        for (found, expected) in found.iter().zip(&expected) {
            let found = sorted(found);
            let expected = sorted(expected);
            prop_assert_eq!(found.len(), expected.len());
            for (a, b) in found.into_iter().zip(expected) {
                prop_assert_eq!((a.0, a.1), (b.0, b.1));
                prop_assert!((a.2 - b.2).abs() < 1e-3, "{} for {}", a.2, b.2);
            }
        }
    }
}

#[test]
fn it_is_used_where_it_pays_and_numbers_are_finite() {
    let with = |rows: usize, inner: usize, columns: usize, wanted: WantedScores, bad: f32| {
        let mut x = vec![1.0; rows * inner];
        let weights = vec![0.5; columns * inner];
        let bias = vec![0.0; columns];
        x[0] = bad;
        let product = Product { x: &x, weights: &weights, bias: &bias, sizes: ScoreSizes { rows, inner, columns } };
        let screen = ScoreScreen::of(&product, wanted)?;
        struct Nothing;
        impl KeepScores for Nothing {
            fn look<S: pulp::Simd>(&mut self, _: S, _: usize, _: usize, _: &mut [f32], _: &[f32]) {}
            fn see(&mut self, _: usize, _: &[u32], _: &[f32]) {}
        }
        Some(screen.look(0..rows, &mut Nothing))
    };
    let is_there = tiles::are_there(arch());
    let above = WantedScores::From(AtLeast::Number(1000.0));
    assert_eq!(with(60, 64, 520, above, 1.0), is_there.then_some(true));
    assert_eq!(with(60, 64, 520, above, f32::NAN), is_there.then_some(false));
    // All are candidates.
    assert_eq!(with(60, 64, 520, WantedScores::From(AtLeast::Positive), 1.0), is_there.then_some(false));
    assert_eq!(with(60, 64, 520, WantedScores::Largest(100), 1.0), None);
    assert_eq!(with(60, 64, 100, above, 1.0), None);
    assert_eq!(with(60, 8, 520, above, 1.0), None);
    assert_eq!(with(8, 64, 520, above, 1.0), None);
    assert_eq!(InstructionSet::Avx2.limit(|| with(60, 64, 520, above, 1.0)), None);
}
