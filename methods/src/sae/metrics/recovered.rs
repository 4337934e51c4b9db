//! Features of a dictionary that are found again in another one: the stability of a recipe over seeds or texts.

use super::correlations::sums;
use super::directions::cosines_of;
use crate::base::bootstrap::wilson;
use crate::common::*;
use crate::sae::Sae;

/// A feature is found again if another one has nearly its direction and is active where it is: both the cosine and the
/// correlation of their codes are at least this.
pub const SAME: f64 = 0.7;

/// The features of a dictionary that another one has.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveredFeatures {
    /// The number of features that are active in the rows at all.
    pub living: usize,
    /// The number of these that are found again.
    pub found: usize,
}

impl RecoveredFeatures {
    /// Returns found / living; None where no feature fires.
    pub fn share(&self) -> Option<f64> {
        (self.living > 0).then(|| self.found as f64 / self.living as f64)
    }

    /// Returns the 95 % interval of the share, for independent features.
    pub fn interval(&self) -> Option<[f64; 2]> {
        (self.living > 0).then(|| wilson(self.found, self.living))
    }
}

/// Two features that may be the same, with the sum of the products of their codes.
struct FeaturePair {
    other: usize,
    together: f64,
}

/// Finds the living features of `a` that have one in `b` with a cosine of at least [`SAME`] between the directions and
/// as large a correlation of the codes, over the same rows `x`.
pub fn again(a: &Sae, b: &Sae, x: &Tensor, task: &Task) -> Result<RecoveredFeatures> {
    if a.d_in() != b.d_in() || a.d_out() != b.d_out() {
        return Err(err!(Shape, "expected dictionaries of one width, found {} and {}", a.d_in(), b.d_in()).about("b"));
    }
    let ours = a.encode_sparse(x, task)?.finite()?;
    let theirs = b.encode_sparse(x, task)?.finite()?;
    let mut pairs: Vec<Vec<FeaturePair>> = Vec::with_capacity(a.d_sae());
    cosines_of(a.directions(), b.directions(), task, |row| {
        let near = row.iter().enumerate().filter(|(_, cosine)| f64::from(**cosine) >= SAME);
        pairs.push(near.map(|(other, _)| FeaturePair { other, together: 0.0 }).collect());
    })?;
    let mut here = vec![0.0; b.d_sae()];
    let rows = ours.rows();
    for row in 0..rows {
        let (features, codes) = theirs.row(row);
        for (feature, code) in features.iter().zip(codes) {
            here[*feature as usize] = f64::from(*code);
        }
        let (own, sizes) = ours.row(row);
        for (feature, code) in own.iter().zip(sizes) {
            for pair in &mut pairs[*feature as usize] {
                pair.together += f64::from(*code) * here[pair.other];
            }
        }
        features.iter().for_each(|feature| here[*feature as usize] = 0.0);
    }
    let n = rows as f64;
    let of_a = sums(&ours);
    let of_b = sums(&theirs);
    let is_found = |(feature, pairs): (usize, &Vec<FeaturePair>)| {
        let own = of_a[feature];
        pairs.iter().any(|pair| {
            let other = of_b[pair.other];
            let both = own.spread(n) * other.spread(n);
            both > 0.0 && (n * pair.together - own.sum * other.sum) / both >= SAME
        })
    };
    let living = of_a.iter().filter(|own| own.squares > 0.0).count();
    Ok(RecoveredFeatures { living, found: pairs.iter().enumerate().filter(|pair| is_found(*pair)).count() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::sae::{Parts, baselines};
    use crate::tensor::{DType, Number, create};

    #[test]
    fn a_dictionary_finds_itself_and_not_a_random_one() {
        let x = create::randn(&[400, 24], DType::F32, &mut stream(0, "rows", 0)).unwrap();
        let random = |seed| baselines::random(24, 60, Some(5), &mut stream(seed, "random", 0)).unwrap();
        let task = Task::default();
        let own = again(&random(1), &random(1), &x, &task).unwrap();
        assert_eq!((own.found, own.share()), (own.living, Some(1.0)));
        let other = again(&random(1), &random(2), &x, &task).unwrap();
        assert!(other.living > 50 && other.found <= 1, "{other:?}");
        let [low, high] = other.interval().unwrap();
        assert!(low >= 0.0 && low <= other.share().unwrap() && high < 0.15);
    }

    #[test]
    fn codes_that_overflow_are_refused() {
        let own = baselines::neurons(4, None).unwrap();
        let task = Task::default();
        let parts = own.parts().clone();
        let large = Sae::new(Parts { encoder: (&parts.encoder * 1e30).unwrap(), ..parts }).unwrap();
        let x = create::full(&[3, 4], Number::Float(1e30), DType::F32).unwrap();
        assert_eq!(again(&own, &own, &x, &task).unwrap(), RecoveredFeatures { living: 4, found: 0 });
        let error = again(&own, &large, &x, &task).unwrap_err();
        assert_eq!(error.message, "expected finite codes, found inf of feature 0 in row 0");
    }

    #[test]
    fn directions_alone_are_not_enough() {
        let x = create::randn(&[400, 8], DType::F32, &mut stream(0, "rows", 0)).unwrap();
        let a = baselines::neurons_relu(8, None).unwrap();
        // The same directions, each read from the opposite side.
        let parts = a.parts().clone();
        let turned = crate::sae::Sae::new(Parts { encoder: parts.encoder.neg().unwrap(), ..parts }).unwrap();
        assert_eq!(again(&a, &turned, &x, &Task::default()).unwrap(), RecoveredFeatures { living: 8, found: 0 });
        assert!(again(&a, &baselines::neurons(9, None).unwrap(), &x, &Task::default()).is_err());
    }
}
