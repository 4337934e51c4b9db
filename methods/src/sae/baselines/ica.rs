//! Independent components as a dictionary: FastICA.

use rand::Rng;

use super::{CovarianceMoments, Principal, components, noted, of_unit_norm, parts};
use crate::common::*;
use crate::sae::{Activation, Sae, rows};
use crate::tensor::{create, linalg};

/// Settings of FastICA.
#[derive(Debug, Clone)]
pub struct Ica {
    /// Number of components; by default as many as there are directions with variance.
    pub components: Option<usize>,
    /// Codes kept in each row, those of the largest absolute value.
    pub k: Option<usize>,
    /// Maximum number of iterations.
    pub rounds: usize,
    /// Tolerance of convergence: 1 - |cosine| of each direction with that of the iteration before.
    pub tolerance: f64,
}

impl Default for Ica {
    fn default() -> Self {
        Self { components: None, k: None, rounds: 200, tolerance: 1e-4 }
    }
}

/// Rows processed at a time.
const ROWS: usize = 1024;

/// Finds independent components by FastICA (Hyvärinen 1999): whitened activations, G = log cosh, all directions at
/// once, with symmetric decorrelation W <- (W W^T)^(-1/2) W after each iteration. Features are sorted by the variance
/// that they write.
///
/// Its metadata has the number of iterations in `rounds`, and in `at_rest` whether they converged.
pub fn ica(x: &Tensor, options: &Ica, draws: &mut impl Rng, task: &Task) -> Result<Sae> {
    if options.rounds == 0 || options.tolerance.is_nan() || options.tolerance <= 0.0 {
        let rounds = options.rounds;
        let tolerance = options.tolerance;
        return Err(err!(Argument, "expected rounds and a tolerance above 0, found {rounds} and {tolerance}"));
    }
    let moments = CovarianceMoments::of(x, task)?;
    let principal = Principal::of(&moments, task)?;
    let count = components(options.components, principal.rank(), "there are as many as directions with variance")?;
    let axes = principal.axes.narrow(0, 0, count)?;
    let spreads: Vec<f64> = principal.variances.iter().take(count).map(|variance| variance.sqrt()).collect();
    let spreads = Tensor::from_vec(spreads, (count, 1), &Device::Cpu)?;
    let whitening = axes.broadcast_div(&spreads)?;
    let white = whitened(x, &moments, &whitening, task)?;
    let turned = turned(&white, options, draws, task)?;
    let (decoder, lengths) = of_unit_norm(&turned.directions.matmul(&axes.broadcast_mul(&spreads)?)?)?;
    let encoder = turned.directions.matmul(&whitening)?.broadcast_mul(&lengths)?;
    let order = by_length(&lengths)?;
    let sorted = |rows: Tensor| -> Result<Tensor> { Ok(rows.index_select(&order, 0)?.to_dtype(DType::F32)?) };
    let mean = moments.mean()?.to_dtype(DType::F32)?;
    let parts = parts("ica", sorted(encoder)?, sorted(decoder)?, Activation::Linear(options.k), Some(mean));
    Sae::new(noted(parts, [("rounds", turned.rounds.into()), ("at_rest", turned.at_rest.into())]))
}

/// Returns the whitened activations in parts, in f32.
fn whitened(x: &Tensor, moments: &CovarianceMoments, whitening: &Tensor, task: &Task) -> Result<Vec<Tensor>> {
    let x = rows::matrix(x, moments.width(), "activations")?.to_device(&Device::Cpu)?;
    let count = x.dim(0)?;
    let wide = whitening.dim(0)?;
    memory::check(4 * count as u128 * wide as u128, || format!("{count} whitened activations"))?;
    let mean = moments.mean()?;
    let turn = whitening.t()?;
    let part = |start: usize| {
        task.check()?;
        let part = x.narrow(0, start, ROWS.min(count - start))?.to_dtype(DType::F64)?;
        Ok(part.broadcast_sub(&mean)?.matmul(&turn)?.to_dtype(DType::F32)?)
    };
    (0..count).step_by(ROWS).map(part).collect()
}

/// Directions among whitened activations, orthonormal rows in f64.
struct Rotation {
    directions: Tensor,
    rounds: usize,
    at_rest: bool,
}

fn turned(white: &[Tensor], options: &Ica, draws: &mut impl Rng, task: &Task) -> Result<Rotation> {
    let wide = white.first().map_or(0, |part| part.dims()[1]);
    let mut directions = decorrelated(&create::randn(&[wide, wide], DType::F64, draws)?, task)?;
    let bar = task.begin("finding independent components", Some(options.rounds as u64));
    for round in 1..=options.rounds {
        let next = decorrelated(&stepped(white, &directions, task)?, task)?;
        let cosines = (&next * &directions)?.sum(1)?.abs()?.to_vec1::<f64>()?;
        directions = next;
        let far = cosines.iter().map(|cosine| (cosine - 1.0).abs()).fold(0.0, f64::max);
        bar.advance(1);
        bar.note(&format!("turning by {far:.1e}"));
        if far < options.tolerance {
            return Ok(Rotation { directions, rounds: round, at_rest: true });
        }
    }
    Ok(Rotation { directions, rounds: options.rounds, at_rest: false })
}

