//! Neurons of which only the largest are active at a token (Makhzani and Frey 2013, "k-Sparse Autoencoders", section 2.1).

use crate::base::Result;
use crate::tensor::Tensor;

/// Sets all but the `count` numbers of each row that are largest by size to 0. Gradients pass those that stay.
pub fn largest(hidden: &Tensor, count: usize) -> Result<Tensor> {
    Ok((hidden * kernels::largest(hidden, count)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Device};

    #[test]
    fn the_largest_of_each_row_stay_by_size() {
        let hidden = Tensor::new(&[[1.0_f32, -3.0, 2.0], [0.5, 0.5, 0.25]], &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let found = largest(&hidden.to_dtype(dtype).unwrap(), 2).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(found.to_vec2::<f32>().unwrap(), [[0.0, -3.0, 2.0], [0.5, 0.5, 0.0]]);
        }
        let equal = Tensor::new(&[[1.0_f32, -1.0, 1.0, 0.0]], &Device::Cpu).unwrap();
        assert_eq!(largest(&equal, 2).unwrap().to_vec2::<f32>().unwrap(), [[1.0, -1.0, 0.0, 0.0]]);
        assert_eq!(largest(&hidden, 3).unwrap().to_vec2::<f32>().unwrap(), hidden.to_vec2::<f32>().unwrap());
    }
}
