//! Tests of the measures: identities, and batches cut anywhere.

use kit::assert_near;
use proptest::prelude::*;

use super::*;
use crate::base::{Task, random::stream};
use crate::sae::metrics::{CodedBatch, MeasureOptions, Meter};
use crate::tensor::{DType, Device, Tensor, create};

fn drawn(rows: usize, width: usize, seed: u64) -> Tensor {
    let x = create::randn(&[rows, width], DType::F32, &mut stream(seed, "x", 0)).unwrap();
    x.affine(2.0, 30.0).unwrap()
}

fn measured(x: &Tensor, codes: &Tensor, x_hat: &Tensor) -> Result<Measures> {
    let positions: Vec<u32> = (0..x.dim(0)? as u32).map(|row| row % 3).collect();
    let mut meter = Meter::new(x.dim(1)?, codes.dim(1)?, MeasureOptions::default())?;
    meter.add(CodedBatch { x, codes, x_hat, positions: Some(&positions) }, &Task::default())?;
    meter.finish()
}

#[test]
fn the_identity_is_perfect_and_the_mean_explains_nothing() {
    let x = drawn(50, 4, 1);
    let same = measured(&x, &x, &x).unwrap();
    assert_eq!((same.mse, same.fve, same.fve_raw, same.slope), (0.0, Some(1.0), Some(1.0), Some(1.0)));
    assert_near(Some(same.cosine), 1.0, 1e-5);
    assert_near(same.norm_ratio, 1.0, 1e-5);
    assert_near(same.relative_bias, 1.0, 1e-5);
    assert!(same.dimensions.iter().all(|along| *along == Dimension { mse: 0.0, fve: Some(1.0) }));
    assert!(same.positions.iter().all(|at| at.fve == Some(1.0)));
    assert_eq!(same.by_dimension().rows[3], [Cell::Int(3), Cell::Float(0.0), Cell::Float(1.0)]);
    assert_eq!((same.value("fve").unwrap(), same.value("rows").unwrap()), (Cell::Float(1.0), Cell::Int(50)));
    let error = same.value("fvee").unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `fve`?"));
    assert_eq!(same.positions.iter().map(|at| at.rows).collect::<Vec<_>>(), [17, 17, 16]);

    let mean = x.mean_keepdim(0).unwrap().broadcast_as(x.shape()).unwrap().contiguous().unwrap();
    let flat = measured(&x, &x.zeros_like().unwrap(), &mean).unwrap();
    assert_near(flat.fve, 0.0, 1e-5);
    assert_near(flat.slope, 0.0, 1e-5);
    flat.dimensions.iter().for_each(|along| assert_near(along.fve, 0.0, 1e-5));
    flat.positions.iter().for_each(|at| assert_near(at.fve, 0.0, 1e-5));
    assert!(flat.fve_raw.unwrap() > 0.98);
    assert_eq!((flat.l0, flat.l1, flat.features.dead_share()), (0.0, 0.0, 1.0));

    let nothing = measured(&x, &x, &x.zeros_like().unwrap()).unwrap();
    assert_near(nothing.fve_raw, 0.0, 1e-5);
    assert_eq!((nothing.cosine, nothing.norm_ratio, nothing.relative_bias), (0.0, Some(0.0), None));
}

#[test]
fn numbers_are_those_of_their_formulas() {
    let tensor = |rows: [[f32; 2]; 2]| Tensor::new(&rows, &Device::Cpu).unwrap();
    let x = tensor([[1.0, 0.0], [3.0, 4.0]]);
    let x_hat = tensor([[1.0, 1.0], [3.0, 2.0]]);
    let codes = Tensor::new(&[[0.0_f32, -2.0, 0.0], [0.5, 3.0, 0.0]], &Device::Cpu).unwrap();
    let found = measured(&x, &codes, &x_hat).unwrap();
    // Errors: 0, -1, 0, 2. About the mean (2, 2): 1 + 4 a row.
    assert_eq!((found.mse, found.fve, found.fve_raw), (1.25, Some(0.5), Some(1.0 - 5.0 / 26.0)));
    assert_eq!(found.dimensions[0], Dimension { mse: 0.0, fve: Some(1.0) });
    assert_eq!(found.dimensions[1], Dimension { mse: 2.5, fve: Some(1.0 - 5.0 / 8.0) });
    assert_near(Some(found.cosine), (1.0 / 2.0_f64.sqrt() + 17.0 / (5.0 * 13.0_f64.sqrt())) / 2.0, 1e-5);
    assert_near(found.norm_ratio, (2.0_f64.sqrt() + 13.0_f64.sqrt() / 5.0) / 2.0, 1e-5);
    assert_eq!((found.l0, found.l1), (1.5, 2.75));
    // (-1)(-1) + (-2)(-0.5) + 1 * 1 + 2 * 0.5 = 4, of 10.
    assert_near(found.slope, 0.4, 1e-5);
    assert_near(found.relative_bias, 15.0 / 18.0, 1e-5);
    assert_eq!((found.features.fired.clone(), found.features.dead()), (vec![1, 2, 0], 1));
    assert_eq!(found.table().rows.len(), 12);
}

