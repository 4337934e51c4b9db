//! The formulas of erasers, in f64 on matrices.

use faer::{Mat, MatRef};

use crate::probes::ClassLabels;
use crate::probes::fit::{class_means, most_different};
use crate::probes::matrix::{means, product};
use crate::probes::optimum::optimum;
use crate::sae::prelude::*;
use crate::tensor::linalg::{SvdMatrices, eigen, singular};

/// The singular value of W Sxz below which all is rounding. The scale is that of the labels alone, which are 0 and 1.
const COVARIES: f64 = 1e-9;

/// The part of a projection's largest singular value below which directions depend on the others.
const DEPENDS: f64 = 1e-8;

/// Returns the labels as numbers, a column for each class but the first: with a column for all classes the covariance
/// of the labels would have a variance of rounding, and its inverse nothing but that.
fn one_hot(labels: &ClassLabels) -> Mat<f64> {
    let rows = labels.of_row.len();
    let columns = labels.classes.len() - 1;
    Mat::from_fn(rows, columns, |i, c| f64::from(u8::from(labels.of_row[i] == c + 1)))
}

fn centred(x: MatRef<'_, f64>, means: &[f64]) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - means[j])
}

/// Computes a^T b / (n - 1) of centred columns.
fn covariance(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    product(a.transpose(), b.as_ref()) * faer::Scale(1.0 / (a.nrows() - 1) as f64)
}

fn transposed(m: MatRef<'_, f64>) -> Mat<f64> {
    m.transpose().to_owned()
}

/// Computes L and R of LEACE, by which x becomes x - L R (x - mean). W is that of all rows where they are given, of which the
/// labelled ones may be a few: with any W of full rank the covariance of x and z becomes 0, and with this one all rows change
/// least.
pub fn leace(
    x: MatRef<'_, f64>,
    labels: &ClassLabels,
    all: Option<MatRef<'_, f64>>,
    shrinkage: bool,
) -> Result<(Mat<f64>, Mat<f64>)> {
    let z = one_hot(labels);
    let x = centred(x, &means(x));
    let z = centred(z.as_ref(), &means(z.as_ref()));
    let cross = covariance(&x, &z);
    let all = all.map(|all| centred(all, &means(all)));
    let all = all.as_ref().unwrap_or(&x);
    let own = if shrinkage { shrunk(all) } else { covariance(all, all) };
    let (whitening, unwhitening) = whitening(own.as_ref())?;
    let SvdMatrices { u, s: sizes, .. } = singular(product(whitening.as_ref(), cross.as_ref()).as_ref())
        .map_err(|error| error.within("the covariance of rows and labels"))?;
    let count = sizes.iter().filter(|size| **size > COVARIES).count();
    let u = u.as_ref().subcols(0, count);
    Ok((product(unwhitening.as_ref(), u), product(u.transpose(), whitening.as_ref())))
}

/// Computes S^(-1/2) and S^(1/2) of a covariance, both 0 where it has no variance.
fn whitening(covariance: MatRef<'_, f64>) -> Result<(Mat<f64>, Mat<f64>)> {
    let width = covariance.nrows();
    let (values, vectors) = eigen(covariance).map_err(|error| error.within("the covariance of the rows"))?;
    let largest = values.iter().copied().fold(0.0, f64::max);
    // As the pseudo-inverse of other libraries decides.
    let has_variance = |value: f64| value > largest * width as f64 * f64::EPSILON;
    let of = |power: &dyn Fn(f64) -> f64| {
        let scaled = |i, k| if has_variance(values[k]) { vectors[(i, k)] * power(values[k]) } else { 0.0 };
        product(Mat::from_fn(width, width, scaled).as_ref(), vectors.transpose())
    };
    Ok((of(&|value| value.sqrt().recip()), of(&f64::sqrt)))
}

/// Returns the covariance S / n shrunk towards T = I tr(S / n) / d: alpha S / n + beta T, with the alpha and beta that
/// are best for many rows and columns (Bodnar, Gupta & Parolya 2014, equations 3.3 to 3.8).
fn shrunk(x: &Mat<f64>) -> Mat<f64> {
    let rows = x.nrows() as f64;
    let width = x.ncols();
    let sample = product(x.transpose(), x.as_ref()) * faer::Scale(1.0 / rows);
    let trace: f64 = (0..width).map(|j| sample[(j, j)]).sum();
    let level = trace / width as f64;
    let squares: f64 = (0..width).flat_map(|i| (0..width).map(move |j| (i, j))).map(|at| sample[at].powi(2)).sum();
    // |T|^2, and tr(S T / n).
    let target = level * level * width as f64;
    let both = level * trace;
    let bottom = squares * target - both * both;
    if bottom <= f64::EPSILON * squares * target {
        // A multiple of the identity already.
        return sample;
    }
    let alpha = 1.0 - trace * trace * target / rows / bottom;
    let beta = (1.0 - alpha) * both / target;
    Mat::from_fn(width, width, |i, j| alpha * sample[(i, j)] + if i == j { beta * level } else { 0.0 })
}

