//! Fitting probes: logistic and softmax regression, difference of means, and regression on a few columns.

use faer::{Mat, MatRef};

use super::labels::ClassLabels;
use super::matrix::{columns, matrix, product};
use super::optimum::{Solver, optimum};
use super::probe::{Probe, ProbeKind};
use crate::common::*;
use crate::options::OptionGroup;
use crate::tensor::Tensor;

crate::options! {
    pub struct ProbeOptions {
        /// Kind of probe.
        kind: ProbeKind = ProbeKind::Logistic;
        /// Half the weight of the squared weights beside the mean loss.
        l2: Option<f64> = None
            => usually("1 / rows, which is C = 1 in scikit-learn").at_least(0.0).only("kind", &["logistic", "sparse"]);
        /// The number of columns.
        k: Option<usize> = None => usually("5, or all where there are fewer").at_least(1.0).only("kind", &["sparse"]);
        /// Method that finds the optimum, which is the same for all.
        solver: Option<Solver> = None
            => usually("\"newton\" up to 300 weights, else \"lbfgs\"").only("kind", &["logistic", "sparse"]);
    }
}

impl ProbeOptions {
    /// Refuses options that this kind does not have.
    pub fn check(&self) -> Result<()> {
        self.refuse_others()
    }
}

impl Probe {
    /// Fits a probe on rows `[n, d]` and the label of each.
    pub fn fit(x: &Tensor, labels: &ClassLabels, options: &ProbeOptions, task: &Task) -> Result<Self> {
        options.check()?;
        let x = matrix(x).map_err(|e| e.about("x"))?;
        labels.check_rows(x.nrows()).map_err(|e| e.about("y"))?;
        let _spoken_of = task.begin("fitting a probe", None);
        Self::of_matrix(x.as_ref(), labels, options, task)
    }

    /// Fits a probe on rows that were read already.
    pub fn of_matrix(x: MatRef<'_, f64>, labels: &ClassLabels, options: &ProbeOptions, task: &Task) -> Result<Self> {
        let counts = labels.counts();
        labels.check_each().map_err(|e| e.about("y"))?;
        let rows = x.nrows();
        let l2 = options.l2.unwrap_or(1.0 / rows as f64);
        let features = match options.kind {
            ProbeKind::Sparse => {
                let k = options.k.unwrap_or(SPARSE.min(x.ncols()));
                Some(most_different(class_means(x, labels).as_ref(), &counts, k)?)
            }
            ProbeKind::Logistic | ProbeKind::DifferenceOfMeans => None,
        };
        let (weights, biases) = match (options.kind, &features) {
            (ProbeKind::DifferenceOfMeans, _) => nearest_mean(x, labels)?,
            (_, None) => regression(x, labels, l2, options, task)?,
            (_, Some(features)) => regression(columns(x, features).as_ref(), labels, l2, options, task)?,
        };
        Ok(Self {
            kind: options.kind,
            classes: labels.classes.clone(),
            shares: counts.iter().map(|count| *count as f64 / rows as f64).collect(),
            rows,
            width: x.ncols(),
            features,
            l2: (options.kind != ProbeKind::DifferenceOfMeans).then_some(l2),
            weights,
            biases,
        })
    }
}

/// The columns of a sparse probe where their number is not given.
const SPARSE: usize = 5;

fn regression(
    x: MatRef<'_, f64>,
    labels: &ClassLabels,
    l2: f64,
    options: &ProbeOptions,
    task: &Task,
) -> Result<(Mat<f64>, Vec<f64>)> {
    let found = optimum(x, &labels.of_row, labels.classes.len(), l2, options.solver, task)?;
    Ok((found.weights, found.biases))
}

