//! Attention, whole and in steps, against its reference implementation.

use candle_core::{DType, Device, Tensor};

use super::super::*;
use super::{assert_close, at_every_level, list, numbers, strided};
use crate::attention::plain::{attention_plain, mix_plain, pattern_plain, scores_plain};

pub(super) fn reaches(gap: &Gap) -> Vec<Reach<'_>> {
    let whole = Reach { causal: true, window: None, past: 0, gap: None, alibi: None };
    vec![
        whole.clone(),
        Reach { causal: false, ..whole.clone() },
        Reach { window: Some(2), ..whole.clone() },
        Reach { window: Some(2), causal: false, ..whole.clone() },
        Reach { past: 3, ..whole.clone() },
        Reach { past: 3, window: Some(1), ..whole.clone() },
        Reach { gap: Some(gap), ..whole.clone() },
        Reach { gap: Some(gap), past: 3, ..whole.clone() },
        Reach { gap: Some(gap), past: 4, window: Some(3), ..whole.clone() },
        Reach { gap: Some(gap), past: 4, causal: false, ..whole.clone() },
        Reach { gap: Some(gap), window: Some(2), causal: false, ..whole.clone() },
        Reach { gap: Some(gap), past: 4, window: Some(3), causal: false, ..whole },
    ]
}

pub(super) fn alibi(heads: usize) -> Alibi {
    Alibi { slopes: Alibi::slopes(heads, 8.0), factor: 0.7, rounded: false }
}

/// Returns causal reaches with biases.
pub(super) fn biased_reaches<'a>(gap: &'a Gap, alibi: &'a Alibi) -> Vec<Reach<'a>> {
    let causal = reaches(gap).into_iter().filter(|reach| reach.causal);
    causal.map(|reach| Reach { alibi: Some(alibi), ..reach }).collect()
}