/// Computes E[g(W z) z^T] - diag(E[g'(W z)]) W with g = tanh. Parts are added up in their order.
fn stepped(white: &[Tensor], directions: &Tensor, task: &Task) -> Result<Tensor> {
    let wide = directions.dim(0)?;
    let turn = directions.to_dtype(DType::F32)?.t()?;
    let mut products = directions.zeros_like()?;
    let mut slopes = vec![0.0; wide];
    let mut count = 0;
    for part in white {
        task.check()?;
        let mut bent = part.matmul(&turn)?.flatten_all()?.to_vec1::<f32>()?;
        parallel::fill(&mut bent, 1 << 12, &|_, part| part.iter_mut().for_each(|u| *u = u.tanh()));
        for row in bent.chunks_exact(wide) {
            slopes.iter_mut().zip(row).for_each(|(slope, g)| *slope += 1.0 - f64::from(*g).powi(2));
        }
        let bent = Tensor::from_vec(bent, part.shape(), &Device::Cpu)?;
        products = (products + bent.t()?.matmul(part)?.to_dtype(DType::F64)?)?;
        count += part.dim(0)?;
    }
    let slopes = Tensor::from_vec(slopes, (wide, 1), &Device::Cpu)?;
    Ok(((products - directions.broadcast_mul(&slopes)?)? / count as f64)?)
}

/// Computes (W W^T)^(-1/2) W.
fn decorrelated(w: &Tensor, task: &Task) -> Result<Tensor> {
    let gram = w.matmul(&w.t()?)?;
    let cost = 10.0 * (w.dim(0)? as f64).powi(3);
    let (values, vectors) = task.heavy(cost, move || linalg::eigh(&gram))?;
    if values.to_vec1::<f64>()?.iter().any(|value| *value <= 0.0) {
        return Err(err!(Numeric, "expected independent components, found two of them in one direction")
            .hint("ask for fewer components, or start from another seed"));
    }
    Ok(vectors.broadcast_div(&values.sqrt()?)?.matmul(&vectors.t()?)?.matmul(w)?)
}

/// Returns the order of rows by their norms, the largest first; ties in their order.
fn by_length(lengths: &Tensor) -> Result<Tensor> {
    let lengths = lengths.flatten_all()?.to_vec1::<f64>()?;
    let order = order::descending(&lengths);
    Ok(Tensor::from_iter(order.into_iter().map(|row| row as u32), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::base::random::stream;

    /// Makes three even sources, and mixes them in four dimensions about a mean.
    fn mixed(count: usize) -> (Tensor, Vec<Vec<f32>>) {
        let sources = create::uniform(&[count, 3], -1.0, 1.0, DType::F32, &mut stream(1, "sources", 0)).unwrap();
        let mixing = vec![vec![3.0, 1.0, 0.0, 0.5], vec![0.5, -1.0, 1.0, 0.0], vec![0.0, 0.2, 0.5, -0.4]];
        let matrix = Tensor::new(mixing.clone(), &Device::Cpu).unwrap();
        (sources.matmul(&matrix).unwrap().affine(1.0, 5.0).unwrap(), mixing)
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn independent_sources_are_recovered_up_to_their_signs() {
        let (x, mixing) = mixed(4000);
        let fit = || ica(&x, &Ica::default(), &mut stream(2, "ica", 0), &Task::default()).unwrap();
        let sae = fit();
        assert_eq!((sae.d_sae(), sae.parts().about.more["at_rest"].clone()), (3, true.into()));
        let found = sae.directions().to_vec2::<f32>().unwrap();
        // The sources are equally strong, so the longest row of the mixing writes most.
        for (found, truth) in found.iter().zip(&mixing) {
            assert!(cosine(found, truth).abs() > 0.99, "{found:?} is not {truth:?}");
        }
        assert!(found.iter().all(|row| (row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5));
        assert!(far(sae.reconstruct(&x).unwrap(), &x) < 1e-4);
        assert_eq!(fit().directions().to_vec2::<f32>().unwrap(), found);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let (x, _) = mixed(100);
        let fit = |x: &Tensor, options: Ica| ica(x, &options, &mut stream(2, "ica", 0), &Task::default());
        let error = fit(&x, Ica { components: Some(4), ..Ica::default() }).unwrap_err();
        assert_eq!(error.message, "expected from 1 to 3 components, found 4");
        let error = fit(&x.ones_like().unwrap(), Ica::default()).unwrap_err();
        assert_eq!(error.message, "expected activations that vary, found all of them the same");
        assert!(fit(&x, Ica { rounds: 0, ..Ica::default() }).is_err());
        let once = fit(&x, Ica { rounds: 1, tolerance: 1e-12, ..Ica::default() }).unwrap();
        assert_eq!(once.parts().about.more["at_rest"], serde_json::json!(false));
    }
}
