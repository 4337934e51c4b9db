//! Fused results with their own backward pass, on the tape or in candle's graph.
//!
//! candle calls [`Recorded`] in its backward pass with detached tensors, so there are no second derivatives here; the
//! reference implementations, which f64 takes, have them.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as Candle, Shape, Tensor};

use super::numbers::Fresh;
use super::tape::{self, ArgumentGradients, Back};
use crate::Result;
use crate::error::bail;

/// Records a result of one to three arguments on the tape, or if none is running in candle's graph. `back(result, its
/// gradient)` must return a gradient for every argument that tracks operations.
pub(super) fn record(
    name: &'static str,
    result: Fresh,
    shape: &[usize],
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if tape::is_running() {
        return tape::push(result, shape, arguments, Box::new(back));
    }
    let result = Mutex::new(Some((CpuStorage::F32(result.numbers()), Shape::from(shape))));
    let op = Recorded { name, result, back: Box::new(back) };
    Ok(match arguments {
        [a] => a.apply_op1(op)?,
        [a, b] => a.apply_op2(b, op)?,
        [a, b, c] => a.apply_op3(b, c, op)?,
        _ => bail!(Bug, "expected one to three arguments of `{name}`, found {}", arguments.len()),
    })
}

struct Recorded {
    name: &'static str,
    /// Until candle takes it, which is at once.
    result: Mutex<Option<(CpuStorage, Shape)>>,
    back: Back,
}

impl Recorded {
    fn take(&self) -> Candle<(CpuStorage, Shape)> {
        let taken = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| candle_core::Error::Msg(format!("the result of `{}` was taken twice", self.name)))
    }

    fn gradients<const N: usize>(&self, result: &Tensor, gradient: &Tensor) -> Candle<[Option<Tensor>; N]> {
        let all = (self.back)(&result.detach(), gradient).map_err(candle_core::Error::wrap)?;
        <[Option<Tensor>; N]>::try_from(all)
            .map_err(|all| candle_core::Error::Msg(format!("`{}` gave {} gradients, not {N}", self.name, all.len())))
    }
}

impl CustomOp1 for Recorded {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Candle<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        let [a] = self.gradients(result, gradient)?;
        Ok(a)
    }
}

impl CustomOp2 for Recorded {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Candle<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients(result, gradient)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Recorded {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Candle<(CpuStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Candle<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients(result, gradient)?;
        Ok((a, b, c))
    }
}
