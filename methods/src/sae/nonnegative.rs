//! Nonnegative codes with the best reconstruction: nonnegative least squares.

use super::codes::{centred, pre};
use super::parts::Parts;
use super::parts::activation::{Activation, ActivationFunction, ActivationPart, OtherActivation};
use super::select::largest;
use crate::base::{Error, Result, Task, memory, parallel};
use crate::tensor::{DType, Device, Tensor, dtype, matmul};
use crate::{bail, err};

/// Maximum number of sweeps over the codes. Most rows converge long before; those with nearly parallel features may
/// not, but there the error hardly depends on it.
const SWEEPS: usize = 200;

/// Codes have converged when no gradient changes by more than this share of the largest product.
const REST: f64 = 1e-7;

/// Nonnegative codes with the best reconstruction, all of them or the k largest. Of the nonnegative W = [P, N] the encoder
/// has P - N, which is what is written, and `sum` has P + N: `[d_sae, d_in]`.
pub const NONNEGATIVE: ActivationFunction = ActivationFunction {
    name: "nonnegative",
    in_words: "each of its codes depends on all others",
    tensors: &[("sum", ActivationPart::Rows)],
    needs_k: false,
    reads_directions: false,
    codes: |own, parts, x| {
        let [sum] = own.tensors.as_slice() else { bail!(Bug, "nonnegative codes without their sum") };
        codes(&pre(parts, x)?, &parts.encoder, sum, own.k, &centred(parts, x)?)
    },
    estimate: None,
    check: Some(check),
    untunable: Some(untunable),
};

/// Makes the activation function of nonnegative codes.
pub fn nonnegative(sum: Tensor, k: Option<usize>) -> Activation {
    Activation::Other(OtherActivation { function: &NONNEGATIVE, tensors: vec![sum], k })
}

fn check(parts: &Parts) -> Result<()> {
    if parts.encoder_bias.is_none() && !parts.centred && !parts.rescaled {
        return Ok(());
    }
    Err(err!(Argument, "expected nonnegative codes of the input as it is, found a bias or a rescaling"))
}

fn untunable() -> Error {
    err!(Argument, "codes that are found by a search, as those of nmf, have no gradient")
}

