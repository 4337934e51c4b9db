//! Matching pursuit: codes that are found one after the other, each as the feature that what is left of the input is most
//! along (Mallat & Zhang 1993; as the encoder of a dictionary, Costa et al. 2025).
//!
//! With directions D of norm 1 and r_0 = x, step t takes the feature j of the largest d_j . r, adds z = relu(d_j . r) to its
//! code, and leaves r - z d_j, which is orthogonal to d_j. So features that share a part of their directions are not both
//! active for that part, as they are where all inner products are with x itself. A feature may be taken again.

use crate::base::{Result, memory, parallel};
use crate::tensor::{DType, Device, Tensor, elementwise, gather, matmul};
use kernels::sparse::add_rows;
use kernels::{FlatNumbers, arch, flat};

/// The most features whose inner products with each other are held in memory: 256 MiB.
const FEATURES: usize = 1 << 13;

/// Computes the codes of rows `[n, d]` after `k` steps, with gradients: `[n, features]`. Which features are taken has
/// none.
pub fn codes(x: &Tensor, directions: &Tensor, k: usize) -> Result<Tensor> {
    let rows = x.dims2()?.0;
    let features = directions.dims2()?.0;
    let taken = if is_here(x) && is_here(directions) && features <= FEATURES {
        by_products(&x.detach(), &directions.detach(), k)?
    } else {
        by_residuals(&x.detach(), &directions.detach(), k)?
    };
    let mut left = x.clone();
    let mut sizes = Vec::with_capacity(k);
    for step in 0..k {
        let of_rows = directions.index_select(&taken.narrow(1, step, 1)?.flatten_all()?, 0)?;
        let size = elementwise::relu(&left.mul(&of_rows)?.sum_keepdim(1)?)?;
        left = (left - of_rows.broadcast_mul(&size)?)?;
        sizes.push(size);
    }
    let none = Tensor::zeros((rows, features), x.dtype(), x.device())?;
    gather::scatter_add(&none, 1, &taken, &Tensor::cat(&sizes, 1)?)
}

/// Computes the codes of activations with any number of axes.
pub fn codes_of_any(x: &Tensor, directions: &Tensor, k: usize) -> Result<Tensor> {
    let (features, width) = directions.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(features);
    Ok(codes(&x.reshape(((), width))?, directions, k)?.reshape(shape)?)
}

fn is_here(t: &Tensor) -> bool {
    t.dtype() == DType::F32 && t.device().is_cpu()
}

/// Chooses the feature of each row in each step, `[n, k]`: all inner products are computed anew in every step.
fn by_residuals(x: &Tensor, directions: &Tensor, k: usize) -> Result<Tensor> {
    let mut left = x.clone();
    let mut taken = Vec::with_capacity(k);
    for _ in 0..k {
        let products = matmul::matmul(&left, &directions.t()?)?;
        let best = products.argmax_keepdim(1)?;
        let size = elementwise::relu(&products.gather(&best, 1)?)?;
        left = (left - directions.index_select(&best.flatten_all()?, 0)?.broadcast_mul(&size)?)?;
        taken.push(best);
    }
    Ok(Tensor::cat(&taken, 1)?.contiguous()?)
}

/// Chooses features by the inner products of features with each other: a step changes those with what is left by z D
/// d_j.
fn by_products(x: &Tensor, directions: &Tensor, k: usize) -> Result<Tensor> {
    let rows = x.dims2()?.0;
    let features = directions.dims2()?.0;
    memory::check(4 * (features * (features + rows)) as u128, || format!("the products of {features} features"))?;
    let gram = flat(&directions.matmul(&directions.t()?)?)?;
    let gram = FlatNumbers::of(&gram)?;
    let gram = gram.slice();
    let mut products = x.matmul(&directions.t()?)?.flatten_all()?.to_vec1::<f32>()?;
    let taken = parallel::blocks(&mut products, features, &|_, products| {
        let mut take = || {
            let best = largest(products);
            let size = products[best];
            if size > 0.0 {
                add_rows(arch(), products, gram, 1, |_| (best as u32, -size));
            }
            best as u32
        };
        (0..k).map(|_| take()).collect::<Vec<u32>>()
    });
    Ok(Tensor::from_vec(taken.concat(), (rows, k), &Device::Cpu)?)
}

