//! Activations whose features are known: sparse sums of random directions, after Sharkey et al. 2022 and section 3 of
//! Cunningham et al. 2023. What a dictionary should find is what they were made of.

use candle_core::cpu::erf::erf_inv;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::err;
use crate::tensor::{DType, Device, Tensor, create};

/// Rows computed at a time.
const ROWS: usize = 1024;

/// How many causes features have in common, where they go together.
const CAUSES: usize = 16;

/// What toy activations are made of. Feature i is active with a probability in proportion to `decay^i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Toy {
    pub rows: usize,
    pub width: usize,
    pub features: usize,
    /// How many features of a row are active on average.
    pub active: f64,
    pub decay: f64,
    /// How much of what makes a feature active it shares with others, from 0 to below 1.
    pub correlation: f64,
    /// The standard deviation of what is added to every coordinate.
    pub noise: f64,
    pub seed: u64,
}

/// Toy activations, and the truth about them.
#[derive(Debug, Clone)]
pub struct Made {
    /// `[rows, width]`.
    pub x: Tensor,
    /// One row a feature, of length 1: `[features, width]`.
    pub directions: Tensor,
    /// With what probability each feature is active.
    pub probabilities: Vec<f64>,
}

impl Toy {
    /// x = sum over active features of strength x direction, plus noise; strengths are drawn evenly from 0 to 1.
    ///
    /// Feature i is active where z_i < the quantile of its probability, z normal: a Gaussian copula. z_i is a sum of what
    /// it shares and what is its own, sqrt(c) a_i . w + sqrt(1 - c) e_i, where w are the causes of the row and a_i, of
    /// length 1, is what feature i takes of them; so features i and j have a correlation of c a_i . a_j in z.
    pub fn make(&self, task: &Task) -> Result<Made> {
        self.check()?;
        let probabilities = self.probabilities();
        let directions = unit_rows(self.features, self.width, &mut stream(self.seed, "toy directions", 0))?;
        let shares = unit_rows(self.features, CAUSES, &mut stream(self.seed, "toy causes", 0))?;
        let shares = (shares * self.correlation.sqrt())?.to_vec2::<f32>()?;
        let floors: Vec<f64> =
            probabilities.iter().map(|p| std::f64::consts::SQRT_2 * erf_inv(2.0 * p - 1.0)).collect();
        let bar = task.begin("making activations", Some(self.rows as u64));
        let mut parts = Vec::new();
        for (turn, start) in (0..self.rows).step_by(ROWS).enumerate() {
            task.check()?;
            let count = ROWS.min(self.rows - start);
            let mut random = stream(self.seed, "toy rows", turn as u64);
            let codes: Vec<f32> = (0..count).flat_map(|_| self.codes(&shares, &floors, &mut random)).collect();
            let codes = Tensor::from_vec(codes, (count, self.features), &Device::Cpu)?;
            let noise = create::randn(&[count, self.width], DType::F32, &mut random)?;
            parts.push((codes.matmul(&directions)? + (noise * self.noise)?)?);
            bar.advance(count as u64);
        }
        Ok(Made { x: Tensor::cat(&parts, 0)?, directions, probabilities })
    }

    /// How strong each feature is in one row.
    fn codes(&self, shares: &[Vec<f32>], floors: &[f64], random: &mut impl Rng) -> Vec<f32> {
        let causes: [f64; CAUSES] = std::array::from_fn(|_| random.sample(StandardNormal));
        let own = (1.0 - self.correlation).sqrt();
        let mut code = |(share, floor): (&Vec<f32>, &f64)| {
            let alone: f64 = random.sample(StandardNormal);
            let shared: f64 = share.iter().zip(causes).map(|(share, cause)| f64::from(*share) * cause).sum();
            // Drawn whether or not it is active, so that noise and correlation change nothing else.
            let strength: f32 = random.random();
            if shared + own * alone < *floor { strength } else { 0.0 }
        };
        shares.iter().zip(floors).map(&mut code).collect()
    }

    fn probabilities(&self) -> Vec<f64> {
        let weights: Vec<f64> = (0..self.features).map(|feature| self.decay.powf(feature as f64)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| self.active * weight / sum).collect()
    }

    fn check(&self) -> Result<()> {
        for (name, size) in [("rows", self.rows), ("d", self.width), ("features", self.features)] {
            if size == 0 {
                return Err(err!(Argument, "expected at least 1 as `{name}`, found 0"));
            }
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return Err(err!(Argument, "expected a number above 0 and at most 1 as `decay`, found {}", self.decay));
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(err!(Argument, "expected a number of at least 0 as `noise`, found {}", self.noise));
        }
        if !(0.0..1.0).contains(&self.correlation) {
            return Err(err!(
                Argument,
                "expected a number of at least 0 and below 1 as `correlation`, found {}",
                self.correlation
            ));
        }
        let rows = 2 * self.rows as u128 + self.features as u128;
        let bytes =
            (4 * rows).saturating_mul(self.width as u128).saturating_add(8 * ROWS as u128 * self.features as u128);
        memory::check(bytes, || format!("{} rows of toy activations", self.rows))?;
        let most = self.probabilities().first().copied().unwrap_or(f64::NAN);
        if self.active > 0.0 && most < 1.0 {
            return Ok(());
        }
        Err(err!(
            Argument,
            "expected above 0 as `active` and so few that no feature is always active, found {}, where the first one has a probability of {most}",
            self.active
        ))
    }
}

