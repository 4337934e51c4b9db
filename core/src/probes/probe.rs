//! A fitted probe: the scores, probabilities and classes that it gives to rows, and its directions.

use faer::{Mat, MatRef};

use super::labels::ClassName;
use super::matrix::{check_width, columns, matrix, product};
use super::optimum::chances;
use crate::common::*;
use crate::tensor::{DType, Device, Tensor};

crate::choices! {
    /// Kind of a probe.
    pub enum ProbeKind {
        /// Logistic regression; softmax regression for more than two classes.
        Logistic = "logistic",
        /// The nearest mean of a class.
        DifferenceOfMeans = "difference_of_means",
        /// Logistic regression on the few columns whose means differ most between the classes.
        Sparse = "sparse",
    }
}

/// A linear classifier: x W + b, whose outputs are the log odds of the second of two classes, or a score for each of
/// several classes, of which the softmax is the probability.
#[derive(Debug, Clone)]
pub struct Probe {
    pub kind: ProbeKind,
    pub classes: Vec<ClassName>,
    /// The share of each class among the rows that the probe was fitted on.
    pub shares: Vec<f64>,
    /// The number of rows that the probe was fitted on.
    pub rows: usize,
    /// The number of elements of a row.
    pub width: usize,
    /// The columns that the probe reads, in order; None for all.
    pub features: Option<Vec<usize>>,
    /// The weight of the penalty, where there is one.
    pub l2: Option<f64>,
    /// Weights, `[columns read, outputs]`.
    pub weights: Mat<f64>,
    pub biases: Vec<f64>,
}

impl Probe {
    pub fn outputs(&self) -> usize {
        self.biases.len()
    }

    /// Computes the outputs for some rows, `[rows, outputs]`.
    pub fn outputs_of(&self, x: &Tensor) -> Result<Mat<f64>> {
        let x = matrix(x)?;
        check_width(x.as_ref(), self.width, "the probe")?;
        Ok(self.on(x.as_ref()))
    }

    /// Computes the outputs for rows that are known to have the right width.
    pub fn on(&self, x: MatRef<'_, f64>) -> Mat<f64> {
        let read = self.features.as_ref().map(|features| columns(x, features));
        let products = product(read.as_ref().map_or(x, Mat::as_ref), self.weights.as_ref());
        Mat::from_fn(products.nrows(), products.ncols(), |i, a| products[(i, a)] + self.biases[a])
    }

    /// Computes the log odds of the second of two classes, `[rows]`; for several classes their scores, `[rows,
    /// classes]`.
    pub fn scores(&self, x: &Tensor) -> Result<Tensor> {
        let outputs = self.outputs_of(x)?;
        match self.outputs() {
            1 => {
                let scores: Vec<f32> = (0..outputs.nrows()).map(|i| outputs[(i, 0)] as f32).collect();
                Ok(Tensor::from_vec(scores, outputs.nrows(), &Device::Cpu)?)
            }
            _ => super::matrix::tensor(outputs.as_ref(), DType::F32),
        }
    }

    /// Predicts the class of each row: the likeliest, and the first of equally likely ones.
    pub fn predict(&self, x: &Tensor) -> Result<Vec<ClassName>> {
        let found = likeliest(class_chances(self.outputs_of(x)?.as_ref()).as_ref());
        Ok(found.into_iter().map(|class| self.classes[class].clone()).collect())
    }

    /// Returns the unit vector along which the log odds of the second class rise fastest, `[width]`; of several classes
    /// one for each, along which its score rises above the mean score, `[classes, width]`.
    pub fn direction(&self) -> Result<Tensor> {
        let outputs = self.outputs();
        let mean = |j: usize| match outputs {
            1 => 0.0,
            _ => (0..outputs).map(|a| self.weights[(j, a)]).sum::<f64>() / outputs as f64,
        };
        let mut rows = vec![vec![0.0_f64; self.width]; outputs];
        for j in 0..self.weights.nrows() {
            let column = self.features.as_ref().map_or(j, |features| features[j]);
            (0..outputs).for_each(|a| rows[a][column] = self.weights[(j, a)] - mean(j));
        }
        for (row, class) in rows.iter_mut().zip(&self.classes) {
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length == 0.0 {
                return Err(err!(Numeric, "expected a probe with a direction, found weights that are all 0")
                    .hint(format!("nothing in the rows tells {class} from the others")));
            }
            row.iter_mut().for_each(|x| *x /= length);
        }
        let values: Vec<f32> = rows.iter().flatten().map(|x| *x as f32).collect();
        let found = Tensor::from_vec(values, (outputs, self.width), &Device::Cpu)?;
        Ok(if outputs == 1 { found.get(0)? } else { found })
    }

    /// Returns the class that most rows of the fit had, which is the answer without looking.
    pub fn commonest(&self) -> usize {
        likeliest(MatRef::from_row_major_slice(&self.shares, 1, self.shares.len()))[0]
    }
}

/// Computes the probability of each class, `[rows, classes]`, from the outputs of a probe.
pub fn class_chances(outputs: MatRef<'_, f64>) -> Mat<f64> {
    let found = chances(outputs);
    match found.ncols() {
        1 => Mat::from_fn(found.nrows(), 2, |i, c| if c == 1 { found[(i, 0)] } else { 1.0 - found[(i, 0)] }),
        _ => found,
    }
}

/// Returns the column of the largest number of each row, the first of equal ones.
pub fn likeliest(chances: MatRef<'_, f64>) -> Vec<usize> {
    let of_row = |i: usize| {
        (1..chances.ncols()).fold(0, |best, class| if chances[(i, class)] > chances[(i, best)] { class } else { best })
    };
    (0..chances.nrows()).map(of_row).collect()
}
