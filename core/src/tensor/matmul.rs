//! Matrix products: matrices, vectors and batches, with the rules of numpy's `@`.

use candle_core::{DType, Tensor};

use super::{arithmetic, axes, backward, device, dtype, element};
use crate::common::*;

/// Computes the matrix product. A vector on the left is a row, on the right a column; axes before the last two are a
/// batch, and batches broadcast. Half precision is accumulated in f32; integers are exact.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(err!(
            Shape,
            "expected tensors with axes on both sides of `@`, found {:?} and {:?}",
            a.dims(),
            b.dims()
        )
        .hint("multiply by a number with `*`"));
    }
    let there = device::on_device_of(a, b)?;
    let b = &device::on_device_of(b, a)?;
    let a = &there;
    let left = if a.rank() == 1 { backward::reshaped(a, &[1, a.elem_count()])? } else { a.clone() };
    let right = if b.rank() == 1 { backward::reshaped(b, &[b.elem_count(), 1])? } else { b.clone() };
    let dims = product_dims(&left, &right, a, b)?;
    let common = dtype::promote(a.dtype(), b.dtype());
    element::room(&dims, common)?;
    let product = if dtype::is_float(common) {
        let work = if common == DType::F64 { DType::F64 } else { DType::F32 };
        let product = multiplied(&dtype::convert(&left, work)?, &dtype::convert(&right, work)?, &dims)?;
        product.to_dtype(dtype::float_for(common))?
    } else {
        whole(&left, &right, &dims)?
    };
    let mut kept = dims;
    if b.rank() == 1 {
        kept.pop();
    }
    if a.rank() == 1 {
        kept.remove(kept.len() - usize::from(b.rank() > 1) - 1);
    }
    backward::reshaped(&product, &kept)
}

fn product_dims(left: &Tensor, right: &Tensor, a: &Tensor, b: &Tensor) -> Result<Vec<usize>> {
    let (&[ref left_batch @ .., rows, inner], &[ref right_batch @ .., other, columns]) = (left.dims(), right.dims())
    else {
        bail!(Bug, "a matrix product of less than two axes");
    };
    if inner != other {
        return Err(err!(Shape, "expected shapes that multiply, found {:?} and {:?}", a.dims(), b.dims())
            .hint(format!("the inner sizes {inner} and {other} must be equal")));
    }
    let mut dims = axes::broadcast(left_batch, right_batch)
        .map_err(|_| err!(Shape, "expected batches that broadcast, found {:?} and {:?}", a.dims(), b.dims()))?;
    dims.extend([rows, columns]);
    Ok(dims)
}

/// Returns whether a product is `x^T y` of two tall thin matrices, with x the wider one and not copied by the
/// transposition.
fn is_tall(left: &Tensor, right: &Tensor) -> bool {
    let (&[rows, inner], &[_, columns]) = (left.dims(), right.dims()) else { return false };
    let turned = left.stride() == [1, rows] && rows > 1;
    turned && inner >= 4096 && inner >= 16 * rows && columns <= 64 && rows >= 4 * columns
}

fn multiplied(left: &Tensor, right: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let inner = left.dims()[left.rank() - 1];
    if inner == 0 || dims.contains(&0) {
        return Ok(Tensor::zeros(dims, left.dtype(), left.device())?);
    }
    if right.rank() == 2 && left.rank() >= 2 {
        // One large product is faster than a batch of products with the same matrix.
        let rows = left.dims()[..left.rank() - 1].iter().product();
        let product = noted(&backward::reshaped(left, &[rows, inner])?, right)?;
        return backward::reshaped(&product, dims);
    }
    let batch = &dims[..dims.len() - 2];
    let spread = |t: &Tensor| -> Result<Tensor> {
        let full = [batch, &t.dims()[t.rank() - 2..]].concat();
        element::room(&full, t.dtype())?;
        let one_batch = [vec![batch.iter().product()], t.dims()[t.rank() - 2..].to_vec()].concat();
        Ok(t.broadcast_as(full)?.reshape(one_batch)?)
    };
    Ok(spread(left)?.matmul(&spread(right)?)?.reshape(dims)?)
}

/// Computes the product of two matrices.
fn flat(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    if is_tall(left, right) {
        // gemm reads the long side once for each of the few columns; transposed, it reads it once.
        return Ok(right.t()?.matmul(&left.t()?)?.t()?.contiguous()?);
    }
    Ok(device::multipliable(left)?.matmul(&device::multipliable(right)?)?)
}

/// Computes the product of two matrices, with its gradients.
fn noted(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let asked = [left.track_op(), right.track_op()];
    let x = left.detach();
    let y = right.detach();
    Ok(backward::on_tape(flat(left, right)?, &[left, right], move |_, gradient| {
        let for_left = asked[0].then(|| flat(gradient, &y.t()?)).transpose()?;
        let for_right = asked[1].then(|| flat(&x.t()?, gradient)).transpose()?;
        Ok(vec![for_left, for_right])
    }))
}

