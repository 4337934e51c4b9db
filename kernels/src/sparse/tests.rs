//! Sparse rows, products that are filtered and never stored, and sums, against plain loops.

use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;

use super::*;
use crate::arguments::adam::AdamW;
use crate::base::instructions::{InstructionSet, arch};
use crate::linear::rounded::Bf16Rows;
use crate::optimiser::adamw_step;

/// Returns small whole numbers, so that sums are exact and many are equal.
fn numbers(len: usize, turn: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + turn * 104_729) % 11) as f32 - 5.0).collect()
}

struct ScoreCase {
    x: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    sizes: ScoreSizes,
}

impl ScoreCase {
    fn new(rows: usize, inner: usize, columns: usize) -> Self {
        let sizes = ScoreSizes { rows, inner, columns };
        Self { x: numbers(rows * inner, 1), weights: numbers(columns * inner, 2), bias: numbers(columns, 3), sizes }
    }

    fn product(&self) -> Product<'_> {
        Product { x: &self.x, weights: &self.weights, bias: &self.bias, sizes: self.sizes, rounded: None }
    }

    /// Returns all scores of a row with their columns.
    fn scores(&self, row: usize) -> Vec<(u32, f32)> {
        let x = &self.x[row * self.sizes.inner..(row + 1) * self.sizes.inner];
        let score = |column: usize| {
            let weights = &self.weights[column * self.sizes.inner..(column + 1) * self.sizes.inner];
            x.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>() + self.bias[column]
        };
        (0..self.sizes.columns).map(|column| (column as u32, score(column))).collect()
    }
}

/// Returns the numbers of a row in the order of columns.
fn sorted(rows: &SparseRows, row: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<_> = rows.range(row).map(|i| (rows.columns[i], rows.values[i])).collect();
    all.sort_by_key(|(column, _)| *column);
    all
}

/// Returns the `count` largest scores above 0, of equal ones the first, in the order of columns.
fn first(mut scores: Vec<(u32, f32)>, count: usize) -> Vec<(u32, f32)> {
    scores.retain(|(_, score)| *score > 0.0);
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.truncate(count);
    scores.sort_by_key(|(column, _)| *column);
    scores
}

fn at_every_level(test: impl Fn()) {
    InstructionSet::ALL.into_iter().for_each(|level| level.limit(&test));
}

#[test]
fn the_largest_of_rows_are_those_that_sorting_finds() {
    for (rows, inner, columns) in [(1, 1, 1), (3, 5, 7), (33, 8, 129), (40, 17, 300), (50, 66, 530)] {
        let case = ScoreCase::new(rows, inner, columns);
        for k in [1, 2, 5, 20, 300].into_iter().filter(|k| *k <= columns) {
            at_every_level(|| {
                let found = case.product().largest_of_rows(k).unwrap();
                assert_eq!(found.rows(), rows);
                for row in 0..rows {
                    assert_eq!(sorted(&found, row), first(case.scores(row), k), "{k} of {columns}, row {row}");
                }
            });
        }
    }
}