/// Finds the codes c >= 0 with the least |[relu(x), relu(-x)] - c W|, for W = [P, N] with P and N nonnegative, given by
/// their difference and their sum; of these codes the k largest, where k is given. They have no gradient. `pre` is the
/// product of x and the difference.
pub fn codes(pre: &Tensor, difference: &Tensor, sum: &Tensor, k: Option<usize>, x: &Tensor) -> Result<Tensor> {
    if x.track_op() {
        return Err(err!(Argument, "codes that are found by a search, as those of nmf, have no gradient")
            .hint("detach the activations, or take another dictionary"));
    }
    // P relu(x) + N relu(-x) = ((P - N) x + (P + N) |x|) / 2, and W W^T likewise.
    let products = (pre + matmul::matmul(&x.abs()?, &sum.t()?)?)?.affine(0.5, 0.0)?;
    let gram = (difference.matmul(&difference.t()?)? + sum.matmul(&sum.t()?)?)?.affine(0.5, 0.0)?;
    let products = dtype::convert(&products, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut codes = vec![0.0; products.len()];
    Gram::new(&gram)?.solve(&products, &mut codes, SWEEPS, &Task::default())?;
    let codes = Tensor::from_vec(codes, pre.shape(), &Device::Cpu)?;
    let codes = match k {
        None => codes,
        Some(k) => largest(&codes, &codes, k)?,
    };
    Ok(codes.to_dtype(x.dtype())?.to_device(x.device())?)
}

/// The products of the features with each other, W W^T.
pub struct Gram {
    features: usize,
    products: Vec<f64>,
}

impl Gram {
    pub fn new(gram: &Tensor) -> Result<Self> {
        let (features, columns) = gram.dims2()?;
        if features == 0 || features != columns {
            bail!(Bug, "products of features in the shape {:?}", gram.dims());
        }
        memory::check(8 * (features as u128).pow(2), || format!("the products of {features} features"))?;
        Ok(Self { features, products: gram.to_dtype(DType::F64)?.flatten_all()?.to_vec1()? })
    }

    /// Turns codes, row by row, into those c >= 0 with the least |y - c W|², where `products` has y W^T. Each code in
    /// turn is set to its best value while the others stay (cyclic coordinate descent; Franc, Hlaváč & Navara 2005).
    pub fn solve(&self, products: &[f32], codes: &mut [f32], sweeps: usize, task: &Task) -> Result<()> {
        let solved = parallel::blocks(codes, self.features, &|first, codes| {
            task.check()?;
            self.solve_row(&products[first..first + self.features], codes, sweeps);
            Ok(())
        });
        solved.into_iter().collect()
    }

    fn solve_row(&self, products: &[f32], codes: &mut [f32], sweeps: usize) {
        let most = products.iter().map(|p| f64::from(p.abs())).fold(0.0, f64::max);
        let mut best: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
        let mut slopes: Vec<f64> = products.iter().map(|p| -f64::from(*p)).collect();
        let rows = self.products.chunks_exact(self.features);
        for (row, code) in rows.clone().zip(&best).filter(|(_, code)| **code != 0.0) {
            slopes.iter_mut().zip(row).for_each(|(slope, product)| *slope += code * product);
        }
        for _ in 0..sweeps {
            let mut moved: f64 = 0.0;
            for (feature, row) in rows.clone().enumerate() {
                // A feature that writes nothing stays out.
                let size = row[feature];
                let next = if size > 0.0 { (best[feature] - slopes[feature] / size).max(0.0) } else { 0.0 };
                let step = next - best[feature];
                if step != 0.0 {
                    best[feature] = next;
                    slopes.iter_mut().zip(row).for_each(|(slope, product)| *slope += step * product);
                    moved = moved.max(step.abs() * size);
                }
            }
            if moved <= REST * most {
                break;
            }
        }
        codes.iter_mut().zip(best).for_each(|(code, best)| *code = best as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::tensor::create;
    use proptest::prelude::*;

    /// Draws the features' values for positive and for negative parts.
    fn drawn(features: usize, width: usize, seed: u64) -> (Tensor, Tensor) {
        let draw = |turn| {
            let mut draws = stream(seed, "nonnegative", turn);
            create::uniform(&[features, width], 0.0, 1.0, DType::F32, &mut draws).unwrap()
        };
        (draw(0), draw(1))
    }

    fn searched(difference: &Tensor, sum: &Tensor, k: Option<usize>, x: &Tensor) -> Result<Tensor> {
        codes(&matmul::matmul(x, &difference.t()?)?, difference, sum, k, x)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn codes_meet_the_conditions_of_a_minimum(features in 1_usize..6, width in 6_usize..10, seed in any::<u64>()) {
            let (p, n) = drawn(features, width, seed);
            let x = create::randn(&[3, width], DType::F32, &mut stream(seed, "x", 0)).unwrap();
            let codes = searched(&(&p - &n).unwrap(), &(&p + &n).unwrap(), None, &x).unwrap();
            let w = Tensor::cat(&[p, n], 1).unwrap();
            let y = Tensor::cat(&[x.relu().unwrap(), x.neg().unwrap().relu().unwrap()], 1).unwrap();
            let rest = (codes.matmul(&w).unwrap() - y).unwrap();
            let slopes = rest.matmul(&w.t().unwrap()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let codes = codes.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // Karush, Kuhn, Tucker: no code below 0, no slope below 0, and one of both is 0.
            for (code, slope) in codes.into_iter().zip(slopes) {
                prop_assert!(code >= 0.0 && slope > -1e-3 && (code * slope).abs() < 1e-3, "{code} {slope}");
            }
        }
    }

    #[test]
    fn the_largest_are_kept_and_gradients_are_refused() {
        let eye = create::eye(2, 2, DType::F32).unwrap();
        let x = Tensor::new(&[[[3.0_f32, 1.0], [-1.0, 2.0]]], &Device::Cpu).unwrap();
        // P = I, N = 0: the codes are relu(x).
        let of = |k| searched(&eye, &eye, k, &x).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(of(None), [[[3.0, 1.0], [0.0, 2.0]]]);
        assert_eq!(of(Some(1)), [[[3.0, 0.0], [0.0, 2.0]]]);
        let tracked = candle_core::Var::from_tensor(&x).unwrap();
        assert!(searched(&eye, &eye, None, &tracked).unwrap_err().message.contains("no gradient"));
    }
}