/// Multiplies integers through f64, which is exact as long as no sum can exceed 2^53.
fn whole(left: &Tensor, right: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let size = |t: &Tensor| -> Result<f64> {
        let element::Extent { least, most, .. } = element::extent(t)?;
        Ok(if t.elem_count() == 0 { 0.0 } else { least.abs().max(most.abs()) })
    };
    let inner = left.dims()[left.rank() - 1] as f64;
    if size(left)? * size(right)? * inner > 2.0_f64.powi(53) {
        return Err(err!(Numeric, "the product of these integers may not be exact").hint("cast to f64 first"));
    }
    let product = multiplied(&dtype::convert(left, DType::F64)?, &dtype::convert(right, DType::F64)?, dims)?;
    Ok(product.to_dtype(DType::I64)?)
}

/// Computes the outer product of two vectors.
pub fn outer(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() != 1 || b.rank() != 1 {
        bail!(Shape, "expected two vectors, found shapes {:?} and {:?}", a.dims(), b.dims());
    }
    arithmetic::mul(&a.unsqueeze(1)?.into(), &b.unsqueeze(0)?.into())
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::f64s;
    use proptest::prelude::*;

    fn count(dims: &[usize], dtype: DType) -> Tensor {
        let len = dims.iter().product::<usize>();
        create::from_floats((0..len).map(|i| (i % 7) as f64).collect(), dims, dtype).unwrap()
    }

    #[test]
    fn every_pair_of_dtypes_multiplies() {
        for a in dtype::ALL {
            for b in dtype::ALL {
                let product = matmul(&count(&[2, 3], a), &count(&[3, 2], b)).unwrap();
                assert_eq!(f64s(&product), [10.0, 13.0, 28.0, 40.0], "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn vectors_batches_and_nothing() {
        let of = |a: &[usize], b: &[usize]| matmul(&count(a, DType::F32), &count(b, DType::F32));
        let cases: [(&[usize], &[usize], &[usize]); 9] = [
            (&[3], &[3], &[]),
            (&[2, 3], &[3], &[2]),
            (&[3], &[3, 2], &[2]),
            (&[4, 2, 3], &[3], &[4, 2]),
            (&[3], &[4, 3, 2], &[4, 2]),
            (&[4, 2, 3], &[3, 5], &[4, 2, 5]),
            (&[2, 1, 2, 3], &[4, 3, 1], &[2, 4, 2, 1]),
            (&[2, 0], &[0, 3], &[2, 3]),
            (&[0, 2, 3], &[3, 2], &[0, 2, 2]),
        ];
        for (a, b, expected) in cases {
            assert_eq!(of(a, b).unwrap().dims(), expected, "{a:?} {b:?}");
        }
        assert_eq!(f64s(&of(&[2, 0], &[0, 3]).unwrap()), [0.0; 6]);
        assert_eq!(of(&[2, 3], &[2, 3]).unwrap_err().message, "expected shapes that multiply, found [2, 3] and [2, 3]");
        assert!(of(&[], &[3]).is_err() && of(&[2, 2, 3], &[3, 3, 2]).is_err());
        let error = of(&[3_000_000, 1], &[1, 3_000_000]).unwrap_err();
        assert_eq!(error.kind, crate::base::Kind::Memory);
        let large = create::from_numbers(&[crate::tensor::Number::Int(1 << 40)], &[1, 1], DType::I64).unwrap();
        assert!(matmul(&large, &large).is_err());
        assert_eq!(
            f64s(&outer(&count(&[2], DType::U8), &count(&[3], DType::U8)).unwrap()),
            [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]
        );
    }

    #[test]
    fn tall_thin_matrices_have_the_product_that_others_have() {
        let x = count(&[8192, 40], DType::F64);
        let y = count(&[8192, 3], DType::F64);
        let turned = x.t().unwrap();
        assert!(is_tall(&turned, &y) && !is_tall(&turned.contiguous().unwrap(), &y));
        let product = matmul(&turned, &y).unwrap();
        assert_eq!(product.dims(), [40, 3]);
        // Whole numbers are exact, in whatever order they are added.
        assert_eq!(f64s(&product), f64s(&matmul(&turned.contiguous().unwrap(), &y).unwrap()));
        assert!(!is_tall(&count(&[100, 40], DType::F32).t().unwrap(), &count(&[100, 3], DType::F32)));
    }

    proptest! {
        #[test]
        fn products_are_the_plain_loops(batch in 1_usize..3, n in 1_usize..4, k in 1_usize..5, m in 1_usize..4) {
            let a = count(&[batch, n, k], DType::F64);
            let b = count(&[1, k, m], DType::F64);
            let x = f64s(&a);
            let y = f64s(&b);
            let mut expected = vec![0.0; batch * n * m];
            for (p, place) in expected.iter_mut().enumerate() {
                let row = p / m;
                let column = p % m;
                *place = (0..k).map(|i| x[row * k + i] * y[i * m + column]).sum();
            }
            // A transposed operand is not contiguous.
            let turned = b.transpose(1, 2).unwrap().contiguous().unwrap().transpose(1, 2).unwrap();
            prop_assert_eq!(f64s(&matmul(&a, &turned).unwrap()), expected);
        }
    }
}
