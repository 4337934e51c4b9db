//! The mean and the covariance of activations that come batch by batch, in memory that does not grow.

use crate::common::*;
use crate::sae::rows;

/// Rows processed at a time.
const ROWS: usize = 1024;

/// Sums in f64 about the mean so far (Chan, Golub & LeVeque 1983), so that a large mean costs no digits.
#[derive(Debug, Clone)]
pub struct CovarianceMoments {
    width: usize,
    count: u64,
    /// Mean of the rows: `[1, d]`.
    mean: Tensor,
    /// Sum of (x - mean)(x - mean)^T: `[d, d]`.
    scatter: Tensor,
}

impl CovarianceMoments {
    pub fn new(width: usize) -> Result<Self> {
        memory::check(3 * 8 * (width as u128).pow(2), || format!("the covariance of {width} dimensions"))?;
        let zeros = |rows| Tensor::zeros((rows, width), DType::F64, &Device::Cpu);
        Ok(Self { width, count: 0, mean: zeros(1)?, scatter: zeros(width)? })
    }

    /// Computes the moments of a whole matrix.
    pub fn of(x: &Tensor, task: &Task) -> Result<Self> {
        let mut moments = Self::new(rows::extent(x, "activations")?.1)?;
        moments.add(x, task)?;
        Ok(moments)
    }

    pub fn add(&mut self, x: &Tensor, task: &Task) -> Result<()> {
        let x = rows::matrix(x, self.width, "activations")?;
        let count = x.dim(0)?;
        for start in (0..count).step_by(ROWS) {
            task.check()?;
            self.add_part(&x.narrow(0, start, ROWS.min(count - start))?)?;
        }
        Ok(())
    }

    fn add_part(&mut self, x: &Tensor) -> Result<()> {
        let numbers = rows::finite(x, "activations", self.count)?;
        let x = Tensor::from_vec(numbers, x.shape(), &Device::Cpu)?.to_dtype(DType::F64)?;
        let before = self.count as f64;
        let here = x.dim(0)? as f64;
        let mean = x.mean_keepdim(0)?;
        let centred = x.broadcast_sub(&mean)?;
        let step = (&mean - &self.mean)?;
        let between = (step.t()?.matmul(&step)? * (before * here / (before + here)))?;
        self.scatter = ((&self.scatter + centred.t()?.matmul(&centred)?)? + between)?;
        self.mean = (&self.mean + (step * (here / (before + here)))?)?;
        self.count += here as u64;
        Ok(())
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows that were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean: `[d]` in f64.
    pub fn mean(&self) -> Result<Tensor> {
        self.some()?;
        Ok(self.mean.squeeze(0)?)
    }

    /// Returns the covariance, with n in the denominator: `[d, d]` in f64.
    pub fn covariance(&self) -> Result<Tensor> {
        self.some()?;
        // Rounding may have made the two halves differ.
        let whole = (&self.scatter + self.scatter.t()?)?;
        Ok((whole / (2.0 * self.count as f64))?)
    }

    fn some(&self) -> Result<()> {
        match self.count {
            0 => Err(err!(Argument, "expected activations, found none")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::tensor::{create, statistics};

    #[test]
    fn in_parts_they_are_those_of_the_whole_even_far_from_zero() {
        let task = Task::default();
        let x = create::randn(&[50, 4], DType::F32, &mut stream(1, "x", 0)).unwrap().affine(1.0, 1000.0).unwrap();
        let mut moments = CovarianceMoments::new(4).unwrap();
        assert!(moments.mean().is_err());
        for (start, count) in [(0, 1), (1, 30), (31, 19)] {
            moments.add(&x.narrow(0, start, count).unwrap(), &task).unwrap();
        }
        let wide = x.to_dtype(DType::F64).unwrap();
        let expected = statistics::covariance(&wide, 0.0).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let found = moments.covariance().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
        let mean = wide.mean(0).unwrap().to_vec1::<f64>().unwrap();
        for (found, expected) in moments.mean().unwrap().to_vec1::<f64>().unwrap().iter().zip(mean) {
            assert!((found - expected).abs() < 1e-9);
        }
        assert_eq!(moments.count(), 50);
    }

    #[test]
    fn nan_is_named_with_its_row_of_all() {
        let task = Task::default();
        let mut moments = CovarianceMoments::new(2).unwrap();
        moments.add(&Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap(), &task).unwrap();
        let broken = Tensor::new(&[[0.0_f32, 0.0], [0.0, f32::NAN]], &Device::Cpu).unwrap();
        let error = moments.add(&broken, &task).unwrap_err();
        assert_eq!(error.message, "expected finite activations, found NaN in row 4, column 1");
    }
}
