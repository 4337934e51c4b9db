//! The discrete Fourier transform of real numbers, in f64 and for every length.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex64;

use super::{DType, Tensor, axes, dtype, element, matmul, shape, walk};
use crate::common::*;

/// The result of a transform: `n / 2 + 1` frequencies along the axis.
#[derive(Debug)]
pub struct Spectrum {
    pub real: Tensor,
    pub imag: Tensor,
    /// real^2 + imag^2.
    pub power: Tensor,
}

/// Computes the transform along an axis, `X[k] = sum_j x[j] exp(-2 pi i j k / n)`, for the k that are not redundant for
/// real numbers.
pub fn rfft(t: &Tensor, axis: i64) -> Result<Spectrum> {
    let axis = axes::axis(axis, t.rank())?;
    let n = t.dims()[axis];
    if n == 0 {
        bail!(Argument, "expected numbers to transform, found none: shape {:?}", t.dims());
    }
    // Several copies of a row exist during its transform.
    element::room_for_rows(n, 16 * size_of::<Complex64>())?;
    element::room(t.dims(), DType::F64)?;
    let to = dtype::float_for(t.dtype());
    if t.track_op() {
        return with_gradients(t, axis, n, to);
    }
    let plan = RealFftPlanner::<f64>::new().plan_fft_forward(n);
    let transform = |row: &[f64]| {
        let mut found = plan.make_output_vec();
        // It fails only for buffers of other lengths than it makes itself.
        let _ = plan.process(&mut row.to_vec(), &mut found);
        found
    };
    let work = dtype::convert(t, DType::F64)?;
    let (found, mut dims) = walk::along::<f64, _>(&work, axis, transform)?;
    // Without rows the length is not known from them.
    dims[t.rank() - 1] = n / 2 + 1;
    let part = |of: fn(&Complex64) -> f64| -> Result<Tensor> {
        let numbers = found.iter().map(of).collect();
        walk::back(&element::tensor(numbers, &dims, to, t.device())?, axis)
    };
    Ok(Spectrum { real: part(|x| x.re)?, imag: part(|x| x.im)?, power: part(Complex64::norm_sqr)? })
}

/// Computes the transform as products with the matrices of cosines and sines, which have gradients.
fn with_gradients(t: &Tensor, axis: usize, n: usize, to: DType) -> Result<Spectrum> {
    let kept = n / 2 + 1;
    element::room(&[2, n, kept], DType::F64)?;
    // j k is taken modulo n, or the angle would lose precision.
    let turns: Vec<Complex64> =
        (0..n).flat_map(|j| (0..kept).map(move |k| turn((j * k % n) as f64 / n as f64))).collect();
    let last = shape::transpose(&dtype::convert(t, DType::F64)?, axis as i64, -1)?;
    let part = |of: fn(&Complex64) -> f64| -> Result<Tensor> {
        let matrix = element::tensor(turns.iter().map(of).collect(), &[n, kept], DType::F64, t.device())?;
        let found = if last.rank() == 1 {
            matmul::matmul(&last.unsqueeze(0)?, &matrix)?.squeeze(0)?
        } else {
            matmul::matmul(&last, &matrix)?
        };
        shape::transpose(&found, axis as i64, -1)
    };
    let real = part(|turn| turn.re)?;
    let imag = part(|turn| turn.im)?;
    let power = (real.sqr()? + imag.sqr()?)?;
    let narrow = |part: Tensor| dtype::convert(&part, to);
    Ok(Spectrum { real: narrow(real)?, imag: narrow(imag)?, power: narrow(power)? })
}

/// Computes `exp(-2 pi i share)`.
fn turn(share: f64) -> Complex64 {
    Complex64::cis(-TAU * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fixture::{f64s, t};
    use proptest::prelude::*;

    fn plain(x: &[f64]) -> Vec<Complex64> {
        let n = x.len();
        let at = |k: usize| x.iter().enumerate().map(|(j, x)| turn((j * k % n) as f64 / n as f64) * x).sum();
        (0..n / 2 + 1).map(at).collect()
    }

    proptest! {
        #[test]
        fn it_is_the_plain_sum(values in prop::collection::vec(-3.0_f64..3.0, 1..70)) {
            let found = rfft(&t(&values, &[values.len()], DType::F64), 0).unwrap();
            let real = f64s(&found.real);
            let imag = f64s(&found.imag);
            let power = f64s(&found.power);
            let expected = plain(&values);
            prop_assert_eq!(real.len(), expected.len());
            for (k, Complex64 { re, im }) in expected.into_iter().enumerate() {
                prop_assert!((real[k] - re).abs() < 1e-10 && (imag[k] - im).abs() < 1e-10);
                prop_assert!((power[k] - re * re - im * im).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn along_any_axis_and_in_the_dtype_of_floats() {
        let x = t(&[1.0, 5.0, 2.0, 6.0, 4.0, 7.0], &[3, 2], DType::F32);
        let columns = rfft(&x, 0).unwrap();
        assert_eq!((columns.real.dims(), columns.real.dtype()), ([2, 2].as_slice(), DType::F32));
        assert_eq!(f64s(&columns.real)[..2], [7.0, 18.0]);
        assert_eq!(f64s(&rfft(&x, -1).unwrap().real), [6.0, -4.0, 8.0, -4.0, 11.0, -3.0]);
        assert_eq!(rfft(&t(&[], &[0, 4], DType::F32), 1).unwrap().real.dims(), [0, 3]);
        assert!(rfft(&t(&[], &[0, 4], DType::F32), 0).is_err());
    }
}
