//! Access in place to the elements of a variable.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result as Candle, Var};

use crate::base::error::Result;

/// Lends the elements of a variable, which must be contiguous f32 in CPU memory. `work` must not access the variable in
/// any other way.
pub(crate) fn in_place(variable: &Var, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    let lent = InPlaceWork { work: Mutex::new(Some(work)) };
    Ok(variable.inplace_op1(&lent)?)
}

struct InPlaceWork<F> {
    work: Mutex<Option<F>>,
}

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for InPlaceWork<F> {
    fn name(&self) -> &'static str {
        "in_place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Candle<()> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (storage, layout.contiguous_offsets(), work) {
            (CpuStorage::F32(all), Some((begin, end)), Some(work)) => {
                work(&mut all[begin..end]).map_err(candle_core::Error::wrap)
            }
            (storage, ..) => {
                let found = candle_core::backend::BackendStorage::dtype(storage);
                Err(candle_core::Error::Msg(format!("expected f32 without gaps, found {found:?}")))
            }
        }
    }
}