/// Returns the place of the largest number; of equal ones the first.
fn largest(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (at, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::sae::codes::norms;
    use crate::tensor::{create, floats};

    fn drawn(rows: usize, features: usize) -> (Tensor, Tensor) {
        let draw = |count, name| create::randn(&[count, 12], DType::F32, &mut stream(3, name, 0)).unwrap();
        let directions = draw(features, "directions");
        let unit = directions.broadcast_div(&norms(&directions).unwrap().unsqueeze(1).unwrap()).unwrap();
        (draw(rows, "x"), unit)
    }

    #[test]
    fn the_fast_way_takes_what_the_plain_one_does() {
        for (rows, features, k) in [(50, 30, 7), (1, 1, 3), (20, 100, 12)] {
            let (x, d) = drawn(rows, features);
            let taken = |t: Tensor| t.to_vec2::<u32>().unwrap();
            assert_eq!(taken(by_products(&x, &d, k).unwrap()), taken(by_residuals(&x, &d, k).unwrap()));
        }
    }

    #[test]
    fn what_is_left_is_orthogonal_to_what_was_taken_last_and_shrinks() {
        let (x, d) = drawn(40, 30);
        let mut before = f64::INFINITY;
        for k in 1..8 {
            let codes = codes(&x, &d, k).unwrap();
            let left = (&x - codes.matmul(&d).unwrap()).unwrap();
            let size: f64 = floats(&left.sqr().unwrap()).unwrap().iter().sum();
            assert!(size < before);
            before = size;
            let last = by_residuals(&x, &d, k).unwrap().narrow(1, k - 1, 1).unwrap().flatten_all().unwrap();
            let along = floats(&(left * d.index_select(&last, 0).unwrap()).unwrap().sum(1).unwrap()).unwrap();
            assert!(along.iter().all(|product| product.abs() < 1e-5), "{along:?}");
            assert!(floats(&codes).unwrap().iter().all(|code| *code >= 0.0));
        }
    }

    #[test]
    fn a_step_is_as_one_computes_it_by_hand() {
        // d_1 = (.6, .8): of (1, 1) it takes 1.4 and leaves (.16, -.12), of which (1, 0) takes .16.
        let d = Tensor::new(&[[1.0_f32, 0.0], [0.6, 0.8]], &Device::Cpu).unwrap();
        let x = Tensor::new(&[[1.0_f32, 1.0], [-1.0, -1.0]], &Device::Cpu).unwrap();
        let found = floats(&codes(&x, &d, 2).unwrap()).unwrap();
        let expected = [0.16, 1.4, 0.0, 0.0];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (x, d) = drawn(6, 9);
        let loss = |d: &Tensor| -> Tensor {
            let codes = codes(&x, d, 3).unwrap();
            (codes.matmul(d).unwrap() - &x).unwrap().sqr().unwrap().sum_all().unwrap()
        };
        let variable = candle_core::Var::from_tensor(&d).unwrap();
        let gradient = loss(&variable).backward().unwrap().remove(&variable).unwrap();
        let way = create::randn(&[9, 12], DType::F32, &mut stream(5, "way", 0)).unwrap();
        let at = |step: f64| f64::from(loss(&(&d + (&way * step).unwrap()).unwrap()).to_scalar::<f32>().unwrap());
        let expected = (at(1e-3) - at(-1e-3)) / 2e-3;
        let found: f64 = floats(&(gradient * way).unwrap()).unwrap().iter().sum();
        assert!((found - expected).abs() < 2e-2 * expected.abs(), "{found} {expected}");
    }
}