#[test]
fn slopes_are_those_of_the_paper() {
    assert_eq!(Alibi::slopes(8, 8.0), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
    assert_eq!(Alibi::slopes(6, 8.0), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    assert_eq!(Alibi::slopes(1, 8.0), [0.00390625]);
    assert_eq!(Alibi::slopes(2, 4.0), [0.25, 0.0625]);
    assert!(Alibi::slopes(0, 8.0).is_empty());
    let sixteen = Alibi::slopes(16, 8.0);
    assert_eq!((sixteen[0], sixteen[1], sixteen[15]), (std::f32::consts::FRAC_1_SQRT_2, 0.5, 0.00390625));
    let twelve = Alibi::slopes(12, 8.0);
    assert_eq!(twelve[..8], Alibi::slopes(8, 8.0));
    assert_eq!(twelve[8..], [sixteen[0], sixteen[2], sixteen[4], sixteen[6]]);
}

#[test]
fn biases_are_slopes_times_positions() {
    let plain = Alibi { slopes: Alibi::slopes(16, 8.0), factor: 0.5, rounded: false };
    assert_eq!(plain.bias(1, 7), 0.5 * 7.0 * 0.5);
    // As torch multiplies a slope in bf16 by a whole number; the exact product is 212.84.
    let rounded = Alibi { rounded: true, ..plain };
    assert_eq!(rounded.bias(0, 301), 212.0 * 0.5);
}

#[test]
fn keys_have_the_bias_of_their_position_in_their_own_text() {
    let alibi = alibi(2);
    let gap = Gap { lengths: vec![2, 4], width: 4 };
    let zeros = Tensor::zeros((2, 1, 2, 3), DType::F32, &Device::Cpu).unwrap();
    let keys = Tensor::zeros((2, 6, 2, 3), DType::F32, &Device::Cpu).unwrap();
    let reach = Reach { causal: true, past: 5, gap: Some(&gap), alibi: Some(&alibi), ..Reach::default() };
    let found = list(&scores(&zeros, &keys, 1.0, None, &reach).unwrap());
    // Columns 2 and 3 of the first text are padding.
    assert_eq!(found[..2], [alibi.bias(0, 0), alibi.bias(0, 1)]);
    assert_eq!(found[4..6], [alibi.bias(0, 2), alibi.bias(0, 3)]);
    assert_eq!(found[18..], (0..6).map(|at| alibi.bias(1, at)).collect::<Vec<_>>());
    let wrong = Alibi { slopes: vec![1.0], ..alibi.clone() };
    assert!(attention(&zeros, &keys, &keys, 1.0, None, &Reach { alibi: Some(&wrong), ..reach }).is_err());
}

#[test]
fn runs_of_keys_are_those_that_are_seen() {
    let gap = Gap { lengths: vec![1, 4, 3], width: 4 };
    for reach in reaches(&gap) {
        for (row, query, keys) in
            (0..3).flat_map(|row| (0..6).flat_map(move |query| [1, 4, 5, 9].map(|keys| (row, query, keys))))
        {
            let [near, far] = reach.seen(row, query, keys);
            assert!(near.start <= near.end && near.end <= far.start && far.start <= far.end && far.end <= keys);
            for key in 0..keys {
                let found = near.contains(&key) || far.contains(&key);
                assert_eq!(found, reach.sees(row, query, key), "{reach:?} row {row} query {query} key {key} of {keys}");
            }
        }
    }
}

#[test]
fn steps_and_the_whole() {
    let gap = Gap { lengths: vec![1, 4], width: 4 };
    at_every_level(|| {
        for (columns, keys, heads, shared, size, value_size) in [
            (1, 1, 1, 1, 1, 1),
            (3, 5, 2, 1, 3, 3),
            (1, 9, 4, 2, 16, 16),
            (5, 7, 3, 3, 17, 17),
            (66, 70, 2, 1, 8, 8),
            (5, 7, 4, 2, 12, 7),
            (66, 70, 2, 2, 6, 16),
        ] {
            let q = numbers(&[2, columns, heads, size], 2.0, 1);
            let k = numbers(&[2, keys, shared, size], 2.0, 2);
            let v = numbers(&[2, keys, shared, value_size], 2.0, 3);
            for cap in [None, Some(1.5)] {
                for reach in reaches(&gap).into_iter().chain(biased_reaches(&gap, &alibi(heads))) {
                    let expected = scores_plain(&q, &k, 0.3, cap, &reach).unwrap();
                    let found = scores(&q, &k, 0.3, cap, &reach).unwrap();
                    assert_close(&found, &expected, 2e-6, 4.0);
                    let expected = pattern_plain(&expected, &reach, None).unwrap();
                    let steps = pattern(&found, &reach).unwrap();
                    assert_close(&steps, &expected, 5e-6, 1e-3);
                    assert_close(&mix(&steps, &v).unwrap(), &mix_plain(&expected, &v).unwrap(), 2e-6, 2.0);
                    let expected = attention_plain(&q, &k, &v, 0.3, cap, &reach).unwrap();
                    assert_close(&attention(&q, &k, &v, 0.3, cap, &reach).unwrap(), &expected, 2e-6, 2.0);
                }
            }
        }
    });
}

#[test]
fn parts_of_a_cache_and_turned_tensors() {
    let cache = |seed| numbers(&[2, 20, 2, 8], 1.0, seed).narrow(1, 0, 6).unwrap();
    let q = numbers(&[2, 4, 2, 8], 1.0, 1);
    let k = cache(2);
    let v = cache(3);
    let reach = Reach { causal: true, past: 2, ..Reach::default() };
    let expected = attention_plain(&q, &k, &v, 1.0, None, &reach).unwrap();
    assert_close(&attention(&q, &k, &v, 1.0, None, &reach).unwrap(), &expected, 2e-6, 1.0);
    let turned = attention(&strided(&q), &strided(&k), &strided(&v), 1.0, None, &reach).unwrap();
    assert_close(&turned, &expected, 2e-6, 1.0);
}

#[test]
fn a_sink_takes_the_share_of_a_key_without_a_value() {
    let scores = numbers(&[2, 2, 3, 3], 2.0, 1);
    let sinks = Tensor::new(&[0.5_f32, -20.0], &Device::Cpu).unwrap();
    // A key before all others, which every query sees.
    let first = sinks.reshape((1, 2, 1, 1)).unwrap().broadcast_as((2, 2, 3, 1)).unwrap();
    let longer = Tensor::cat(&[&first, &scores], 3).unwrap();
    let expected = pattern(&longer, &Reach { causal: true, past: 1, ..Reach::default() }).unwrap();
    let found = pattern_with_sinks(&scores, &Reach { causal: true, ..Reach::default() }, &sinks).unwrap();
    assert_close(&found, &expected.narrow(3, 1, 3).unwrap().contiguous().unwrap(), 1e-6, 1e-3);
    let sums = list(&found.sum(3).unwrap());
    assert!(
        sums[..3].iter().all(|sum| *sum < 0.99) && sums[3..6].iter().all(|sum| (sum - 1.0).abs() < 1e-5),
        "{sums:?}"
    );
}

#[test]
fn softmax_of_what_is_no_number() {
    let nan = f32::NAN;
    let inf = f32::INFINITY;
    let rows = [nan, 1.0, 2.0, 3.0, -inf, -inf, -inf, 1.0, 1.0, -inf, 1.0, -inf, inf, 0.0, 0.0, 0.0];
    let scores = Tensor::from_slice(&rows, (1, 1, 4, 4), &Device::Cpu).unwrap();
    let reach = Reach { causal: true, ..Reach::default() };
    at_every_level(|| {
        let found = pattern(&scores, &reach).unwrap();
        assert_close(&found, &pattern_plain(&scores, &reach, None).unwrap(), 1e-6, 1.0);
        let found = list(&found);
        assert!(found[0].is_nan() && found[12].is_nan());
        assert_eq!(found[1..12], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0][..]);
    });
}

#[test]
fn equal_scores_share_equally_and_nothing_seen_gives_nothing() {
    let scores = Tensor::zeros((1, 1, 3, 7), DType::F32, &Device::Cpu).unwrap();
    let gap = Gap { lengths: vec![0], width: 7 };
    assert_eq!(list(&pattern(&scores, &Reach { gap: Some(&gap), ..Reach::default() }).unwrap()), [0.0; 21]);
    let all = list(&pattern(&scores, &Reach::default()).unwrap());
    assert!(all.iter().all(|p| *p == 1.0 / 7.0));
}

#[test]
fn half_precision_stays_close() {
    for dtype in [DType::F16, DType::BF16] {
        let half = |seed| numbers(&[1, 5, 2, 8], 1.0, seed).to_dtype(dtype).unwrap();
        let q = half(1);
        let k = half(2);
        let v = half(3);
        let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let reach = Reach { causal: true, ..Reach::default() };
        let expected = attention(&wide(&q), &wide(&k), &wide(&v), 0.5, None, &reach).unwrap().to_dtype(dtype).unwrap();
        assert_eq!(list(&attention(&q, &k, &v, 0.5, None, &reach).unwrap()), list(&expected));
    }
}