/// Computes the mean of each class, `[classes, columns]`.
pub fn class_means(x: MatRef<'_, f64>, labels: &ClassLabels) -> Mat<f64> {
    let counts = labels.counts();
    let mut means = Mat::<f64>::zeros(counts.len(), x.ncols());
    for j in 0..x.ncols() {
        labels.of_row.iter().enumerate().for_each(|(i, class)| means[(*class, j)] += x[(i, j)]);
        counts.iter().enumerate().for_each(|(class, count)| means[(class, j)] /= *count as f64);
    }
    means
}

/// Returns the `k` columns with the largest difference between the mean of a class and that of all other rows, in order
/// (Gurnee et al. 2023, section 3, for two classes), from the means of the classes, `[classes, columns]`.
pub fn most_different(means: MatRef<'_, f64>, counts: &[usize], k: usize) -> Result<Vec<usize>> {
    if k > means.ncols() {
        return Err(err!(Argument, "expected at most {} columns for `k`, found {k}", means.ncols()).about("k"));
    }
    let rows = counts.iter().sum::<usize>() as f64;
    let difference = |j: usize| {
        let sum: f64 = counts.iter().enumerate().map(|(class, count)| *count as f64 * means[(class, j)]).sum();
        let of_class = |(class, count): (usize, &usize)| {
            let count = *count as f64;
            let mean = means[(class, j)];
            (mean - (sum - count * mean) / (rows - count)).abs()
        };
        counts.iter().enumerate().map(of_class).fold(0.0, f64::max)
    };
    let mut ranked: Vec<(f64, usize)> = (0..means.ncols()).map(|j| (difference(j), j)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = ranked.into_iter().take(k).map(|(_, column)| column).collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// Computes the weights of the nearest class mean m: the score of a class is (m.x - |m|^2 / 2) / s^2, and that of two
/// classes the difference of both, whose direction is the difference of means and which is 0 halfway. s^2 is the
/// variance within the classes along the directions from the mean of the class means to each of them: so probabilities
/// are those of classes that are normally distributed along these, all with s^2, and equally common.
fn nearest_mean(x: MatRef<'_, f64>, labels: &ClassLabels) -> Result<(Mat<f64>, Vec<f64>)> {
    let means = class_means(x, labels);
    let classes = means.nrows();
    let width = means.ncols();
    let middle = super::matrix::means(means.as_ref());
    let length = |class: usize| (0..width).map(|j| (means[(class, j)] - middle[j]).powi(2)).sum::<f64>().sqrt();
    let apart: Vec<usize> = (0..classes).filter(|class| length(*class) > 0.0).collect();
    if apart.is_empty() {
        return Err(err!(Numeric, "expected classes with different means, found one mean").about("x"));
    }
    let units = Mat::from_fn(width, apart.len(), |j, a| (means[(apart[a], j)] - middle[j]) / length(apart[a]));
    let along = product(x, units.as_ref());
    let along_means = product(means.as_ref(), units.as_ref());
    let mut squares = 0.0;
    for (i, class) in labels.of_row.iter().enumerate() {
        squares += (0..apart.len()).map(|a| (along[(i, a)] - along_means[(*class, a)]).powi(2)).sum::<f64>();
    }
    let freedom = (x.nrows() - classes).max(1) as f64 * apart.len() as f64;
    // Classes that are points are certain, as far as numbers go.
    let spread = apart.iter().map(|class| length(*class).powi(2)).sum::<f64>() / apart.len() as f64;
    let variance = (squares / freedom).max(1e-12 * spread);
    let norm = |class: usize| (0..width).map(|j| means[(class, j)].powi(2)).sum::<f64>();
    if classes == 2 {
        let weights = Mat::from_fn(width, 1, |j, _| (means[(1, j)] - means[(0, j)]) / variance);
        return Ok((weights, vec![(norm(0) - norm(1)) / (2.0 * variance)]));
    }
    let weights = Mat::from_fn(width, classes, |j, class| means[(class, j)] / variance);
    Ok((weights, (0..classes).map(|class| -norm(class) / (2.0 * variance)).collect()))
}
