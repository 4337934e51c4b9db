//! Neurons of which only the largest are active at a token (Makhzani and Frey 2013, "k-Sparse Autoencoders", section 2.1).

use crate::base::Result;
use crate::tensor::{DType, Tensor};

/// Sets all but the `count` numbers of each row that are largest by size to 0. Gradients pass those that stay.
pub fn largest(hidden: &Tensor, count: usize) -> Result<Tensor> {
    let width = hidden.dim(hidden.rank() - 1)?;
    if count >= width {
        return Ok(hidden.clone());
    }
    let numbers = hidden.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut mask = vec![0.0_f32; numbers.len()];
    let mut order: Vec<usize> = Vec::with_capacity(width);
    for (row, mask) in numbers.chunks(width).zip(mask.chunks_mut(width)) {
        order.clear();
        order.extend(0..width);
        order.select_nth_unstable_by(count, |a, b| row[*b].abs().total_cmp(&row[*a].abs()).then(a.cmp(b)));
        for place in &order[..count] {
            mask[*place] = 1.0;
        }
    }
    let mask = Tensor::from_vec(mask, hidden.shape(), hidden.device())?.to_dtype(hidden.dtype())?;
    Ok((hidden * mask)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn the_largest_of_each_row_stay_by_size() {
        let hidden = Tensor::new(&[[1.0_f32, -3.0, 2.0], [0.5, 0.5, 0.25]], &Device::Cpu).unwrap();
        let found = largest(&hidden, 2).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[0.0, -3.0, 2.0], [0.5, 0.5, 0.0]]);
        assert_eq!(largest(&hidden, 3).unwrap().to_vec2::<f32>().unwrap(), hidden.to_vec2::<f32>().unwrap());
    }
}
