//! Linear maps and sums.

use candle_core::Tensor;

use crate::base::Result;

/// x W^T + b for x `[.., in]`, W `[out, in]`, b `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let product = x.reshape(((), inner))?.matmul(&weight.t()?)?.reshape(shape)?;
    Ok(match bias {
        Some(bias) => product.broadcast_add(bias)?,
        None => product,
    })
}

/// a + b, of the same shape.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok((a + b)?)
}
