//! Fused results with their own backward pass, on the tape or in candle's graph.
//!
//! candle calls [`Recorded`] in its backward pass with detached tensors, so there are no second derivatives here; the
//! reference implementations, which f64 takes, have them.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as Candle, Shape, Storage, Tensor};

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
        return tape::push(result, shape, arguments, Arc::new(back));
    }
    in_graph(name, CpuStorage::F32(result.numbers()), shape, arguments, Arc::new(back))
}

/// A result, computed without gradients, of one to three arguments in CPU memory, with a backward pass of its own: in
/// candle's graph, and on the tape if one is running. `back` is as in [`record`].
pub fn with_gradient(
    name: &'static str,
    result: &Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    let numbers = numbers(name, &result.detach())?;
    let back: Back = Arc::new(back);
    let result = in_graph(name, numbers, result.dims(), arguments, back.clone())?;
    tape::write(result.clone(), arguments, back);
    Ok(result)
}

/// A copy of the numbers, without gaps.
fn numbers(name: &str, t: &Tensor) -> Result<CpuStorage> {
    let copy = |t: &Tensor| match &*t.storage_and_layout().0 {
        Storage::Cpu(numbers) => Ok(numbers.clone()),
        _ => bail!(Argument, "`{name}` has gradients on the processor only"),
    };
    let is_whole = match (&*t.storage_and_layout().0, t.layout().contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(all)), Some(part)) => part == (0, all.len()),
        (Storage::Cpu(CpuStorage::F64(all)), Some(part)) => part == (0, all.len()),
        _ => false,
    };
    if is_whole { copy(t) } else { copy(&t.force_contiguous()?) }
}

/// A result that candle computed with its own gradients, with a backward pass that serves better while a tape runs.
pub fn on_tape(
    result: Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Tensor {
    if tape::is_running() && result.track_op() {
        tape::write(result.clone(), arguments, Arc::new(back));
    }
    result
}

fn in_graph(
    name: &'static str,
    numbers: CpuStorage,
    shape: &[usize],
    arguments: &[&Tensor],
    back: Back,
) -> Result<Tensor> {
    let op = Recorded { name, result: Mutex::new(Some((numbers, Shape::from(shape)))), back };
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
