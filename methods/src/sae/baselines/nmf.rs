//! A nonnegative factorisation as a dictionary.

use rand::Rng;

use super::{noted, of_unit_norm, parts};
use crate::common::*;
use crate::sae::nonnegative::{Gram, nonnegative};
use crate::sae::{Sae, rows};
use crate::tensor::create;

/// Settings of the factorisation.
#[derive(Debug, Clone)]
pub struct Nmf {
    pub components: usize,
    /// Codes kept in each row, the largest.
    pub k: Option<usize>,
    /// Maximum number of iterations.
    pub rounds: usize,
    /// Share of what there is to explain: an iteration that lowers the error by less is the last one.
    pub tolerance: f64,
}

impl Nmf {
    pub fn new(components: usize) -> Self {
        Self { components, k: None, rounds: 200, tolerance: 1e-6 }
    }
}

/// Rows processed at a time.
const ROWS: usize = 1024;

/// Sweeps over the codes of a row in an iteration.
const SWEEPS: usize = 4;

/// Factorises Y ~ C W with C, W >= 0 for Y = [relu(x), relu(-x)], by hierarchical alternating least squares (Cichocki &
/// Phan 2009): codes, then features, each in turn set to its best value. A feature writes the difference of its two
/// halves.
pub fn nmf(x: &Tensor, options: &Nmf, draws: &mut impl Rng, task: &Task) -> Result<Sae> {
    let Nmf { components, rounds, tolerance, .. } = *options;
    if components == 0 || rounds == 0 || tolerance.is_nan() || tolerance <= 0.0 {
        return Err(err!(
            Argument,
            "expected components, rounds and a tolerance above 0, found {components}, {rounds} and {tolerance}"
        ));
    }
    let (count, width) = rows::extent(x, "activations")?;
    if count == 0 {
        return Err(err!(Argument, "expected activations, found none"));
    }
    memory::check(4 * count as u128 * components as u128, || format!("{count} rows of {components} codes"))?;
    // Products of the features with each other, and of their codes.
    memory::check(4 * 8 * (components as u128).pow(2), || format!("the products of {components} components"))?;
    let mut fit = Factors {
        features: create::uniform(&[components, 2 * width], 0.0, 1.0, DType::F64, draws)?,
        codes: vec![0.0; count * components],
    };
    let x = rows::matrix(x, width, "activations")?.to_device(&Device::Cpu)?;
    let bar = task.begin("factorising", Some(rounds as u64));
    let mut before = f64::INFINITY;
    let mut made = 0;
    let mut at_rest = false;
    while made < rounds && !at_rest {
        let sums = fit.coded(&x, task)?;
        let error = fit.improved(&sums)?;
        at_rest = before - error <= tolerance * sums.total;
        (before, made) = (error, made + 1);
        bar.advance(1);
        bar.note(&format!("error {:.3e}", if sums.total > 0.0 { error / sums.total } else { 0.0 }));
    }
    fit.dictionary(width, options.k, [("rounds", made.into()), ("at_rest", at_rest.into())])
}

struct Factors {
    /// W: `[components, 2 d]` in f64.
    features: Tensor,
    /// C, row after row.
    codes: Vec<f32>,
}

/// The sums by which the features are improved.
struct NmfProducts {
    /// The product C^T C.
    codes: Vec<Vec<f64>>,
    /// The product C^T Y.
    products: Vec<Vec<f64>>,
    /// The squared norm |Y|².
    total: f64,
}

impl Factors {
    /// Updates the codes of all rows, and adds up the sums that update the features, part by part in order.
    fn coded(&mut self, x: &Tensor, task: &Task) -> Result<NmfProducts> {
        let components = self.features.dim(0)?;
        let features = self.features.to_dtype(DType::F32)?;
        let gram = Gram::new(&self.features.matmul(&self.features.t()?)?)?;
        let mut of_codes = Tensor::zeros((components, components), DType::F64, &Device::Cpu)?;
        let mut products = self.features.zeros_like()?;
        let mut total = 0.0;
        for (part, codes) in self.codes.chunks_mut(ROWS * components).enumerate() {
            task.check()?;
            let start = part * ROWS;
            let count = codes.len() / components;
            let y = halves(&x.narrow(0, start, count)?, start as u64)?;
            let wanted = y.matmul(&features.t()?)?.flatten_all()?.to_vec1::<f32>()?;
            gram.solve(&wanted, codes, SWEEPS, task)?;
            let codes = Tensor::from_slice(codes, (count, components), &Device::Cpu)?.to_dtype(DType::F64)?;
            let y = y.to_dtype(DType::F64)?;
            of_codes = (of_codes + codes.t()?.matmul(&codes)?)?;
            products = (products + codes.t()?.matmul(&y)?)?;
            total += y.sqr()?.sum_all()?.to_scalar::<f64>()?;
        }
        Ok(NmfProducts { codes: of_codes.to_vec2()?, products: products.to_vec2()?, total })
    }

