//! The codes of many activations as sparse rows: zeros are never stored, and most never computed.

use std::borrow::Cow;

use super::codes;
use super::parts::{Activation, Parts};
use super::{Sae, rows};
use crate::common::*;
use kernels::sparse::{AtLeast, Product, ScoreSizes, SparseRows};
use kernels::{FlatNumbers, flat};

#[cfg(test)]
mod tests;

/// Scores between two checks for an interruption, and the minimum number of rows.
const SCORES: usize = 1 << 24;
const ROWS: usize = 1024;

/// Nonzero codes, row by row, in each row sorted by feature.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseCodes {
    rows: SparseRows,
    d_sae: usize,
}

impl SparseCodes {
    pub fn rows(&self) -> usize {
        self.rows.rows()
    }

    /// Returns the number of features.
    pub fn d_sae(&self) -> usize {
        self.d_sae
    }

    /// Returns the number of nonzero codes.
    pub fn count(&self) -> usize {
        self.rows.values.len()
    }

    /// Returns the active features of a row, sorted, and their codes; none where there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        if row >= self.rows() {
            return (&[], &[]);
        }
        let range = self.rows.range(row);
        (&self.rows.columns[range.clone()], &self.rows.values[range])
    }

    /// Returns the activation of a feature in a row.
    pub fn code(&self, row: usize, feature: usize) -> f32 {
        let (features, codes) = self.row(row);
        let at = features.binary_search_by(|other| (*other as usize).cmp(&feature)).ok();
        at.and_then(|at| codes.get(at).copied()).unwrap_or_default()
    }

    /// Returns the features of all rows, concatenated.
    pub fn features(&self) -> &[u32] {
        &self.rows.columns
    }

    /// Returns the codes of all rows, concatenated as the features are.
    pub fn codes(&self) -> &[f32] {
        &self.rows.values
    }

    /// Refuses a code that is not finite: sums and correlations of it would not show that.
    pub fn finite(self) -> Result<Self> {
        let Some(at) = self.codes().iter().position(|code| !code.is_finite()) else { return Ok(self) };
        let row = (0..self.rows()).find(|row| self.rows.range(*row).contains(&at)).unwrap_or_default();
        let feature = self.features()[at];
        let code = self.codes()[at];
        Err(err!(Numeric, "expected finite codes, found {code} of feature {feature} in row {row}")
            .hint("the dictionary overflows there: it may be one for activations of another size"))
    }

    /// Selects rows, in the order given.
    pub fn picked(&self, rows: &[usize]) -> Self {
        let mut found = SparseRows { starts: vec![0], ..SparseRows::default() };
        for row in rows {
            let (features, codes) = self.row(*row);
            found.columns.extend(features);
            found.values.extend(codes);
            found.starts.push(found.columns.len());
        }
        Self { rows: found, d_sae: self.d_sae }
    }

    /// Joins the codes of several batches of rows, one after the other.
    pub fn joined(parts: Vec<Self>, d_sae: usize) -> Self {
        Self { rows: SparseRows::joined(parts.into_iter().map(|part| part.rows).collect()), d_sae }
    }

    /// Returns the codes with their zeros: `[rows, d_sae]`.
    pub fn dense(&self) -> Result<Tensor> {
        filled(&self.rows, self.d_sae)
    }
}

/// Computes the codes of scaled activations `[.., d_in]` with their zeros, where sparse encoding is possible.
pub fn dense(parts: &Parts, x: &Tensor) -> Result<Option<Tensor>> {
    let width = parts.encoder.dims()[1];
    let d_sae = parts.decoder.dims()[0];
    let Some(found) = sparse(parts, &x.reshape(((), width))?)? else { return Ok(None) };
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(d_sae);
    Ok(Some(filled(&found, d_sae)?.reshape(shape)?))
}

/// Returns sparse rows with their zeros.
fn filled(rows: &SparseRows, width: usize) -> Result<Tensor> {
    let count = rows.rows();
    memory::check(4 * count as u128 * width as u128, || format!("the codes of {count} rows"))?;
    let mut all = vec![0f32; count * width];
    for (row, all) in all.chunks_exact_mut(width).enumerate() {
        for index in rows.range(row) {
            all[rows.columns[index] as usize] = rows.values[index];
        }
    }
    Ok(Tensor::from_vec(all, (count, width), &Device::Cpu)?)
}

