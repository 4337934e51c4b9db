//! New tensors: from numbers, filled, ranges, identity, and random ones from a generator that the caller passes in.

use candle_core::{DType, Device, Tensor};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Number, dtype, element};
use crate::common::*;
use crate::options::seed::SeedOptions;

crate::options! {
    /// Options of a tensor from values.
    pub struct TensorOptions {
        /// The dtype of the elements.
        dtype: Option<DType> = None => usually("\"f32\", or the dtype of a tensor");
    }

    pub struct ArangeOptions {
        /// The distance between two numbers, negative to count down.
        step: f64 = 1.0;
        /// The dtype of the elements.
        dtype: Option<DType> = None => usually("\"i64\" for integers, else \"f32\"");
    }

    pub struct RandnOptions {
        /// The dtype of the elements, a float one.
        dtype: DType = DType::F32;
        with seed: SeedOptions;
    }

    pub struct UniformOptions {
        /// The lower bound, which is included.
        low: f64 = 0.0;
        /// The upper bound, which is excluded.
        high: f64 = 1.0;
        /// The dtype of the elements, a float one.
        dtype: DType = DType::F32;
        with seed: SeedOptions;
    }
}

/// Builds a tensor from numbers in row order; integers are checked to fit the dtype.
pub fn from_numbers(values: &[Number], dims: &[usize], to: DType) -> Result<Tensor> {
    if element::room(dims, to)? != values.len() {
        bail!(Shape, "expected as many numbers as shape {dims:?} has places, found {}", values.len());
    }
    let ints: Option<Vec<i64>> = values.iter().map(|n| n.as_int()).collect();
    match ints {
        Some(ints) if !dtype::is_float(to) => dtype::cast(&element::int_tensor(ints, dims, &Device::Cpu)?, to),
        _ => from_floats(values.iter().map(|n| n.as_f64()).collect(), dims, to),
    }
}

/// Builds a tensor from floats in row order, rounded to the dtype.
pub fn from_floats(values: Vec<f64>, dims: &[usize], to: DType) -> Result<Tensor> {
    if element::room(dims, to)? != values.len() {
        bail!(Shape, "expected as many numbers as shape {dims:?} has places, found {}", values.len());
    }
    if dtype::is_float(to) {
        return element::tensor(values, dims, to, &Device::Cpu);
    }
    if let Some(broken) = values.iter().find(|v| v.fract() != 0.0) {
        return Err(err!(Argument, "expected whole numbers for dtype {}, found {broken}", to.as_str())
            .hint("use a float dtype, or round them first"));
    }
    dtype::cast(&element::tensor(values, dims, DType::F64, &Device::Cpu)?, to)
}

pub fn zeros(dims: &[usize], dtype: DType) -> Result<Tensor> {
    element::room(dims, dtype)?;
    Ok(Tensor::zeros(dims, dtype, &Device::Cpu)?)
}

/// Builds a tensor that is filled with one number.
pub fn full(dims: &[usize], value: Number, to: DType) -> Result<Tensor> {
    // Zeroed pages from the system cost nothing; -0 has other bits.
    if matches!(value, Number::Int(0)) || matches!(value, Number::Float(x) if x.to_bits() == 0) {
        return zeros(dims, to);
    }
    element::room(dims, to)?;
    let one = from_numbers(&[value], &[1], to)?;
    Ok(one.reshape(vec![1; dims.len()])?.broadcast_as(dims)?.contiguous()?)
}

/// Builds a tensor of the numbers from `start` to `end`, which is excluded, in steps. By default integers are i64, so
/// that they can index, and others f32.
pub fn arange(start: Number, end: Number, step: Number, to: Option<DType>) -> Result<Tensor> {
    let is_whole = [start, end, step].iter().all(|x| x.as_f64().fract() == 0.0);
    let to = to.unwrap_or(if is_whole { DType::I64 } else { DType::F32 });
    if let (false, Some(a), Some(b), Some(s)) =
        (dtype::is_float(to), start.as_int(), end.as_int(), step.as_int().filter(|step| *step != 0))
    {
        return whole_range(a, b, s, to);
    }
    let a = start.as_f64();
    let b = end.as_f64();
    let s = step.as_f64();
    if !(a.is_finite() && b.is_finite() && s.is_finite() && s != 0.0) {
        bail!(Argument, "expected finite bounds and a step that is not 0, found {start}, {end} and {step}");
    }
    let count = arange_count(a, b, s);
    element::room_from_floats(&[count], to)?;
    let values = (0..count).map(|i| a + i as f64 * s).collect();
    from_floats(values, &[count], to)
}

/// Returns the number of elements of [`arange`]. The cast saturates, and too large a size is refused later.
pub fn arange_count(start: f64, end: f64, step: f64) -> usize {
    ((end - start) / step).ceil().max(0.0) as usize
}