/// Computes Sxz Szz^+ and the mean of z.
pub fn oracle(x: MatRef<'_, f64>, labels: &ClassLabels) -> Result<(Mat<f64>, Vec<f64>)> {
    let z = one_hot(labels);
    let mean = means(z.as_ref());
    let x = centred(x, &means(x));
    let z = centred(z.as_ref(), &mean);
    let (whitening, _) = whitening(covariance(&z, &z).as_ref())?;
    let inverse = product(whitening.as_ref(), whitening.as_ref());
    Ok((product(covariance(&x, &z).as_ref(), inverse.as_ref()), mean))
}

/// Computes x - coefficient (z - mean).
pub fn without_labels(x: MatRef<'_, f64>, labels: &ClassLabels, coefficient: &Mat<f64>, mean: &[f64]) -> Mat<f64> {
    let z = centred(one_hot(labels).as_ref(), mean);
    let change = product(z.as_ref(), coefficient.transpose());
    Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - change[(i, j)])
}

/// Returns the means of classes less their mean, `[classes, width]`: they span the differences of all of them.
pub fn mean_differences(x: MatRef<'_, f64>, labels: &ClassLabels) -> Result<Mat<f64>> {
    let of_classes = class_means(x, labels);
    let found = centred(of_classes.as_ref(), &means(of_classes.as_ref()));
    if found.norm_max() > 0.0 {
        Ok(found)
    } else {
        Err(err!(Numeric, "expected classes with different means, found one mean").about("x"))
    }
}

/// Fits the probes of all rounds, each on what the projections before have left, and returns their weights,
/// `[directions, width]`.
pub fn inlp(x: MatRef<'_, f64>, labels: &ClassLabels, rounds: usize, l2: Option<f64>, task: &Task) -> Result<Mat<f64>> {
    let x = centred(x, &means(x));
    let width = x.ncols();
    let l2 = l2.unwrap_or(1.0 / x.nrows() as f64);
    let mut basis = Mat::<f64>::zeros(0, width);
    let bar = task.begin("erasing", Some(rounds as u64));
    for _ in 0..rounds {
        let left = without(&x, &basis);
        let probe = optimum(left.as_ref(), &labels.of_row, labels.classes.len(), l2, None, task)?;
        let found = without(&transposed(probe.weights.as_ref()), &basis);
        let all = Mat::from_fn(basis.nrows() + found.nrows(), width, |i, j| match i.checked_sub(basis.nrows()) {
            None => basis[(i, j)],
            Some(i) => found[(i, j)] / found.norm_max().max(f64::MIN_POSITIVE),
        });
        basis = row_basis(&all)?;
        bar.advance(1);
    }
    if basis.nrows() == 0 {
        return Err(err!(Numeric, "expected probes with a direction, found weights that are all 0").about("x"));
    }
    Ok(basis)
}

/// Removes from rows their components along orthonormal rows.
fn without(x: &Mat<f64>, basis: &Mat<f64>) -> Mat<f64> {
    if basis.nrows() == 0 {
        return x.clone();
    }
    x - product(product(x.as_ref(), basis.transpose()).as_ref(), basis.as_ref())
}

/// Returns orthonormal rows that span those of a matrix.
fn row_basis(rows: &Mat<f64>) -> Result<Mat<f64>> {
    let SvdMatrices { s: sizes, v, .. } =
        singular(rows.as_ref()).map_err(|error| error.within("the directions to erase"))?;
    let count = sizes.iter().filter(|size| **size > DEPENDS * sizes[0] && **size > 0.0).count();
    Ok(transposed(v.as_ref().subcols(0, count)))
}

/// Returns the features whose mean activation differs most between a class and all other rows.
pub fn most_different_features(sae: &Sae, x: &Tensor, labels: &ClassLabels, k: usize, task: &Task) -> Result<Vec<u32>> {
    let x = crate::tensor::dtype::convert(x, sae.parts().encoder.dtype())?;
    let codes = sae.encode_sparse(&x, task)?.finite()?;
    let counts = labels.counts();
    let mut means = Mat::<f64>::zeros(counts.len(), sae.d_sae());
    for (row, class) in labels.of_row.iter().enumerate() {
        let (features, codes) = codes.row(row);
        let weight = 1.0 / counts[*class] as f64;
        features.iter().zip(codes).for_each(|(f, code)| means[(*class, *f as usize)] += weight * f64::from(*code));
    }
    let chosen = most_different(means.as_ref(), &counts, k)?;
    Ok(chosen.into_iter().map(|feature| feature as u32).collect())
}