#[test]
fn half_as_far_from_the_mean_has_half_the_slope() {
    let x = drawn(40, 3, 2);
    let mean = x.mean_keepdim(0).unwrap();
    let x_hat = x.broadcast_add(&mean).unwrap().affine(0.5, 0.0).unwrap();
    let found = measured(&x, &x, &x_hat).unwrap();
    assert_near(found.slope, 0.5, 1e-5);
    assert_near(found.fve, 0.75, 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn it_does_not_matter_how_rows_are_cut_into_batches(cuts in prop::collection::vec(1_usize..300, 1..6), seed in any::<u64>()) {
        let rows = cuts.iter().sum();
        let x = drawn(rows, 3, seed);
        let x_hat = drawn(rows, 3, seed ^ 1);
        let codes = drawn(rows, 5, seed ^ 2).relu().unwrap();
        let whole = measured(&x, &codes, &x_hat).unwrap();
        let mut meter = Meter::new(3, 5, MeasureOptions::default()).unwrap();
        let mut start = 0;
        for count in cuts {
            let part = |t: &Tensor| t.narrow(0, start, count).unwrap();
            let positions: Vec<u32> = (start..start + count).map(|row| row as u32 % 3).collect();
            let x = part(&x);
            let codes = part(&codes);
            let x_hat = part(&x_hat);
            let seen = CodedBatch { x: &x, codes: &codes, x_hat: &x_hat, positions: Some(&positions) };
            meter.add(seen, &Task::default()).unwrap();
            start += count;
        }
        // Bit for bit.
        prop_assert_eq!(meter.finish().unwrap(), whole);
    }
}

#[test]
fn parts_of_the_variance_make_up_the_whole() {
    let x = drawn(90, 4, 5);
    let x_hat = drawn(90, 4, 6);
    let found = measured(&x, &x, &x_hat).unwrap();
    let mean = x.mean_keepdim(0).unwrap();
    let spread = x.broadcast_sub(&mean).unwrap().sqr().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
    let of = |position: usize| spread.iter().skip(position).step_by(3).map(|s| f64::from(*s)).sum::<f64>();
    let total: f64 = (0..3).map(of).sum();
    let together: f64 = found.positions.iter().map(|at| at.fve.unwrap() * of(at.position) / total).sum();
    assert!((together - found.fve.unwrap()).abs() < 1e-5);
}

#[test]
fn a_large_mean_costs_no_digits() {
    let spread = [-1.0_f32, 1.0, -1.0, 1.0];
    let x = Tensor::from_vec(spread.map(|s| 1e6 + s).to_vec(), (4, 1), &Device::Cpu).unwrap();
    let x_hat = Tensor::from_vec(spread.map(|s| 1e6 + s / 2.0).to_vec(), (4, 1), &Device::Cpu).unwrap();
    assert_near(measured(&x, &x, &x_hat).unwrap().fve, 0.75, 1e-5);
}

#[test]
fn what_does_not_vary_has_no_share_and_what_is_broken_is_named() {
    let zero = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
    let found = measured(&zero, &zero, &zero).unwrap();
    assert_eq!((found.fve, found.fve_raw, found.norm_ratio, found.cosine), (None, None, None, 1.0));
    assert_eq!(found.table().rows[2][1], Cell::Missing);
    let broken = Tensor::new(&[[0.0_f32, 1.0], [f32::NAN, 0.0]], &Device::Cpu).unwrap();
    let two = zero.narrow(0, 0, 2).unwrap();
    let error = measured(&two, &broken, &two).unwrap_err();
    assert_eq!(error.message, "expected finite codes, found NaN in row 1, column 0");
    assert!(measured(&two, &zero, &two).unwrap_err().message.contains("for each of 2 activations, found 4"));
    assert!(Meter::new(2, 3, MeasureOptions::default()).unwrap().finish().is_err());
}
