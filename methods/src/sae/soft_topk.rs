//! The soft top-k, by which the kind `soft_topk` learns how many features a row needs (SoftSAE; Stępień et al. 2026).
//!
//! With F the distribution function of the Laplace distribution, the weights of the numbers x of a row are F((x_i - b) / alpha),
//! with b such that they sum to k, which need not be whole (LapSum; Struski et al. 2025, arXiv 2503.06242). Where alpha goes to
//! 0, the k largest numbers have a weight of 1 and the others 0. Unlike those of a top-k, the weights have a gradient for k.

use crate::base::{Result, parallel};
use crate::tensor::{DType, Device, Tensor, floats};

/// Computes the weights of the numbers of each row `[n, width]`, which sum to the row's k of `[n, 1]`, with gradients for both.
pub fn weights(x: &Tensor, k: &Tensor, alpha: f64) -> Result<Tensor> {
    let width = x.dims2()?.1;
    let numbers = floats(&x.detach())?;
    let ks = floats(&k.detach())?;
    let mut found = numbers.clone();
    let thresholds = parallel::blocks(&mut found, width, &|first, row| {
        let threshold = threshold(row, ks[first / width], alpha);
        row.iter_mut().for_each(|x| *x = share((*x - threshold) / alpha));
        threshold
    });
    let like = (k.dims().to_vec(), k.dtype());
    let found = placed(found, x.dims(), x.dtype(), x.device())?;
    Ok(kernels::with_gradient("soft_topk", &found, &[x, k], move |_, gradient| {
        let mut all = gradient.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let of_k = parallel::blocks(&mut all, width, &|first, gradient| {
            pull_back(gradient, &numbers[first..first + width], thresholds[first / width], alpha)
        });
        let device = gradient.device();
        Ok(vec![
            Some(placed(all, gradient.dims(), gradient.dtype(), device)?),
            Some(placed(of_k, &like.0, like.1, device)?),
        ])
    })?)
}

fn placed(numbers: Vec<f64>, dims: &[usize], dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
    Tensor::from_vec(numbers, dims, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}

/// Computes the distribution function of the Laplace distribution.
fn share(x: f64) -> f64 {
    if x <= 0.0 { 0.5 * x.exp() } else { 1.0 - 0.5 * (-x).exp() }
}

/// Finds the b at which the weights of the numbers sum to k: -infinity where k is all of them.
///
/// With the numbers in descending order and b between x_m and x_{m+1}, the sum is m - A u / 2 + B q / (2 u), where u = exp((b -
/// x_m) / alpha), q = exp((x_{m+1} - x_m) / alpha), A sums exp((x_m - x_i) / alpha) over the numbers down to x_m, and B sums
/// exp((x_i - x_{m+1}) / alpha) over the others. That is quadratic in u. Both sums are recursions along the row.
fn threshold(numbers: &[f64], k: f64, alpha: f64) -> f64 {
    let count = numbers.len();
    if k >= count as f64 {
        return f64::NEG_INFINITY;
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let fall = |from: usize| (sorted[from + 1] - sorted[from]) / alpha;
    let mut below = vec![1.0; count];
    for at in (0..count - 1).rev() {
        below[at] = 1.0 + below[at + 1] * fall(at).exp();
    }
    // The sum at b = x_1 is half of what is below it.
    if k < 0.5 * below[0] {
        return sorted[0] + alpha * (below[0] / (2.0 * k)).ln();
    }
    let mut above = 1.0;
    for at in 0..count - 1 {
        let fall = fall(at);
        let next = 1.0 + above * fall.exp();
        let sum = (at + 1) as f64 - 0.5 * (next - 1.0) + 0.5 * below[at + 1];
        if k < sum {
            return sorted[at] + alpha * between(above, below[at + 1], (at + 1) as f64 - k, fall);
        }
        above = next;
    }
    sorted[count - 1] + alpha * (2.0 * (count as f64 - k) / above).ln()
}

/// Solves a u² - 2 c u - b exp(fall) = 0 for the logarithm of u > 0, without the difference of two numbers that are nearly the
/// same, and where exp(fall) is 0 in rounding.
fn between(a: f64, b: f64, c: f64, fall: f64) -> f64 {
    let root = (c * c + a * b * fall.exp()).sqrt();
    if c > 0.0 {
        ((c + root) / a).ln()
    } else if c < 0.0 {
        fall + (b / (root - c)).ln()
    } else {
        0.5 * (fall + (b / a).ln())
    }
}

/// Turns the gradient of a row's weights into that of its numbers, and returns that of its k.
///
/// With f the density at each number, and m the mean of the gradient g weighted by f, these are f (g - m) and m. The mean is of
/// densities relative to the largest, since all of them may be 0 in rounding.
fn pull_back(gradient: &mut [f64], numbers: &[f64], threshold: f64, alpha: f64) -> f64 {
    if threshold.is_infinite() {
        gradient.fill(0.0);
        return 0.0;
    }
    let distance = |x: &f64| (x - threshold).abs() / alpha;
    let nearest = numbers.iter().map(distance).fold(f64::INFINITY, f64::min);
    let mut whole = 0.0;
    let mut sum = 0.0;
    for (gradient, x) in gradient.iter().zip(numbers) {
        let density = (nearest - distance(x)).exp();
        whole += density;
        sum += density * gradient;
    }
    let mean = sum / whole;
    for (gradient, x) in gradient.iter_mut().zip(numbers) {
        *gradient = (-distance(x)).exp() / (2.0 * alpha) * (*gradient - mean);
    }
    mean
}

#[cfg(test)]
mod tests;