    /// Sets each feature in turn to its best value; gives |Y - C W|².
    fn improved(&mut self, sums: &NmfProducts) -> Result<f64> {
        let mut features = self.features.to_vec2::<f64>()?;
        for (feature, (codes, products)) in sums.codes.iter().zip(&sums.products).enumerate() {
            let size = codes[feature];
            if size <= 0.0 {
                continue;
            }
            let mixed = mixed(codes, &features);
            let row = &mut features[feature];
            for (value, (product, mixed)) in row.iter_mut().zip(products.iter().zip(mixed)) {
                *value = (*value + (product - mixed) / size).max(0.0);
            }
        }
        let mut error = sums.total;
        for ((codes, products), row) in sums.codes.iter().zip(&sums.products).zip(&features) {
            let mixed = mixed(codes, &features);
            let terms = row.iter().zip(products.iter().zip(mixed));
            error += terms.map(|(value, (product, mixed))| value * (mixed - 2.0 * product)).sum::<f64>();
        }
        let dims = self.features.dims().to_vec();
        self.features = Tensor::from_vec(features.concat(), dims, &Device::Cpu)?;
        Ok(error.max(0.0))
    }

    fn dictionary(self, width: usize, k: Option<usize>, notes: [(&'static str, serde_json::Value); 2]) -> Result<Sae> {
        let half = |start| self.features.narrow(1, start, width);
        let above = half(0)?;
        let below = half(width)?;
        let (directions, lengths) = of_unit_norm(&(&above - &below)?)?;
        let sum = (above + below)?.broadcast_div(&lengths)?.to_dtype(DType::F32)?;
        let directions = directions.to_dtype(DType::F32)?;
        let parts = parts("nmf", directions.clone(), directions, nonnegative(sum, k), None);
        Sae::new(noted(parts, notes))
    }
}

/// Returns the sum of all features, weighted by `weights`.
fn mixed(weights: &[f64], features: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; features.first().map_or(0, Vec::len)];
    for (weight, row) in weights.iter().zip(features).filter(|(weight, _)| **weight != 0.0) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
    }
    sum
}

/// Returns [relu(x), relu(-x)].
fn halves(x: &Tensor, before: u64) -> Result<Tensor> {
    let x = Tensor::from_vec(rows::finite(x, "activations", before)?, x.shape(), &Device::Cpu)?;
    Ok(Tensor::cat(&[x.relu()?, x.neg()?.relu()?], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;

    fn fitted(x: &Tensor, options: &Nmf) -> Result<Sae> {
        nmf(x, options, &mut stream(3, "nmf", 0), &Task::default())
    }

    fn unexplained(sae: &Sae, x: &Tensor) -> f32 {
        let size = |t: Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        size((sae.reconstruct(x).unwrap() - x).unwrap()) / size(x.clone())
    }

    #[test]
    fn a_nonnegative_matrix_of_low_rank_is_factored() {
        // Features with disjoint supports and sparse codes, so that the factorisation is unique.
        let features =
            [[2.0_f32, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]];
        let features = Tensor::new(&features, &Device::Cpu).unwrap();
        let codes =
            create::uniform(&[60, 3], -1.0, 1.0, DType::F32, &mut stream(1, "codes", 0)).unwrap().relu().unwrap();
        let x = codes.matmul(&features).unwrap();
        let sae = fitted(&x, &Nmf::new(3)).unwrap();
        assert!(unexplained(&sae, &x) < 1e-4, "{}", unexplained(&sae, &x));
        let found = of_unit_norm(sae.directions()).unwrap().0;
        let cosines = of_unit_norm(&features).unwrap().0.matmul(&found.t().unwrap()).unwrap();
        assert!(cosines.max(1).unwrap().to_vec1::<f32>().unwrap().iter().all(|cosine| *cosine > 0.999));
        assert!(sae.encode(&x).unwrap().flatten_all().unwrap().min(0).unwrap().to_scalar::<f32>().unwrap() >= 0.0);
        assert_eq!(
            fitted(&x, &Nmf::new(3)).unwrap().directions().to_vec2::<f32>().unwrap(),
            sae.directions().to_vec2::<f32>().unwrap()
        );
    }

    #[test]
    fn what_is_negative_is_factored_too() {
        let codes = create::uniform(&[40, 2], 0.0, 1.0, DType::F32, &mut stream(1, "codes", 0)).unwrap();
        let features = Tensor::new(&[[1.0_f32, -1.0, 0.0, 0.0], [0.0, 0.0, -2.0, 1.0]], &Device::Cpu).unwrap();
        let x = codes.matmul(&features).unwrap();
        let sae = fitted(&x, &Nmf::new(2)).unwrap();
        assert!(unexplained(&sae, &x) < 1e-4);
        let one = fitted(&x, &Nmf { k: Some(1), ..Nmf::new(2) }).unwrap();
        for row in one.encode(&x).unwrap().to_vec2::<f32>().unwrap() {
            assert_eq!(row.iter().filter(|code| **code != 0.0).count(), 1);
        }
    }

    #[test]
    fn nothing_is_factored_into_nothing() {
        let zero = Tensor::zeros((5, 3), DType::F32, &Device::Cpu).unwrap();
        let sae = fitted(&zero, &Nmf::new(2)).unwrap();
        assert_eq!(sae.reconstruct(&zero).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 3]; 5]);
        assert!(fitted(&zero, &Nmf::new(0)).is_err());
        assert!(fitted(&zero.narrow(0, 0, 0).unwrap(), &Nmf::new(2)).is_err());
    }
}