#[test]
fn the_largest_of_all_are_those_that_sorting_finds() {
    let sizes = [(3, 6, 7, 4), (33, 6, 129, 66), (40, 6, 300, 1), (40, 6, 300, 12_000), (60, 64, 520, 300)];
    // The last ones have enough rows to estimate the floor.
    for (rows, inner, columns, count) in sizes.into_iter().chain([(1030, 3, 40, 2000), (1030, 3, 40, 41_000)]) {
        let case = ScoreCase::new(rows, inner, columns);
        let found = case.product().largest_of_all(count).unwrap();
        let all = (0..rows)
            .flat_map(|row| case.scores(row).into_iter().map(move |(c, s)| (row as u32 * columns as u32 + c, s)));
        let expected = first(all.collect(), count);
        let places = (0..rows)
            .flat_map(|row| sorted(&found, row).into_iter().map(move |(c, s)| (row as u32 * columns as u32 + c, s)));
        assert_eq!(places.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn few_are_those_from_their_floors_on_or_nothing() {
    for (rows, inner, columns, lift) in [(21, 6, 140, 0.0), (60, 70, 530, 200.0)] {
        let case = ScoreCase::new(rows, inner, columns);
        let floors: Vec<f32> = numbers(columns, 4).into_iter().map(|floor| floor + lift).collect();
        at_every_level(|| {
            assert!(case.product().few(AtLeast::Positive, 0.01).is_none());
            let found = |floor| case.product().few(floor, 1.0).unwrap();
            let positive = found(AtLeast::Positive);
            let above = found(AtLeast::Floors(&floors));
            let from = found(AtLeast::Number(lift));
            for row in 0..rows {
                assert_eq!(sorted(&positive, row), first(case.scores(row), columns));
                let reach = |floor: &dyn Fn(u32) -> f32| -> Vec<_> {
                    case.scores(row).into_iter().filter(|(column, score)| *score >= floor(*column)).collect()
                };
                assert_eq!(sorted(&above, row), reach(&|column| floors[column as usize]));
                assert_eq!(sorted(&from, row), reach(&|_| lift));
            }
        });
    }
}

/// Checks the largest and all positive scores of factors that are rounded to whole numbers, with and without screening.
#[test]
fn rounded_factors_are_multiplied_in_the_place_of_the_others() {
    for (rows, inner, columns) in [(33, 8, 129), (60, 64, 520), (1030, 3, 40)] {
        let case = ScoreCase::new(rows, inner, columns);
        // By less than half a step of bf16.
        let moved = |numbers: &[f32]| numbers.iter().map(|x| x * (1.0 + 1.0 / 1024.0)).collect::<Vec<_>>();
        let x = moved(&case.x);
        let weights = moved(&case.weights);
        let factors = [&x, &weights].map(|numbers| Bf16Rows::of(numbers, inner));
        let rounded = Some(Bf16Factors { x: &factors[0], weights: &factors[1] });
        let product = Product { x: &x, weights: &weights, rounded, ..case.product() };
        at_every_level(|| {
            let largest = product.largest_of_rows(5).unwrap();
            let positive = product.few(AtLeast::Positive, 1.0).unwrap();
            let of_all = product.largest_of_all(300).unwrap();
            let expected = case.product().largest_of_all(300).unwrap();
            for row in 0..rows {
                assert_eq!(sorted(&largest, row), first(case.scores(row), 5));
                assert_eq!(sorted(&positive, row), first(case.scores(row), columns));
                assert_eq!(sorted(&of_all, row), sorted(&expected, row));
            }
        });
    }
}

#[test]
fn nan_is_kept() {
    for (rows, inner, columns) in [(20, 6, 140), (50, 64, 520)] {
        for place in 0..3 {
            let mut case = ScoreCase::new(rows, inner, columns);
            [&mut case.bias, &mut case.weights, &mut case.x][place][100] = f32::NAN;
            let found = case.product().largest_of_rows(2).unwrap();
            let count = found.values.iter().filter(|value| value.is_nan()).count();
            assert_eq!(count, if place == 2 { 2 } else { rows });
        }
    }
}

#[test]
fn columns_that_are_all_alike_are_no_harm() {
    let mut case = ScoreCase::new(60, 64, 520);
    (case.x, case.weights, case.bias) = (vec![0.3; 60 * 64], vec![0.7; 520 * 64], vec![0.0; 520]);
    // Some rows are zero.
    case.x[..640].fill(0.0);
    let found = case.product().largest_of_rows(3).unwrap();
    for row in 0..60 {
        let columns: Vec<u32> = sorted(&found, row).into_iter().map(|(column, _)| column).collect();
        assert_eq!(columns, if row < 10 { vec![] } else { vec![0, 1, 2] });
    }
    assert_eq!(case.product().few(AtLeast::Positive, 1.0).unwrap().values.len(), 50 * 520);
}

#[test]
fn rows_are_added_and_multiplied() {
    for width in [1, 15, 16, 37] {
        let matrix = numbers(9 * width, 1);
        let vector = numbers(width, 2);
        let rows = [8u32, 0, 3, 3, 5, 1, 7];
        at_every_level(|| {
            let arch = crate::base::instructions::arch();
            let mut sum = vector.clone();
            let mut products = [0.0; 7];
            add_rows(arch, &mut sum, &matrix, rows.len(), |i| (rows[i], i as f32));
            dots_with_rows(arch, &mut products, &vector, &matrix, &rows);
            let row = |row: u32| &matrix[row as usize * width..(row as usize + 1) * width];
            for column in 0..width {
                let expected: f32 = (0..7).map(|i| i as f32 * row(rows[i])[column]).sum();
                assert_eq!(sum[column], vector[column] + expected);
            }
            for (product, r) in products.iter().zip(rows) {
                assert_eq!(*product, row(r).iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>());
            }
        });
    }
}

#[test]
fn sums_are_those_of_the_columns_and_spreads_about_their_means() {
    let rows = numbers(130 * 7, 1);
    let mut sums = vec![0.0; 7];
    add_columns(arch(), &mut sums, &rows);
    let sum = |column: usize| rows.iter().skip(column).step_by(7).map(|x| f64::from(*x)).sum::<f64>();
    assert_eq!(sums, (0..7).map(sum).collect::<Vec<_>>());
    let about_means = |rows: &[f32]| {
        let means: Vec<f64> = (0..7)
            .map(|column| rows.iter().skip(column).step_by(7).map(|x| f64::from(*x)).sum::<f64>() / 130.0)
            .collect();
        rows.iter().enumerate().map(|(i, x)| (f64::from(*x) - means[i % 7]).powi(2)).sum::<f64>()
    };
    // Far from 0 as well, where most of the squares cancel.
    for middle in [0.0, 1.0, -3000.0] {
        let rows: Vec<f32> = rows.iter().map(|x| x + middle).collect();
        let expected = about_means(&rows);
        assert!((spread(&rows, 7) / expected - 1.0).abs() < 1e-8, "{} for {expected}", spread(&rows, 7));
    }
    assert_eq!(spread(&[0.1; 130 * 7], 7), 0.0);
    assert_eq!(spread(&[0.0; 130 * 7], 7), 0.0);
}

#[test]
fn adam_takes_rows_that_are_not_there_for_zeros() {
    let var = |turn| Var::from_tensor(&Tensor::from_vec(numbers(15, turn), (5, 3), &Device::Cpu).unwrap()).unwrap();
    let positive = || Var::from_tensor(&var(3).abs().unwrap()).unwrap();
    let settings = AdamW { rate: 0.1, betas: [0.9, 0.99], eps: 1e-8, decay: 0.0, shrink: 0.5, begun: [0.2, 0.1] };
    let there = [true, false, true, true, false];
    let given = numbers(15, 4);
    let whole: Vec<f32> = given.iter().enumerate().map(|(i, g)| if there[i / 3] { *g } else { 0.0 }).collect();
    let whole = Tensor::from_vec(whole, (5, 3), &Device::Cpu).unwrap();
    let one = [var(1), var(2), positive()];
    let other = [var(1), var(2), positive()];
    let rows = RowGradients { numbers: &given, width: 3, there: &there };
    adam_rows(&one[0], rows, [&one[1], &one[2]], settings, false).unwrap();
    adamw_step(&other[0], &whole, [&other[1], &other[2]], settings).unwrap();
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.to_vec2::<f32>().unwrap(), other.to_vec2::<f32>().unwrap());
    }
    adam_rows(&one[0], rows, [&one[1], &one[2]], settings, true).unwrap();
    for row in one[0].to_vec2::<f32>().unwrap() {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    }
    let narrow = RowGradients { numbers: &given, width: 5, there: &there };
    assert!(adam_rows(&one[0], narrow, [&one[1], &one[2]], settings, false).is_err());
}

proptest! {
    #[test]
    fn turned_rows_have_the_same_numbers(places in proptest::collection::vec((0u32..6, 0u32..9, -4i8..4), 0..40)) {
        let all = places.iter().map(|(row, column, value)| (*row, *column, f32::from(*value)));
        let rows = SparseRows::of(6, all.clone());
        let slopes: Vec<f32> = (0..rows.values.len()).map(|i| i as f32).collect();
        let turned = ByColumn::of(&rows, &slopes, 9);
        let mut found = Vec::new();
        for column in 0..9 {
            let places = turned.column(column);
            prop_assert!(places.is_sorted_by_key(|place| place.row));
            for place in places {
                prop_assert_eq!(rows.values[place.slope as usize], place.value);
                found.push((place.row, column as u32, place.value as i8));
            }
        }
        let mut expected = places;
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