/// Builds a range of integers, which are exact beyond 2^53.
fn whole_range(start: i64, end: i64, step: i64, to: DType) -> Result<Tensor> {
    let start = i128::from(start);
    let end = i128::from(end);
    let step = i128::from(step);
    let span = if step > 0 { end - start } else { start - end };
    let count = usize::try_from((span.max(0) as u128).div_ceil(step.unsigned_abs())).unwrap_or(usize::MAX);
    element::room_beside(&[count], to, if to == DType::I64 { &[] } else { &[DType::I64] })?;
    // All of them lie between two numbers that fit.
    let values = (0..count).map(|i| (start + i as i128 * step) as i64).collect();
    dtype::cast(&element::int_tensor(values, &[count], &Device::Cpu)?, to)
}

/// Builds a tensor of `count` numbers evenly spaced from `start` to `end`, both included.
pub fn linspace(start: f64, end: f64, count: usize, to: DType) -> Result<Tensor> {
    if !(start.is_finite() && end.is_finite()) {
        bail!(Argument, "expected finite bounds, found {start} and {end}");
    }
    if !(end - start).is_finite() {
        bail!(Argument, "expected bounds whose distance is at most {:e}, found {start:e} and {end:e}", f64::MAX);
    }
    element::room_from_floats(&[count], to)?;
    let last = count.saturating_sub(1).max(1) as f64;
    // Each half is computed from its own end, so that both bounds are exact.
    let value = |i: usize| {
        if 2 * i < count {
            start + (end - start) * (i as f64 / last)
        } else {
            end - (end - start) * ((last - i as f64) / last)
        }
    };
    let values = if count == 1 { vec![start] } else { (0..count).map(value).collect() };
    from_floats(values, &[count], to)
}

/// Builds a matrix of zeros with ones where row and column are the same.
pub fn eye(rows: usize, columns: usize, to: DType) -> Result<Tensor> {
    let count = element::room_from_floats(&[rows, columns], to)?;
    let mut values = vec![0.0; count];
    for i in 0..rows.min(columns) {
        values[i * columns + i] = 1.0;
    }
    element::tensor(values, &[rows, columns], to, &Device::Cpu)
}

/// Draws numbers from the normal distribution with mean 0 and standard deviation 1.
pub fn randn(dims: &[usize], to: DType, random: &mut impl Rng) -> Result<Tensor> {
    draw(dims, to, || random.sample(StandardNormal))
}

/// Draws numbers of the shape of a tensor from a normal distribution with its mean square.
pub fn randn_of_size(t: &Tensor, random: &mut impl Rng) -> Result<Tensor> {
    let numbers = element::floats(t)?;
    let square = numbers.iter().map(|x| x * x).sum::<f64>() / numbers.len().max(1) as f64;
    let drawn = randn(t.dims(), DType::F32, random)?;
    Ok(drawn.affine(square.sqrt(), 0.0)?)
}

/// Draws numbers from the uniform distribution on [`low`, `high`).
pub fn uniform(dims: &[usize], low: f64, high: f64, to: DType, random: &mut impl Rng) -> Result<Tensor> {
    if !(low.is_finite() && high.is_finite() && low <= high && (high - low).is_finite()) {
        bail!(Argument, "expected finite bounds with low <= high, found {low} and {high}");
    }
    draw(dims, to, || {
        let drawn = low + (high - low) * random.random::<f64>();
        // A number that rounds up to `high` in the dtype is excluded: log(1 - x) would be infinite now and then.
        if dtype::rounded(drawn, to) < high { drawn } else { low }
    })
}

fn draw(dims: &[usize], to: DType, mut one: impl FnMut() -> f64) -> Result<Tensor> {
    if !dtype::is_float(to) {
        bail!(Argument, "expected a float dtype for random numbers, found {}", to.as_str());
    }
    let count = element::room_from_floats(dims, to)?;
    element::tensor((0..count).map(|_| one()).collect(), dims, to, &Device::Cpu)
}

/// Draws random integers from `low` to `high`, which is excluded, as i64.
pub fn randint(dims: &[usize], low: i64, high: i64, random: &mut impl Rng) -> Result<Tensor> {
    if low >= high {
        bail!(Argument, "expected bounds with low < high, found {low} and {high}");
    }
    let count = element::room(dims, DType::I64)?;
    element::int_tensor((0..count).map(|_| random.random_range(low..high)).collect(), dims, &Device::Cpu)
}