impl Sae {
    /// Computes the nonzero codes of activations `[.., d_in]`; all axes but the last are flattened to rows. Codes of
    /// other dtypes than f32 are given in f32.
    pub fn encode_sparse(&self, x: &Tensor, task: &Task) -> Result<SparseCodes> {
        self.check_readable(x)?;
        let x = rows::matrix(x, self.d_in(), "activations")?;
        let count = x.dims()[0];
        let d_sae = self.d_sae();
        let step = (SCORES / d_sae).max(ROWS);
        let mut found = Vec::new();
        for start in (0..count).step_by(step) {
            task.check()?;
            let x = x.narrow(0, start, step.min(count - start))?.to_device(self.device())?;
            let scaled = self.parts.scaling.of(&x)?.before(&x)?;
            found.push(match sparse(&self.parts, &scaled)? {
                Some(codes) => codes,
                None => thinned(&codes::codes(&self.parts, &scaled)?)?,
            });
        }
        Ok(SparseCodes { rows: SparseRows::joined(found), d_sae })
    }
}

/// Computes the codes of scaled rows, in order; None for kinds that compare more than one number with a threshold,
/// other dtypes, and other devices.
fn sparse(parts: &Parts, x: &Tensor) -> Result<Option<SparseRows>> {
    let is_here = |tensor: &Tensor| tensor.dtype() == DType::F32 && tensor.device().is_cpu();
    let knows = matches!(parts.activation, Activation::Relu | Activation::TopK(_) | Activation::Threshold(_));
    let rows = x.dims()[0];
    let columns = parts.decoder.dims()[0];
    if !knows || rows == 0 || ![x, &parts.encoder, &parts.decoder].into_iter().all(is_here) {
        return Ok(None);
    }
    let x = flat(&codes::centred(parts, x)?)?;
    let encoder = flat(&parts.encoder)?;
    let x = FlatNumbers::of(&x)?;
    let encoder = FlatNumbers::of(&encoder)?;
    let sizes = ScoreSizes { rows, inner: parts.encoder.dims()[1], columns };
    let mut bias = match &parts.encoder_bias {
        Some(bias) => bias.to_vec1::<f32>()?,
        None => vec![0.0; columns],
    };
    let mut weights = Cow::Borrowed(encoder.slice());
    if parts.rescaled {
        // Codes are in units of what they write, and selected in these units.
        let norms = codes::norms(&parts.decoder)?.to_vec1::<f32>()?;
        let rows = weights.to_mut().chunks_exact_mut(sizes.inner).zip(&mut bias);
        for ((row, bias), norm) in rows.zip(norms) {
            row.iter_mut().for_each(|weight| *weight *= norm);
            *bias *= norm;
        }
    }
    let product = Product { x: x.slice(), weights: &weights, bias: &bias, sizes, rounded: None };
    Ok(match &parts.activation {
        Activation::TopK(k) => Some(in_order(product.largest_of_rows(*k)?)),
        Activation::Relu => product.few(AtLeast::Positive, f64::INFINITY),
        Activation::Threshold(threshold) => {
            let threshold = threshold.to_vec1::<f32>()?;
            let floors: Vec<f32> = threshold.iter().map(|threshold| threshold.max(f32::from_bits(1))).collect();
            let found = product.few(AtLeast::Floors(&floors), f64::INFINITY);
            found.map(|found| kept(&found, |feature, code| code > threshold[feature as usize]))
        }
        _ => None,
    })
}

/// Sorts each row by its columns.
fn in_order(mut rows: SparseRows) -> SparseRows {
    let mut row: Vec<(u32, f32)> = Vec::new();
    for index in 0..rows.rows() {
        let range = rows.range(index);
        let columns = &mut rows.columns[range.clone()];
        let values = &mut rows.values[range];
        row.clear();
        row.extend(columns.iter().copied().zip(values.iter().copied()));
        row.sort_unstable_by_key(|(column, _)| *column);
        for ((column, value), (to_column, to_value)) in row.iter().zip(columns.iter_mut().zip(values)) {
            (*to_column, *to_value) = (*column, *value);
        }
    }
    rows
}

/// Keeps the entries of sparse rows that a function accepts.
fn kept(rows: &SparseRows, keep: impl Fn(u32, f32) -> bool) -> SparseRows {
    let mut left = SparseRows { starts: vec![0], ..SparseRows::default() };
    for row in 0..rows.rows() {
        for index in rows.range(row).filter(|index| keep(rows.columns[*index], rows.values[*index])) {
            left.columns.push(rows.columns[index]);
            left.values.push(rows.values[index]);
        }
        left.starts.push(left.columns.len());
    }
    left
}

/// Returns codes without their zeros.
fn thinned(codes: &Tensor) -> Result<SparseRows> {
    let d_sae = codes.dims()[1];
    let all = codes.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut left = SparseRows { starts: vec![0], ..SparseRows::default() };
    for row in all.chunks_exact(d_sae) {
        for (feature, code) in (0..).zip(row).filter(|(_, code)| **code != 0.0) {
            left.columns.push(feature);
            left.values.push(*code);
        }
        left.starts.push(left.columns.len());
    }
    Ok(left)
}