fn unit_rows(rows: usize, width: usize, random: &mut impl Rng) -> Result<Tensor> {
    let drawn = create::randn(&[rows, width], DType::F64, random)?;
    let lengths = drawn.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f64::MIN_POSITIVE)?;
    Ok(drawn.broadcast_div(&lengths)?.to_dtype(DType::F32)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: Toy =
        Toy { rows: 3000, width: 6, features: 6, active: 1.2, decay: 0.8, correlation: 0.0, noise: 0.0, seed: 3 };

    /// How strong each feature is in each row, by the inverse of as many directions as dimensions.
    fn codes(toy: Toy) -> (Vec<Vec<f64>>, Vec<f64>) {
        let made = toy.make(&Task::default()).unwrap();
        let (x, directions) = (made.x.to_dtype(DType::F64).unwrap(), made.directions.to_dtype(DType::F64).unwrap());
        let inverse = crate::tensor::linalg::inverse(&directions).unwrap();
        (x.matmul(&inverse).unwrap().to_vec2().unwrap(), made.probabilities)
    }

    fn is_on(code: f64) -> bool {
        code > 1e-4
    }

    #[test]
    fn features_are_as_frequent_and_as_strong_as_said() {
        let (codes, probabilities) = codes(TOY);
        assert!((probabilities.iter().sum::<f64>() - 1.2).abs() < 1e-12);
        assert!((probabilities[1] / probabilities[0] - 0.8).abs() < 1e-12);
        for (feature, probability) in probabilities.iter().enumerate() {
            let found: Vec<f64> = codes.iter().map(|row| row[feature]).filter(|code| is_on(*code)).collect();
            let share = found.len() as f64 / codes.len() as f64;
            // Four standard deviations of a share of 3,000.
            assert!((share - probability).abs() < 0.04, "feature {feature}: {share} is not {probability}");
            let mean = found.iter().sum::<f64>() / found.len() as f64;
            assert!((mean - 0.5).abs() < 0.1 && found.iter().all(|code| *code < 1.0 + 1e-4), "{mean}");
        }
    }

    #[test]
    fn correlation_changes_which_features_go_together_and_not_how_often() {
        let together = |correlation| {
            let (codes, _) = codes(Toy { correlation, decay: 1.0, ..TOY });
            let on: Vec<Vec<f64>> =
                codes.iter().map(|row| row.iter().map(|c| f64::from(u8::from(is_on(*c)))).collect()).collect();
            let share = on.iter().flatten().sum::<f64>() / (6 * on.len()) as f64;
            let pairs = (0..6).flat_map(|i| (0..i).map(move |j| (i, j)));
            let both = |(i, j): (usize, usize)| on.iter().map(|row| row[i] * row[j]).sum::<f64>() / on.len() as f64;
            (share, pairs.map(|pair| (both(pair) - 0.04).abs()).fold(0.0, f64::max))
        };
        let (apart, joined) = (together(0.0), together(0.9));
        assert!((apart.0 - 0.2).abs() < 0.02 && (joined.0 - 0.2).abs() < 0.02, "{apart:?} {joined:?}");
        assert!(apart.1 < 0.02 && joined.1 > 0.03, "{apart:?} {joined:?}");
    }

    #[test]
    fn noise_is_added_to_the_same_rows_and_seeds_decide() {
        let x = |toy: Toy| toy.make(&Task::default()).unwrap().x.to_vec2::<f32>().unwrap();
        let few = Toy { rows: 1500, ..TOY };
        let (plain, noisy) = (x(few), x(Toy { noise: 0.1, ..few }));
        let squares = plain.iter().flatten().zip(noisy.iter().flatten()).map(|(a, b)| f64::from(b - a).powi(2));
        let deviation = (squares.sum::<f64>() / 9000.0).sqrt();
        assert!((deviation - 0.1).abs() < 0.005, "{deviation}");
        assert_eq!(plain, x(few));
        assert_ne!(plain, x(Toy { seed: 4, ..few }));
        // More rows begin with the same ones.
        assert_eq!(plain[..1024], x(TOY)[..1024]);
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let error = |toy: Toy| toy.make(&Task::default()).unwrap_err().message;
        assert_eq!(error(Toy { rows: 0, ..TOY }), "expected at least 1 as `rows`, found 0");
        assert!(error(Toy { active: 6.0, ..TOY }).contains("so few that no feature is always active"));
        assert!(error(Toy { decay: 0.0, ..TOY }).contains("as `decay`, found 0"));
        assert!(error(Toy { correlation: 1.0, ..TOY }).contains("as `correlation`, found 1"));
        assert!(error(Toy { rows: usize::MAX, ..TOY }).contains("rows of toy activations"));
    }
}