/// Draws a random permutation of the numbers from 0 to `count` - 1, as i64.
pub fn permutation(count: usize, random: &mut impl Rng) -> Result<Tensor> {
    element::room(&[count], DType::I64)?;
    let mut values: Vec<i64> = (0..count as i64).collect();
    // The Fisher-Yates shuffle, in u64 so that the draws are the same on every machine.
    for i in (1..count).rev() {
        values.swap(i, random.random_range(0..=i as u64) as usize);
    }
    element::int_tensor(values, &[count], &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::tensor::fixture::f64s;

    #[test]
    fn filled_and_ranged() {
        assert_eq!(f64s(&full(&[2, 2], Number::Int(3), DType::U8).unwrap()), [3.0; 4]);
        assert_eq!(full(&[], Number::Float(2.5), DType::F32).unwrap().dims(), &[] as &[usize]);
        assert_eq!(f64s(&full(&[0, 3], Number::Int(1), DType::F32).unwrap()), [] as [f64; 0]);
        let range = |a: f64, b: f64, s: f64| f64s(&arange(a.into(), b.into(), s.into(), Some(DType::F64)).unwrap());
        assert_eq!(range(0.0, 5.0, 2.0), [0.0, 2.0, 4.0]);
        assert_eq!(range(3.0, 0.0, -1.0), [3.0, 2.0, 1.0]);
        assert_eq!(range(3.0, 0.0, 1.0), [] as [f64; 0]);
        let whole = |a: i64, b: i64, s: i64| {
            element::ints(&arange(a.into(), b.into(), s.into(), Some(DType::I64)).unwrap()).unwrap()
        };
        let large = (1 << 53) + 1;
        assert_eq!(whole(large, large + 3, 1), [large, large + 1, large + 2]);
        assert_eq!(whole(i64::MAX - 1, i64::MAX, 5), [i64::MAX - 1]);
        assert_eq!(whole(2, -2, -3), [2, -1]);
        assert_eq!(whole(2, -2, 3), [0; 0]);
        assert_eq!(
            arange(i64::MIN.into(), i64::MAX.into(), 1.into(), Some(DType::I64)).unwrap_err().kind,
            Kind::Memory
        );
        assert_eq!(f64s(&linspace(0.0, 0.3, 4, DType::F64).unwrap())[3], 0.3);
        assert_eq!(f64s(&linspace(2.0, 9.0, 1, DType::F64).unwrap()), [2.0]);
        let apart = linspace(-1e308, 1e308, 3, DType::F64).unwrap_err();
        assert_eq!(
            apart.message,
            "expected bounds whose distance is at most 1.7976931348623157e308, found -1e308 and 1e308"
        );
        assert_eq!(f64s(&eye(2, 3, DType::F16).unwrap()), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_held_is_refused_at_once() {
        let huge = 10_usize.pow(13);
        assert_eq!(zeros(&[huge], DType::F32).unwrap_err().kind, Kind::Memory);
        assert_eq!(full(&[usize::MAX, usize::MAX, 9], Number::Int(1), DType::U8).unwrap_err().kind, Kind::Memory);
        assert_eq!(eye(huge, huge, DType::F32).unwrap_err().kind, Kind::Memory);
        assert_eq!(arange(0.into(), (huge as i64).into(), 1.into(), Some(DType::F32)).unwrap_err().kind, Kind::Memory);
        assert_eq!(linspace(0.0, 1.0, huge, DType::F32).unwrap_err().kind, Kind::Memory);
        assert_eq!(randn(&[huge], DType::F32, &mut stream(0, "test", 0)).unwrap_err().kind, Kind::Memory);
        assert!(arange(0.into(), f64::NAN.into(), 1.into(), Some(DType::F32)).is_err());
        assert!(arange(0.into(), 1.into(), 0.into(), Some(DType::F32)).is_err());
        assert!(from_numbers(&[Number::Float(1.5)], &[1], DType::I64).unwrap_err().message.contains("whole numbers"));
        assert!(from_numbers(&[Number::Int(300)], &[1], DType::U8).is_err());
    }

    #[test]
    fn large_integers_survive() {
        let t = from_numbers(&[Number::Int(i64::MAX), Number::Int(i64::MIN)], &[2], DType::I64).unwrap();
        assert_eq!(element::ints(&t).unwrap(), [i64::MAX, i64::MIN]);
    }

    #[test]
    fn draws_repeat_with_the_seed_and_have_their_moments() {
        let draw = |seed| f64s(&randn(&[10_000], DType::F64, &mut stream(seed, "test", 0)).unwrap());
        let values = draw(1);
        assert_eq!(values, draw(1));
        assert_ne!(values, draw(2));
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.04 && (variance - 1.0).abs() < 0.06, "{mean} {variance}");
        let even = f64s(&uniform(&[1000], -2.0, 3.0, DType::F32, &mut stream(1, "test", 0)).unwrap());
        assert!(even.iter().all(|v| (-2.0..3.0).contains(v)));
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8E4M3] {
            let unit = f64s(&uniform(&[20_000], 0.0, 1.0, dtype, &mut stream(1, "test", 0)).unwrap());
            assert!(unit.iter().all(|v| (0.0..1.0).contains(v)), "{dtype:?}");
        }
        let ints = element::ints(&randint(&[1000], -1, 2, &mut stream(1, "test", 0)).unwrap()).unwrap();
        assert!((-1..2).all(|wanted| ints.contains(&wanted)) && ints.iter().all(|v| (-1..2).contains(v)));
        let mut order = element::ints(&permutation(100, &mut stream(1, "test", 0)).unwrap()).unwrap();
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
