//! Linear maps that take directions out of activations.

use crate::base::Result;
use crate::tensor::{DType, Tensor, dtype, linalg};
use crate::{bail, err};

/// x - ((x - centre) R^T) L^T: along as many directions as R has rows, x gets the value of the centre, or 0 without one.
/// Where L is not R^T, the projection is oblique.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Left factor L, `[width, directions]`.
    left: Tensor,
    /// Right factor R, `[directions, width]`.
    right: Tensor,
    centre: Option<Tensor>,
}

impl Projection {
    pub fn new(left: Tensor, right: Tensor, centre: Option<Tensor>) -> Result<Self> {
        let (width, directions) = left.dims2()?;
        if right.dims() != [directions, width] || centre.as_ref().is_some_and(|centre| centre.dims() != [width]) {
            bail!(Bug, "a projection of {:?} and {:?}", left.dims(), right.dims());
        }
        Ok(Self { left, right, centre })
    }

    /// Makes the orthogonal projection that leaves nothing along a vector `[width]`, or along several `[n, width]`.
    pub fn removing(directions: &Tensor) -> Result<Self> {
        let rows = match directions.rank() {
            1 => directions.unsqueeze(0)?,
            2 => directions.clone(),
            _ => bail!(Shape, "expected a vector or several, [n, width], found shape {:?}", directions.dims()),
        };
        // In f64 a basis of their span, whatever the vectors' length: those that depend on others add nothing.
        let linalg::SvdTensors { s: sizes, vt: basis, .. } = linalg::svd(&rows.to_dtype(DType::F64)?)?;
        let sizes = sizes.to_vec1::<f64>()?;
        let largest = sizes.first().copied().unwrap_or_default();
        if largest == 0.0 {
            return Err(err!(Argument, "expected a direction, found a vector of zeros"));
        }
        let count = sizes.iter().filter(|size| **size > largest * 1e-7).count();
        let right = basis.narrow(0, 0, count)?.contiguous()?;
        Self::new(right.t()?.contiguous()?, right, None)
    }

    /// Moves the projection to this centre, which stays where it is.
    pub fn about(self, centre: Tensor) -> Result<Self> {
        Self::new(self.left, self.right, Some(centre))
    }

    /// Returns the numbers that the projection acts with.
    pub fn numbers(&self) -> Vec<Tensor> {
        [&self.left, &self.right].into_iter().chain(&self.centre).cloned().collect()
    }

    pub fn width(&self) -> usize {
        self.left.dims()[0]
    }

    /// Returns the number of directions that the projection takes out.
    pub fn rank(&self) -> usize {
        self.right.dims()[0]
    }

    /// Takes these directions out of the rows of `x`. The last axis is the width, or the last two are, as heads and
    /// their numbers.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims();
        let width = self.width();
        let fits =
            dims.last() == Some(&width) || dims.len() > 1 && dims.iter().rev().take(2).product::<usize>() == width;
        if !fits {
            bail!(Shape, "expected rows of {width} numbers for this projection, found shape {dims:?}");
        }
        if self.rank() == 0 || x.elem_count() == 0 {
            return Ok(x.clone());
        }
        // Narrow floats would lose the rest of a large part that is taken out.
        let kind = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let to = |t: &Tensor| -> Result<Tensor> { Ok(t.to_device(x.device())?.to_dtype(kind)?) };
        let rows = dtype::convert(x, kind)?.reshape(((), width))?;
        let from_centre = match &self.centre {
            Some(centre) => rows.broadcast_sub(&to(centre)?)?,
            None => rows.clone(),
        };
        let along = from_centre.matmul(&to(&self.right)?.t()?)?;
        let found = (rows - along.matmul(&to(&self.left)?.t()?)?)?;
        dtype::convert(&found.reshape(dims)?, x.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    fn numbers(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn nothing_is_left_along_the_directions_and_the_rest_stays() {
        let x = Tensor::new(&[[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]], &Device::Cpu).unwrap();
        let one = Tensor::new(&[0.0_f32, 7.0, 0.0], &Device::Cpu).unwrap();
        assert_eq!(numbers(&Projection::removing(&one).unwrap().apply(&x).unwrap()), [1.0, 0.0, 3.0, 4.0, 0.0, 6.0]);
        // The third depends on the other two.
        let three = Tensor::new(&[[1.0_f32, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 1.0, 0.0]], &Device::Cpu).unwrap();
        let plane = Projection::removing(&three).unwrap();
        assert_eq!(plane.rank(), 2);
        let found = numbers(&plane.apply(&x).unwrap());
        assert!(found.iter().zip([0.0, 0.0, 3.0, 0.0, 0.0, 6.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
        let centre = Tensor::new(&[0.5_f64, 0.5, 0.5], &Device::Cpu).unwrap();
        let about = numbers(&Projection::removing(&one).unwrap().about(centre).unwrap().apply(&x).unwrap());
        assert_eq!(about, [1.0, 0.5, 3.0, 4.0, 0.5, 6.0]);
    }

    #[test]
    fn heads_are_one_row_and_other_shapes_are_refused() {
        let x = Tensor::new(&[[[[1.0_f32, 2.0], [3.0, 4.0]]]], &Device::Cpu).unwrap();
        let last = Projection::removing(&Tensor::new(&[0.0_f32, 0.0, 0.0, 1.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(numbers(&last.apply(&x).unwrap()), [1.0, 2.0, 3.0, 0.0]);
        assert!(last.apply(&x.narrow(3, 0, 1).unwrap()).is_err());
        assert!(Projection::removing(&Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
