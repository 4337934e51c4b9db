//! The discrete Fourier transform of real numbers, in f64 and for every length.

use std::f64::consts::TAU;

use super::{DType, Tensor, axes, dtype, element, matmul, shape, walk};
use crate::bail;
use crate::base::Result;

/// A complex number: the real part, and the imaginary one.
type Complex = (f64, f64);

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
    element::room_for_rows(n, 16 * size_of::<Complex>())?;
    element::room(t.dims(), DType::F64)?;
    let to = dtype::float_for(t.dtype());
    if t.track_op() {
        return with_gradients(t, axis, n, to);
    }
    let plan = FourierPlan::new(n);
    let work = dtype::convert(t, DType::F64)?;
    let (found, mut dims) = walk::along::<f64, _>(&work, axis, |row| plan.transform(row))?;
    // Without rows the length is not known from them.
    dims[t.rank() - 1] = n / 2 + 1;
    let part = |of: &dyn Fn(&Complex) -> f64| -> Result<Tensor> {
        let numbers = found.iter().map(of).collect();
        walk::back(&element::tensor(numbers, &dims, to, t.device())?, axis)
    };
    Ok(Spectrum { real: part(&|x| x.0)?, imag: part(&|x| x.1)?, power: part(&|x| x.0 * x.0 + x.1 * x.1)? })
}

/// Computes the transform as products with the matrices of cosines and sines, which have gradients.
fn with_gradients(t: &Tensor, axis: usize, n: usize, to: DType) -> Result<Spectrum> {
    let kept = n / 2 + 1;
    element::room(&[2, n, kept], DType::F64)?;
    // j k is taken modulo n, or the angle would lose precision.
    let turns: Vec<Complex> =
        (0..n).flat_map(|j| (0..kept).map(move |k| turn((j * k % n) as f64 / n as f64))).collect();
    let last = shape::transpose(&dtype::convert(t, DType::F64)?, axis as i64, -1)?;
    let part = |of: fn(&Complex) -> f64| -> Result<Tensor> {
        let matrix = element::tensor(turns.iter().map(of).collect(), &[n, kept], DType::F64, t.device())?;
        let found = if last.rank() == 1 {
            matmul::matmul(&last.unsqueeze(0)?, &matrix)?.squeeze(0)?
        } else {
            matmul::matmul(&last, &matrix)?
        };
        shape::transpose(&found, axis as i64, -1)
    };
    let real = part(|turn| turn.0)?;
    let imag = part(|turn| turn.1)?;
    let power = (real.sqr()? + imag.sqr()?)?;
    let narrow = |part: Tensor| dtype::convert(&part, to);
    Ok(Spectrum { real: narrow(real)?, imag: narrow(imag)?, power: narrow(power)? })
}

/// The precomputed tables for transforms of one length.
///
/// A length that is not a power of two is computed as a convolution with powers of two (Bluestein 1970).
struct FourierPlan {
    n: usize,
    /// The power of two of the computation.
    size: usize,
    /// `exp(-2 pi i k / size)` for half of all k.
    turns: Vec<Complex>,
    /// Factors for a length that is not a power of two: `exp(-pi i j^2 / n)`, and the transform of its conjugate.
    chirp: Option<(Vec<Complex>, Vec<Complex>)>,
}

impl FourierPlan {
    fn new(n: usize) -> Self {
        let size = if n.is_power_of_two() { n } else { (2 * n).next_power_of_two() };
        let turns = (0..size / 2).map(|k| turn(k as f64 / size as f64)).collect();
        let mut plan = Self { n, size, turns, chirp: None };
        if size != n {
            // j^2 is taken modulo 2 n, or the angle would lose precision.
            let chirp: Vec<Complex> =
                (0..n as u128).map(|j| turn((j * j % (2 * n as u128)) as f64 / (2 * n) as f64)).collect();
            let mut other = vec![(0.0, 0.0); size];
            for (j, (re, im)) in chirp.iter().enumerate() {
                other[j] = (*re, -im);
                other[(size - j) % size] = (*re, -im);
            }
            plan.powers_of_two(&mut other);
            plan.chirp = Some((chirp, other));
        }
        plan
    }

    fn transform(&self, row: &[f64]) -> Vec<Complex> {
        let kept = self.n / 2 + 1;
        let mut x = vec![(0.0, 0.0); self.size];
        let Some((chirp, other)) = &self.chirp else {
            x.iter_mut().zip(row).for_each(|(place, value)| *place = (*value, 0.0));
            self.powers_of_two(&mut x);
            x.truncate(kept);
            return x;
        };
        x.iter_mut().zip(row).zip(chirp).for_each(|((place, value), c)| *place = (value * c.0, value * c.1));
        self.powers_of_two(&mut x);
        // The inverse is the transform of the conjugate.
        x.iter_mut().zip(other).for_each(|(place, o)| {
            let (re, im) = product(*place, *o);
            *place = (re, -im);
        });
        self.powers_of_two(&mut x);
        let scale = 1.0 / self.size as f64;
        x.iter().zip(chirp).take(kept).map(|(x, c)| product((x.0 * scale, -x.1 * scale), *c)).collect()
    }

    /// Computes the transform of a power of two (Cooley and Tukey 1965), in place.
    fn powers_of_two(&self, x: &mut [Complex]) {
        let bits = self.size.trailing_zeros();
        for i in 0..self.size {
            let j = if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) };
            if i < j {
                x.swap(i, j);
            }
        }
        let mut half = 1;
        while half < self.size {
            let step = self.size / (2 * half);
            for block in x.chunks_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for (k, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let turned = product(*b, self.turns[k * step]);
                    *b = (a.0 - turned.0, a.1 - turned.1);
                    *a = (a.0 + turned.0, a.1 + turned.1);
                }
            }
            half *= 2;
        }
    }
}

/// Computes `exp(-2 pi i share)`.
fn turn(share: f64) -> Complex {
    let (sin, cos) = (-TAU * share).sin_cos();
    (cos, sin)
}

fn product(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fixture::{f64s, t};
    use proptest::prelude::*;

    fn plain(x: &[f64]) -> Vec<Complex> {
        let n = x.len();
        let at = |k: usize| {
            let turned = |(j, x): (usize, &f64)| product((*x, 0.0), turn((j * k % n) as f64 / n as f64));
            x.iter().enumerate().map(turned).fold((0.0, 0.0), |sum, x| (sum.0 + x.0, sum.1 + x.1))
        };
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
            for (k, (re, im)) in expected.into_iter().enumerate() {
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
