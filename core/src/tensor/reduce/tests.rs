//! Tests of the reductions: plain loops over odd shapes, every dtype, and NaN.

use proptest::prelude::*;

use super::*;
use crate::base::Kind;
use crate::tensor::create;
use crate::tensor::fixture::t;

fn f64s(t: Result<Tensor>) -> Vec<f64> {
    element::floats(&t.unwrap()).unwrap()
}

const VAR: Reduction = Var { correction: 1.0 };

#[test]
fn every_reduction_over_every_dtype() {
    let expected = [
        (Sum, 15.0),
        (Prod, 48.0),
        (Mean, 3.75),
        (Min, 1.0),
        (Max, 6.0),
        (Any, 1.0),
        (All, 1.0),
        (Norm { p: 1.0 }, 15.0),
        (Norm { p: f64::INFINITY }, 6.0),
        (Norm { p: 0.0 }, 4.0),
        (Median, 4.0),
        (Quantile { q: 1.0 / 3.0 }, 4.0),
        (Var { correction: 0.0 }, 3.1875),
    ];
    for dtype in dtype::ALL {
        let x = t(&[1.0, 4.0, 6.0, 4.0, 2.0, 2.0, 2.0, 2.0], &[2, 4], dtype);
        for (how, value) in expected {
            let value = if how == Prod { 96.0 } else { value };
            let result = reduce(&x, how, Some(&[-1]), false).unwrap();
            assert_eq!(result.dims(), [2]);
            let tolerance = if dtype == DType::BF16 { 0.02 } else { 1e-3 };
            let found = f64s(Ok(result))[0];
            assert!((found - value).abs() <= tolerance * value, "{how:?} {dtype:?} {found}");
        }
        let mask = reduce(&x, Any, None, false).unwrap();
        assert_eq!(mask.dtype(), DType::U8);
    }
}

#[test]
fn sums_are_exact() {
    let ones = t(&vec![1.0; 20_000_000], &[20_000_000], DType::F32);
    assert_eq!(number(&ones, Sum), Ok(Number::Float(2e7)));
    assert_eq!(number(&ones.to_dtype(DType::F16).unwrap(), Mean), Ok(Number::Float(1.0)));
    let bits = t(&vec![1.0; 1000], &[1000], DType::U8);
    assert_eq!(number(&bits, Sum), Ok(Number::Int(1000)));
    assert_eq!(reduce(&bits, Sum, Some(&[0]), false).unwrap().dtype(), DType::I64);
    let large = create::from_numbers(&[Number::Int(i64::MAX), Number::Int(1)], &[2], DType::I64).unwrap();
    assert_eq!(number(&large, Max), Ok(Number::Int(i64::MAX)));
    assert_eq!(number(&large, Sum).unwrap_err().kind, Kind::Numeric);
}

#[test]
fn nothing_and_too_little() {
    let none = t(&[], &[0, 3], DType::F32);
    assert_eq!(f64s(reduce(&none, Sum, Some(&[0]), false)), [0.0; 3]);
    assert_eq!(f64s(reduce(&none, Prod, Some(&[0]), true)), [1.0; 3]);
    assert_eq!(f64s(reduce(&none, Mean, Some(&[1]), false)), [] as [f64; 0]);
    assert_eq!(f64s(reduce(&none, All, Some(&[0]), false)), [1.0; 3]);
    for how in [Mean, Min, Max, Median, LogSumExp, VAR] {
        assert_eq!(reduce(&none, how, Some(&[0]), false).unwrap_err().kind, Kind::Numeric, "{how:?}");
    }
    let message = number(&none, Max).unwrap_err().message;
    assert_eq!(message, "expected elements to take the max of, found none: shape [0, 3]");
    assert!(number(&t(&[1.0], &[1], DType::F32), VAR).unwrap_err().hint.unwrap().contains("correction"));
    assert!(number(&t(&[1.0], &[1], DType::F32), Quantile { q: 1.5 }).is_err());
    assert_eq!(number(&t(&[5.0], &[], DType::F32), Sum), Ok(Number::Float(5.0)));
}

