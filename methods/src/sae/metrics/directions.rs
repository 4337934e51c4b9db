//! Comparison of directions: how many of them two dictionaries have in common.

use super::assignment::assigned;
use crate::common::*;
use crate::sae::rows;

/// Rows compared at a time, at most, and about how many cosines.
const ROWS: usize = 256;
const COSINES: usize = 1 << 23;

/// Cosines above this count as the same direction (Cunningham et al. 2023).
const SAME: f64 = 0.9;

/// A row of one matrix that is matched with a row of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectionPair {
    pub a: usize,
    pub b: usize,
    pub cosine: f64,
}

/// A one-to-one matching of directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Matches {
    /// The pairs in the order of the rows of a. Unmatched rows are left out.
    pub pairs: Vec<DirectionPair>,
    /// The mean of the cosines.
    pub mean: f64,
    /// The share of the pairs with a cosine above 0.9.
    pub share_above: f64,
}

/// Computes the mean over the rows of `a` of the largest cosine with a row of `b` (Sharkey et al. 2022): it is not
/// symmetric, and 1 of a with itself. A direction of length 0 has a cosine of 0 with all.
pub fn mmcs(a: &Tensor, b: &Tensor, task: &Task) -> Result<f64> {
    let (a, b) = pair(a, b)?;
    let mut sum = 0.0;
    cosines(&a, &b, task, |row| sum += row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64)?;
    Ok(sum / a.dim(0)? as f64)
}

/// Finds the pairs, each direction in one at most, with the largest sum of cosines: the Hungarian assignment on 1 -
/// cosine (Cunningham et al. 2023). Every direction of the smaller dictionary is in a pair.
pub fn matches(a: &Tensor, b: &Tensor, task: &Task) -> Result<Matches> {
    matched(a, b, |cosine| cosine, task)
}

/// Finds pairs of directions whose signs mean nothing, by |cosine|, whose mean is the MCC (O'Neill et al. 2024).
pub fn mcc(a: &Tensor, b: &Tensor, task: &Task) -> Result<Matches> {
    matched(a, b, f32::abs, task)
}

fn matched(a: &Tensor, b: &Tensor, alike: fn(f32) -> f32, task: &Task) -> Result<Matches> {
    let (a, b) = pair(a, b)?;
    let of_a = a.dim(0)?;
    let of_b = b.dim(0)?;
    let turned = of_a > of_b;
    let (few, many) = if turned { (&b, &a) } else { (&a, &b) };
    let rows = of_a.min(of_b);
    let columns = of_a.max(of_b);
    memory::check(8 * rows as u128 * columns as u128, || format!("the cosines of {of_a} and {of_b} directions"))?;
    let mut costs = Vec::with_capacity(rows * columns);
    cosines(few, many, task, |row| costs.extend(row.iter().map(|cosine| 1.0 - f64::from(alike(*cosine)))))?;
    let found = assigned(&costs, rows, columns, task)?;
    let cosine = |row: usize, column: usize| 1.0 - costs[row * columns + column];
    let pair = |(row, column): (usize, usize)| {
        let (a, b) = if turned { (column, row) } else { (row, column) };
        DirectionPair { a, b, cosine: cosine(row, column) }
    };
    let mut pairs: Vec<DirectionPair> = found.into_iter().enumerate().map(pair).collect();
    pairs.sort_unstable_by_key(|pair| pair.a);
    let count = pairs.len() as f64;
    let mean = pairs.iter().map(|pair| pair.cosine).sum::<f64>() / count;
    let above = pairs.iter().filter(|pair| pair.cosine > SAME).count();
    Ok(Matches { mean, share_above: above as f64 / count, pairs })
}

/// Returns both matrices as rows of unit norm in f32.
fn pair(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let width = rows::extent(a, "directions")?.1;
    let unit = |t: &Tensor| -> Result<Tensor> {
        let t = rows::matrix(t, width, "directions")?;
        if t.dim(0)? == 0 {
            return Err(err!(Argument, "expected directions to compare, found none"));
        }
        let t = Tensor::from_vec(rows::finite(&t, "directions", 0)?, t.shape(), &Device::Cpu)?.to_dtype(DType::F64)?;
        let lengths = t.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f64::MIN_POSITIVE)?;
        Ok(t.broadcast_div(&lengths)?.to_dtype(DType::F32)?)
    };
    Ok((unit(a)?, unit(b)?))
}

/// Shows the cosines of each direction of `a` with all of `b`, one after the other.
pub(in crate::sae) fn cosines_of(a: &Tensor, b: &Tensor, task: &Task, see: impl FnMut(&[f32])) -> Result<()> {
    let (a, b) = pair(a, b)?;
    cosines(&a, &b, task, see)
}

/// Shows the cosines of each row of a with all rows of b, one row after the other.
fn cosines(a: &Tensor, b: &Tensor, task: &Task, mut see: impl FnMut(&[f32])) -> Result<()> {
    let count = a.dim(0)?;
    let turned = b.t()?;
    let step = (COSINES / b.dim(0)?).clamp(1, ROWS);
    for start in (0..count).step_by(step) {
        task.check()?;
        let part = a.narrow(0, start, step.min(count - start))?.matmul(&turned)?;
        part.flatten_all()?.to_vec1::<f32>()?.chunks_exact(b.dim(0)?).for_each(&mut see);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kit::assert_near;

    use super::*;
    use crate::base::random::stream;
    use crate::tensor::create;

    #[test]
    fn a_dictionary_is_itself_however_it_is_scaled_and_sorted() {
        let task = Task::default();
        let a = create::randn(&[300, 8], DType::F32, &mut stream(1, "a", 0)).unwrap();
        let order = Tensor::from_iter((0..300_u32).rev(), &Device::Cpu).unwrap();
        let b = a.index_select(&order, 0).unwrap().affine(3.0, 0.0).unwrap();
        assert_near(mmcs(&a, &b, &task).unwrap(), 1.0, 1e-6);
        let found = matches(&a, &b, &task).unwrap();
        assert_near(found.mean, 1.0, 1e-6);
        assert_eq!(found.share_above, 1.0);
        assert!(found.pairs.iter().enumerate().all(|(row, pair)| pair.a == row && pair.b == 299 - row));
    }

    #[test]
    fn cosines_are_those_of_their_formulas() {
        let task = Task::default();
        let a = Tensor::new(&[[1.0_f32, 0.0], [0.6, 0.8]], &Device::Cpu).unwrap();
        let b = Tensor::new(&[[2.0_f32, 0.0], [-1.0, 0.0], [0.0, 0.0]], &Device::Cpu).unwrap();
        assert_near(mmcs(&a, &b, &task).unwrap(), 0.8, 1e-6);
        // 1, -1 and 0 at best.
        assert_near(mmcs(&b, &a, &task).unwrap(), (1.0 - 0.6 + 0.0) / 3.0, 1e-6);
        let found = matches(&a, &b, &task).unwrap();
        assert_eq!(found.pairs.iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 0), (1, 2)]);
        assert_near(found.mean, 0.5, 1e-6);
        assert_near(found.share_above, 0.5, 1e-6);
        let other = matches(&b, &a, &task).unwrap();
        assert_eq!(other.pairs.iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 0), (2, 1)]);
        let wide = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(mmcs(&a, &wide, &task).is_err());
    }
}
