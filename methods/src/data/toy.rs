//! Toy activations with known features: sparse sums of random directions, after Sharkey et al. 2022 and section 3 of
//! Cunningham et al. 2023.

use candle_core::cpu::erf::erf_inv;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use crate::common::*;
use crate::tensor::create;

/// The number of rows computed at a time.
const ROWS: usize = 1024;

/// The number of causes that correlated features share.
const CAUSES: usize = 16;

crate::options! {
    /// Options of toy activations. Feature i is active with a probability proportional to `decay^i`.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct ToyOptions {
        /// Width of the activations.
        d: usize = 256;
        /// Number of features.
        features: usize = 512;
        /// Mean number of active features in a row.
        active: f64 = 5.0;
        /// Probability of each feature relative to the one before.
        decay: f64 = 0.99;
        /// Correlation between the activities of features, through a Gaussian copula.
        correlation: f64 = 0.0;
        /// Standard deviation of the noise that is added to every coordinate.
        noise: f64 = 0.0;
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// Toy activations with ground truth.
#[derive(Debug, Clone)]
pub struct Toy {
    /// The activations: `[rows, width]`.
    pub x: Tensor,
    /// The directions, a row of norm 1 for each feature: `[features, width]`.
    pub directions: Tensor,
    /// The probability that each feature is active.
    pub probabilities: Vec<f64>,
}

impl ToyOptions {
    /// Generates x = sum over active features of strength x direction, plus noise; strengths are uniform from 0 to 1.
    ///
    /// Feature i is active where z_i is below the quantile of its probability, z normal: a Gaussian copula. z_i is the
    /// sum of a shared and an own part, sqrt(c) a_i . w + sqrt(1 - c) e_i, where w are the causes of the row and a_i,
    /// of norm 1, are feature i's weights of them; so features i and j have a correlation of c a_i . a_j in z.
    pub fn make(&self, rows: usize, seed: u64, task: &Task) -> Result<Toy> {
        self.check(rows)?;
        // Each row may be as wide as memory, so that a few of them take long.
        let options = *self;
        let inner = task.clone();
        task.heavy(rows as f64 * self.d as f64 * self.features as f64, move || options.made(rows, seed, &inner))
    }

    fn made(&self, rows: usize, seed: u64, task: &Task) -> Result<Toy> {
        let probabilities = self.probabilities();
        let directions = unit_rows(self.features, self.d, &mut stream(seed, "toy directions", 0))?;
        let shares = unit_rows(self.features, CAUSES, &mut stream(seed, "toy causes", 0))?;
        let shares = (shares * self.correlation.sqrt())?.to_vec2::<f32>()?;
        let floors: Vec<f64> =
            probabilities.iter().map(|p| std::f64::consts::SQRT_2 * erf_inv(2.0 * p - 1.0)).collect();
        let bar = task.begin("making activations", Some(rows as u64));
        let mut parts = Vec::new();
        for (turn, start) in (0..rows).step_by(ROWS).enumerate() {
            task.check()?;
            let count = ROWS.min(rows - start);
            let mut random = stream(seed, "toy rows", turn as u64);
            let codes: Vec<f32> = (0..count).flat_map(|_| self.codes(&shares, &floors, &mut random)).collect();
            let codes = Tensor::from_vec(codes, (count, self.features), &Device::Cpu)?;
            let noise = create::randn(&[count, self.d], DType::F32, &mut random)?;
            parts.push((codes.matmul(&directions)? + (noise * self.noise)?)?);
            bar.advance(count as u64);
        }
        Ok(Toy { x: Tensor::cat(&parts, 0)?, directions, probabilities })
    }

    /// Returns the strength of each feature in one row.
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

    fn check(&self, rows: usize) -> Result<()> {
        for (name, size) in [("rows", rows), ("d", self.d), ("features", self.features)] {
            if size == 0 {
                return Err(err!(Argument, "expected at least 1 as `{name}`, found 0").about(name));
            }
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return Err(err!(Argument, "expected a number above 0 and at most 1 as `decay`, found {}", self.decay)
                .about("decay"));
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(
                err!(Argument, "expected a number of at least 0 as `noise`, found {}", self.noise).about("noise")
            );
        }
        if !(0.0..1.0).contains(&self.correlation) {
            return Err(err!(
                Argument,
                "expected a number of at least 0 and below 1 as `correlation`, found {}",
                self.correlation
            )
            .about("correlation"));
        }
        let vectors = 2 * rows as u128 + self.features as u128;
        let bytes =
            (4 * vectors).saturating_mul(self.d as u128).saturating_add(8 * ROWS as u128 * self.features as u128);
        memory::check(bytes, || format!("{rows} rows of toy activations"))?;
        let most = self.probabilities().first().copied().unwrap_or(f64::NAN);
        if self.active > 0.0 && most < 1.0 {
            return Ok(());
        }
        Err(err!(
            Argument,
            "expected above 0 as `active` and so few that no feature is always active, found {}, where the first one has a probability of {most}",
            self.active
        )
        .about("active"))
    }
}

/// Returns directions uniform on the sphere.
pub fn unit_rows(rows: usize, width: usize, random: &mut impl Rng) -> Result<Tensor> {
    let drawn = create::randn(&[rows, width], DType::F64, random)?;
    let lengths = drawn.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f64::MIN_POSITIVE)?;
    Ok(drawn.broadcast_div(&lengths)?.to_dtype(DType::F32)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 3000;
    const TOY: ToyOptions =
        ToyOptions { d: 6, features: 6, active: 1.2, decay: 0.8, correlation: 0.0, noise: 0.0, seed: Seed::of(0) };

    /// Computes how strong each feature is in each row, by the inverse of as many directions as dimensions.
    fn codes(toy: ToyOptions) -> (Vec<Vec<f64>>, Vec<f64>) {
        let made = toy.make(ROWS, 3, &Task::default()).unwrap();
        let x = made.x.to_dtype(DType::F64).unwrap();
        let directions = made.directions.to_dtype(DType::F64).unwrap();
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
            let (codes, _) = codes(ToyOptions { correlation, decay: 1.0, ..TOY });
            let on: Vec<Vec<f64>> =
                codes.iter().map(|row| row.iter().map(|c| f64::from(u8::from(is_on(*c)))).collect()).collect();
            let share = on.iter().flatten().sum::<f64>() / (6 * on.len()) as f64;
            let pairs = (0..6).flat_map(|i| (0..i).map(move |j| (i, j)));
            let both = |(i, j): (usize, usize)| on.iter().map(|row| row[i] * row[j]).sum::<f64>() / on.len() as f64;
            (share, pairs.map(|pair| (both(pair) - 0.04).abs()).fold(0.0, f64::max))
        };
        let apart = together(0.0);
        let joined = together(0.9);
        assert!((apart.0 - 0.2).abs() < 0.02 && (joined.0 - 0.2).abs() < 0.02, "{apart:?} {joined:?}");
        assert!(apart.1 < 0.02 && joined.1 > 0.03, "{apart:?} {joined:?}");
    }

    #[test]
    fn noise_is_added_to_the_same_rows_and_seeds_decide() {
        let x = |toy: ToyOptions, rows, seed| {
            let made = toy.make(rows, seed, &Task::default()).unwrap();
            made.x.to_vec2::<f32>().unwrap()
        };
        let plain = x(TOY, 1500, 3);
        let noisy = x(ToyOptions { noise: 0.1, ..TOY }, 1500, 3);
        let squares = plain.iter().flatten().zip(noisy.iter().flatten()).map(|(a, b)| f64::from(b - a).powi(2));
        let deviation = (squares.sum::<f64>() / 9000.0).sqrt();
        assert!((deviation - 0.1).abs() < 0.005, "{deviation}");
        assert_eq!(plain, x(TOY, 1500, 3));
        assert_ne!(plain, x(TOY, 1500, 4));
        // More rows begin with the same ones.
        assert_eq!(plain[..1024], x(TOY, ROWS, 3)[..1024]);
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let of = |rows, toy: ToyOptions| toy.make(rows, 3, &Task::default()).unwrap_err().message;
        let error = |toy: ToyOptions| of(ROWS, toy);
        assert_eq!(of(0, TOY), "expected at least 1 as `rows`, found 0");
        assert!(error(ToyOptions { active: 6.0, ..TOY }).contains("so few that no feature is always active"));
        assert!(error(ToyOptions { decay: 0.0, ..TOY }).contains("as `decay`, found 0"));
        assert!(error(ToyOptions { correlation: 1.0, ..TOY }).contains("as `correlation`, found 1"));
        assert!(of(usize::MAX, TOY).contains("rows of toy activations"));
    }
}
