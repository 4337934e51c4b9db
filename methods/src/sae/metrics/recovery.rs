//! Recovery of a known truth by a dictionary: MCC of directions, and F1 of features (SynthSAEBench, Chanin &
//! Garriga-Alonso 2026).

use super::directions::{cosines_of, mcc};
use crate::common::*;
use crate::sae::{Sae, rows};

/// The features that are known and a dictionary has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// The mean |cosine| of the best one-to-one matching of its directions with the true ones (Hungarian algorithm).
    pub mcc: f64,
    /// Means over all its features, each taken for the true one with the largest |cosine|: precision is the share of rows
    /// at which it is active where that one is, too, recall the share of rows of that one at which it is active, and F1 is
    /// 2 precision recall / (precision + recall), 0 where it is never active.
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    /// The share of features that no other one before them is taken for the same as.
    pub unique: f64,
    /// Mean number of active features in a row, and the share of those that are never active.
    pub l0: f64,
    pub dead_share: f64,
    pub rows: usize,
}

/// Compares a dictionary with true directions `[features, d]`, on rows `x` `[rows, d]` whose true codes are `codes`
/// `[rows, features]`.
pub fn recovery(sae: &Sae, x: &Tensor, codes: &Tensor, directions: &Tensor, task: &Task) -> Result<Recovery> {
    let (count, truth) = rows::extent(codes, "codes")?;
    let x = rows::matrix(x, sae.d_in(), "activations")?;
    let directions = rows::matrix(directions, sae.d_out(), "directions")?;
    if x.dim(0)? != count || directions.dim(0)? != truth {
        let found = x.dim(0)?;
        let named = directions.dim(0)?;
        return Err(err!(
            Shape,
            "expected codes of {named} features for each of {found} activations, found {truth} for {count}"
        )
        .about("codes"));
    }
    if count == 0 {
        return Err(err!(Argument, "expected activations to compare on, found none").about("x"));
    }
    let mut meant: Vec<usize> = Vec::with_capacity(sae.d_sae());
    cosines_of(sae.directions(), &directions, task, |row| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        meant.push(best.map_or(0, |(at, _)| at));
    })?;
    let found = sae.encode_sparse(&x, task)?.finite()?;
    let mut active = vec![0_usize; sae.d_sae()];
    let mut both = vec![0_usize; sae.d_sae()];
    let mut true_active = vec![0_usize; truth];
    for row in 0..count {
        task.check()?;
        let codes = codes.get(row)?.to_dtype(crate::tensor::DType::F32)?.to_vec1::<f32>()?;
        codes.iter().zip(&mut true_active).for_each(|(code, count)| *count += usize::from(*code > 0.0));
        for feature in found.row(row).0.iter().map(|feature| *feature as usize) {
            active[feature] += 1;
            both[feature] += usize::from(codes[meant[feature]] > 0.0);
        }
    }
    let share = |part: usize, whole: usize| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    let mean = |of: &dyn Fn(usize) -> f64| (0..sae.d_sae()).map(of).sum::<f64>() / sae.d_sae() as f64;
    let mut taken = vec![false; truth];
    let unique = meant.iter().filter(|of| !std::mem::replace(&mut taken[**of], true)).count();
    Ok(Recovery {
        mcc: mcc(sae.directions(), &directions, task)?.mean,
        // 2 both / (active + truly active), which is the harmonic mean of precision and recall.
        f1: mean(&|feature| share(2 * both[feature], active[feature] + true_active[meant[feature]])),
        precision: mean(&|feature| share(both[feature], active[feature])),
        recall: mean(&|feature| share(both[feature], true_active[meant[feature]])),
        unique: unique as f64 / sae.d_sae() as f64,
        l0: found.count() as f64 / count as f64,
        dead_share: active.iter().filter(|active| **active == 0).count() as f64 / sae.d_sae() as f64,
        rows: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::{About, Activation, Parts, Scaling};
    use crate::tensor::Device;

    fn dictionary(rows: &[[f32; 3]]) -> Sae {
        let rows = Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu).unwrap();
        let parts = Parts {
            encoder: rows.clone(),
            encoder_bias: None,
            activation: Activation::Relu,
            decoder: rows,
            decoder_bias: None,
            centred: false,
            rescaled: false,
            skip: None,
            scaling: Scaling::None,
            about: About::default(),
        };
        Sae::new(parts).unwrap()
    }

    #[test]
    fn the_truth_itself_is_found_and_a_feature_that_stands_for_two_is_half_right() {
        let truth = Tensor::new(&[[1.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &Device::Cpu).unwrap();
        let codes: Vec<f32> = (0..60).flat_map(|i| [i % 2, i % 3, i % 5].map(|x| f32::from(x as u8))).collect();
        let codes = Tensor::from_vec(codes, (60, 3), &Device::Cpu).unwrap();
        let x = codes.matmul(&truth).unwrap();
        let task = Task::default();
        let own =
            recovery(&dictionary(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), &x, &codes, &truth, &task);
        let own = own.unwrap();
        assert_eq!((own.f1, own.precision, own.recall, own.unique, own.dead_share), (1.0, 1.0, 1.0, 1.0, 0.0));
        assert!((own.mcc - 1.0).abs() < 1e-6);
        // Active where either of two is: 40 of 60 rows of the second, and 10 more of the first, which it is taken for.
        let mixed = recovery(&dictionary(&[[1.0, 0.9, 0.0], [-1.0, 0.0, 0.0]]), &x, &codes, &truth, &task).unwrap();
        assert!((mixed.precision - 0.5 * 30.0 / 50.0).abs() < 1e-9 && (mixed.recall - 0.5).abs() < 1e-9);
        assert!((mixed.f1 - 0.5 * 60.0 / 80.0).abs() < 1e-9);
        // Signs do not matter to directions. One of the two gets the second true one, which it is near to.
        assert_eq!((mixed.unique, mixed.dead_share), (0.5, 0.5));
        let expected = (1.0 + 0.9 / 1.81_f64.sqrt()) / 2.0;
        assert!((mixed.mcc - expected).abs() < 1e-6, "{}", mixed.mcc);
    }

    #[test]
    fn codes_of_other_features_are_refused() {
        let truth = Tensor::new(&[[1.0_f32, 0.0, 0.0]], &Device::Cpu).unwrap();
        let x = Tensor::new(&[[1.0_f32, 0.0, 0.0]], &Device::Cpu).unwrap();
        let codes = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu).unwrap();
        let sae = dictionary(&[[1.0, 0.0, 0.0]]);
        let error = recovery(&sae, &x, &codes, &truth, &Task::default()).unwrap_err();
        assert!(error.message.starts_with("expected codes of 1 features for each of 1 activations"), "{error}");
    }
}