#[test]
fn nan_and_infinity_go_through() {
    let x = t(&[1.0, f64::NAN, 3.0], &[3], DType::F32);
    for how in [Sum, Mean, Min, Max, Median, LogSumExp, VAR, Norm { p: 2.0 }, Norm { p: f64::INFINITY }] {
        let Ok(Number::Float(value)) = number(&x, how) else { panic!("{how:?}") };
        assert!(value.is_nan(), "{how:?}");
    }
    let infinite = t(&[f64::NEG_INFINITY, f64::NEG_INFINITY], &[2], DType::F64);
    assert_eq!(number(&infinite, LogSumExp), Ok(Number::Float(f64::NEG_INFINITY)));
    assert_eq!(number(&infinite, Median), Ok(Number::Float(f64::NEG_INFINITY)));
    let large = t(&[1000.0, 1000.0], &[2], DType::F64);
    assert_eq!(number(&large, LogSumExp), Ok(Number::Float(1000.0 + 2.0_f64.ln())));
}

#[test]
fn gradients_agree_with_the_values() {
    let values = [1.0, -2.0, 3.0, 0.5, 2.0, -1.0];
    let x = candle_core::Var::from_tensor(&t(&values, &[2, 3], DType::F64)).unwrap();
    for how in [Sum, Mean, VAR, Std { correction: 0.0 }, Min, Max, Norm { p: 2.0 }, Norm { p: 3.0 }, LogSumExp] {
        for over in [&[0][..], &[1], &[0, 1]] {
            let tracked = reduce(&x, how, Some(over), false).unwrap();
            let plain = reduce(&x.detach(), how, Some(over), false).unwrap();
            assert_eq!(tracked.dims(), plain.dims());
            for (a, b) in f64s(Ok(tracked.clone())).into_iter().zip(f64s(Ok(plain))) {
                assert!((a - b).abs() < 1e-12, "{how:?}");
            }
            assert!(tracked.sum_all().unwrap().backward().unwrap().get(&x).is_some(), "{how:?}");
        }
    }
}

proptest! {
    #[test]
    fn reductions_are_the_plain_loops(
        dims in prop::collection::vec(1_usize..5, 1..4),
        chosen in prop::collection::vec(any::<bool>(), 3),
        long in any::<bool>(),
    ) {
        // Now and then one axis is longer than a tile.
        let dims: Vec<usize> = if long { [dims, vec![37]].concat() } else { dims };
        let over: Vec<i64> = (0..dims.len()).filter(|i| chosen[i % 3]).map(|i| i as i64 - dims.len() as i64).collect();
        let count: usize = dims.iter().product();
        let x = t(&(0..count).map(|i| ((i * 7919) % 101) as f64).collect::<Vec<_>>(), &dims, DType::F64);
        let flat = f64s(Ok(x.clone()));
        let real: Vec<usize> = over.iter().map(|a| (a + dims.len() as i64) as usize).collect();
        let kept = axes::reduced(&dims, &real, true);
        let mut sums = vec![0.0; kept.iter().product()];
        let mut most = vec![f64::NEG_INFINITY; sums.len()];
        for (i, value) in flat.iter().enumerate() {
            // The place of the element among the kept axes.
            let mut rest = i;
            let mut place = 0;
            let mut stride = 1;
            for axis in (0..dims.len()).rev() {
                let at = rest % dims[axis];
                rest /= dims[axis];
                if kept[axis] > 1 || !real.contains(&axis) {
                    place += at * stride;
                    stride *= kept[axis];
                }
            }
            sums[place] += value;
            most[place] = most[place].max(*value);
        }
        let found = reduce(&x, Sum, Some(&over), true).unwrap();
        prop_assert_eq!(found.dims(), &kept[..]);
        prop_assert_eq!(f64s(Ok(found)), sums);
        prop_assert_eq!(f64s(reduce(&x, Max, Some(&over), false)), most);
    }
}
