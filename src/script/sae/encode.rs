//! The active features of a dictionary: sparse codes.

use crate::sae::SparseCodes;
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// Returns three tensors, with one element for each code.
fn columns(found: &SparseCodes) -> Result<Map> {
    let mut rows = Vec::with_capacity(found.count());
    let count = found.count();
    for row in 0..found.rows() {
        rows.resize(rows.len() + found.row(row).0.len(), row as i64);
    }
    let features: Vec<i64> = found.features().iter().copied().map(i64::from).collect();
    let rows = Tensor::from_vec(rows, count, &Device::Cpu)?;
    let features = Tensor::from_vec(features, count, &Device::Cpu)?;
    let codes = Tensor::from_slice(found.codes(), count, &Device::Cpu)?;
    let named = [("rows", rows), ("features", features), ("codes", codes)];
    Ok(named.into_iter().map(|(name, tensor)| (name.into(), Dynamic::from(tensor))).collect())
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the active features, as three tensors of equal length: `rows`, `features` and `codes`, sorted by row and
    /// then by feature.
    ///
    /// It is `encode` without the codes that are 0: for wide dictionaries many times faster, and smaller by as much as
    /// codes are sparse. All axes of `x` but the last are flattened to rows.
    ///
    /// # Example
    /// ```
    /// let found = sae::identity(3).active([[0, 2, 0], [3, 0, -4]]);
    /// found.rows      //=> tensor([0, 1, 1], i64)
    /// found.features  //=> tensor([1, 0, 2], i64)
    /// found.codes     //=> tensor([2.0, 3.0, -4.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn active(ctx: NativeCallContext, s: &mut Sae, x: Any) -> Fallible<Map> {
        let x = s.numbers("x", &x)?;
        let task = env(&ctx)?.task.clone();
        let core = s.core.clone();
        let cost = x.elem_count() as f64 * core.d_sae() as f64;
        let inner = task.clone();
        let found = task.heavy(cost, move || core.encode_sparse(&x, &inner)?.finite()).map_err(|e| e.about("x"))?;
        Ok(columns(&found)?)
    }
}
