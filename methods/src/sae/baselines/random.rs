//! Random directions as a dictionary, with codes at the right scale.
//!
//! Many directions together write an activation several times over: with n of them in d dimensions, and all codes kept,
//! the sum of (x . d_i) d_i is about n/d times x. So codes are g x . d_i, with the gain g that minimises the squared
//! error for the k codes that are kept. Uniform directions prefer no x, so g depends on them and on k only, and needs
//! no data: it is the least-squares gain on rows uniform on the sphere. At four sites of the embedded model, with 1,536
//! directions and 1 to all codes kept, it is within 3 % of the gain fitted to their own rows, which would explain at
//! most 0.0002 of the variance more.

use rand::Rng;

use super::{CovarianceMoments, noted, of_unit_norm, parts};
use crate::base::random::stream;
use crate::common::*;
use crate::sae::{Activation, Parts, Sae};
use crate::tensor::create;

/// The metadata key of the gain.
pub const GAIN: &str = "gain";

/// Number of rows, which estimate the gain to about 1 %.
const ROWS: usize = 256;

/// Draws directions uniform on the sphere; all codes are kept, or the k of the largest absolute value.
pub fn random(width: usize, features: usize, k: Option<usize>, draws: &mut impl Rng) -> Result<Sae> {
    drawn(width, features, k, None, draws)
}

/// Draws random directions about the mean of activations, which is subtracted before encoding and added after decoding.
pub fn random_about(
    moments: &CovarianceMoments,
    features: usize,
    k: Option<usize>,
    draws: &mut impl Rng,
) -> Result<Sae> {
    let mean = moments.mean()?.to_dtype(DType::F32)?;
    drawn(moments.width(), features, k, Some(mean), draws)
}

fn drawn(width: usize, features: usize, k: Option<usize>, mean: Option<Tensor>, draws: &mut impl Rng) -> Result<Sae> {
    let drawn = create::randn(&[features, width], DType::F64, draws)?;
    let directions = of_unit_norm(&drawn)?.0.to_dtype(DType::F32)?;
    with_gain(parts("random", directions.clone(), directions, Activation::Linear(k), mean))
}

/// Makes the dictionary of these random directions with the gain that belongs to the number of codes it keeps.
pub fn with_gain(parts: Parts) -> Result<Sae> {
    let gain = gain(&parts)?;
    let encoder = (&parts.decoder * gain)?;
    Sae::new(noted(Parts { encoder, ..parts }, [(GAIN, gain.into())]))
}

/// Computes sum x . x_hat / sum |x_hat|^2 over uniform rows, where x_hat is the reconstruction without a gain.
fn gain(random: &Parts) -> Result<f64> {
    let directions = random.decoder.clone();
    let plain = Sae::new(parts("random", directions.clone(), directions, random.activation.clone(), None))?;
    let x = create::randn(&[ROWS, plain.d_in()], DType::F32, &mut stream(0, "gain", 0))?;
    let x = of_unit_norm(&x)?.0.to_device(random.decoder.device())?;
    let found = plain.reconstruct(&x)?.to_dtype(DType::F64)?;
    let x = x.to_dtype(DType::F64)?;
    let sum = |a: &Tensor, b: &Tensor| -> Result<f64> { Ok((a * b)?.sum_all()?.to_scalar::<f64>()?) };
    let together = sum(&x, &found)?;
    let written = sum(&found, &found)?;
    match together / written {
        gain if gain.is_finite() => Ok(gain),
        found => {
            let (features, width) = random.decoder.dims2()?;
            Err(err!(Numeric, "expected a finite gain of {features} random directions of width {width}, found {found}")
                .hint("they reconstruct nothing: take more features, or keep more codes of a row"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Task;

    /// Computes 1 - sum |x - x_hat|^2 / sum |x - mean|^2.
    fn fve(sae: &Sae, x: &Tensor) -> f64 {
        let sum = |x: Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let error = sum((x - sae.reconstruct(x).unwrap()).unwrap());
        let spread = sum(x.broadcast_sub(&x.mean_keepdim(0).unwrap()).unwrap());
        1.0 - f64::from(error / spread)
    }

    fn seeded(name: &str) -> impl Rng + use<> {
        stream(1, name, 0)
    }

    #[test]
    fn directions_have_unit_norm_and_come_from_their_seed() {
        let of = |seed| random(16, 40, Some(3), &mut stream(seed, "random", 0)).unwrap();
        let one = of(1);
        let same = of(1);
        let other = of(2);
        for length in one.directions().sqr().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap() {
            assert!((length - 1.0).abs() < 1e-6);
        }
        let numbers = |sae: &Sae| sae.directions().to_vec2::<f32>().unwrap();
        assert_eq!(numbers(&one), numbers(&same));
        assert_ne!(numbers(&one), numbers(&other));
        let x = create::randn(&[5, 16], DType::F32, &mut seeded("x")).unwrap();
        for row in one.encode(&x).unwrap().to_vec2::<f32>().unwrap() {
            assert_eq!(row.iter().filter(|code| **code != 0.0).count(), 3);
        }
    }

    #[test]
    fn one_direction_gives_the_part_that_lies_along_it() {
        let x = create::randn(&[5, 16], DType::F32, &mut seeded("x")).unwrap();
        let single = random(16, 1, None, &mut seeded("random")).unwrap();
        let rest = (&x - single.reconstruct(&x).unwrap()).unwrap();
        for left in single.encode(&rest).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap() {
            assert!(left.abs() < 1e-5);
        }
    }

    #[test]
    fn however_many_codes_are_kept_no_other_gain_explains_more() {
        // Activations that are far longer in some dimensions, about a mean that is longer still.
        let scales = Tensor::from_iter((0..24).map(|i| 4.0 / (1.0 + i as f32)), &crate::tensor::Device::Cpu).unwrap();
        let x = create::randn(&[600, 24], DType::F32, &mut seeded("x")).unwrap().broadcast_mul(&scales).unwrap();
        let x = (x + 5.0).unwrap();
        let moments = CovarianceMoments::of(&x, &Task::default()).unwrap();
        let all = random_about(&moments, 192, None, &mut seeded("random")).unwrap();
        let mut last = 0.0;
        for k in [1, 8, 32, 192] {
            let sae = all.keeping(k).unwrap();
            let found = fve(&sae, &x);
            // With the gain of these very activations.
            let best = [0.8, 0.9, 1.0, 1.1, 1.25].map(|factor| {
                let parts = sae.parts().clone();
                fve(&Sae::new(Parts { encoder: (&parts.encoder * factor).unwrap(), ..parts }).unwrap(), &x)
            });
            let best = best.into_iter().fold(f64::NEG_INFINITY, f64::max);
            assert!(found > last && found < 1.0 && best - found < 0.02, "k {k}: {found}, at best {best}");
            last = found;
        }
        // Codes stay in their order, and k is the given one.
        assert_eq!(
            all.keeping(8).unwrap().keeping(32).unwrap().parts().about.more,
            all.keeping(32).unwrap().parts().about.more
        );
    }

    #[test]
    fn directions_that_reconstruct_nothing_are_refused() {
        let none = Tensor::zeros((3, 4), DType::F32, &crate::tensor::Device::Cpu).unwrap();
        let refused = with_gain(parts("random", none.clone(), none, Activation::Linear(None), None)).unwrap_err();
        assert_eq!(refused.message, "expected a finite gain of 3 random directions of width 4, found NaN");
    }
}
