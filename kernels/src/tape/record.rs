//! Fused results with their own backward pass, on the tape or in candle's graph.
//!
//! candle calls [`RecordedOp`] in its backward pass with detached tensors, so there are no second derivatives here; the
//! reference implementations, which f64 takes, have them.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result as Candle, Shape, Storage,
    Tensor, Var,
};

use super::{ArgumentGradients, Back};
use crate::base::error::{Result, bail};
use crate::numbers::Fresh;
use crate::tape;

/// Records a result of one to three arguments on the tape, or if none is running in candle's graph. `back(result, its
/// gradient)` must return a gradient for every argument that tracks operations.
pub(crate) fn record(
    name: &'static str,
    result: Fresh,
    shape: &[usize],
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if tape::is_running() {
        return tape::push(result, shape, arguments, Arc::new(back));
    }
    in_graph(name, Storage::Cpu(CpuStorage::F32(result.numbers())), shape, arguments, Arc::new(back))
}

/// Records a result like [`record`] whose backward pass reads nothing but its gradient. A tape does not hold it, so that its
/// memory is free for other results as soon as nothing else reads it.
pub(crate) fn record_by_gradient(
    name: &'static str,
    result: Fresh,
    shape: &[usize],
    arguments: &[&Tensor],
    back: impl Fn(&Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if tape::is_running() {
        return tape::push_by_gradient(result, shape, arguments, Box::new(back));
    }
    record(name, result, shape, arguments, move |_, gradient| back(gradient))
}

/// Records a result, computed without gradients, of one to three arguments, with a backward pass of its own: in
/// candle's graph, and on the tape if one is running. It is on the arguments' device. `back(result, its gradient)` must
/// return a gradient for every argument that tracks operations.
pub fn with_gradient(
    name: &'static str,
    result: &Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    with_gradient_of(name, numbers(&result.detach())?, result.dims(), arguments, back)
}

/// Records a result like [`with_gradient`], whose backward pass is not linear in the gradient, such as one that passes back
/// the negative part alone. It is called once, with the sum of the gradients of all uses: while a tape runs, the result is
/// a variable to candle, which would otherwise go through it in each island on its own.
pub fn with_whole_gradient(
    name: &'static str,
    result: &Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if tape::is_running() && arguments.iter().any(|argument| argument.track_op()) {
        let result = Var::from_tensor(&result.detach())?.into_inner();
        tape::write(result.clone(), arguments, Arc::new(back));
        return Ok(result);
    }
    with_gradient(name, result, arguments, back)
}

/// Records numbers that nothing else has, like [`with_gradient`].
pub(crate) fn with_gradient_of(
    name: &'static str,
    numbers: Storage,
    shape: &[usize],
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    let back: Back = Arc::new(back);
    let result = in_graph(name, numbers, shape, arguments, back.clone())?;
    tape::write(result.clone(), arguments, back);
    Ok(result)
}

/// Copies the numbers into contiguous memory.
fn numbers(t: &Tensor) -> Result<Storage> {
    let is_whole = match (&*t.storage_and_layout().0, t.layout().contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(all)), Some(part)) => part == (0, all.len()),
        (Storage::Cpu(CpuStorage::F64(all)), Some(part)) => part == (0, all.len()),
        _ => false,
    };
    let t = if is_whole { t.clone() } else { t.force_contiguous()? };
    let (storage, layout) = t.storage_and_layout();
    Ok(storage.try_clone(layout)?)
}

/// Records a result that candle computed with its own gradients, with a backward pass that serves better while a tape
/// runs.
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
    numbers: Storage,
    shape: &[usize],
    arguments: &[&Tensor],
    back: Back,
) -> Result<Tensor> {
    let op = RecordedOp { name, result: Mutex::new(Some((numbers, Shape::from(shape)))), back };
    Ok(match arguments {
        [a] => a.apply_op1(op)?,
        [a, b] => a.apply_op2(b, op)?,
        [a, b, c] => a.apply_op3(b, c, op)?,
        _ => bail!(Bug, "expected one to three arguments of `{name}`, found {}", arguments.len()),
    })
}

struct RecordedOp {
    name: &'static str,
    /// The numbers until candle takes them, which is at once.
    result: Mutex<Option<(Storage, Shape)>>,
    back: Back,
}

impl RecordedOp {
    fn take<T>(&self, of: impl Fn(Storage) -> Option<T>) -> Candle<(T, Shape)> {
        let taken = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let found = taken.and_then(|(numbers, shape)| Some((of(numbers)?, shape)));
        found.ok_or_else(|| {
            candle_core::Error::Msg(format!("the result of `{}` is on another device, or taken twice", self.name))
        })
    }

    fn on_cpu(&self) -> Candle<(CpuStorage, Shape)> {
        self.take(|numbers| if let Storage::Cpu(numbers) = numbers { Some(numbers) } else { None })
    }

    fn on_cuda(&self) -> Candle<(CudaStorage, Shape)> {
        self.take(|numbers| if let Storage::Cuda(numbers) = numbers { Some(numbers) } else { None })
    }

    fn on_metal(&self) -> Candle<(MetalStorage, Shape)> {
        self.take(|numbers| if let Storage::Metal(numbers) = numbers { Some(numbers) } else { None })
    }

    fn gradients<const N: usize>(&self, result: &Tensor, gradient: &Tensor) -> Candle<[Option<Tensor>; N]> {
        let all = (self.back)(&result.detach(), gradient).map_err(candle_core::Error::wrap)?;
        <[Option<Tensor>; N]>::try_from(all)
            .map_err(|all| candle_core::Error::Msg(format!("`{}` gave {} gradients, not {N}", self.name, all.len())))
    }
}

impl CustomOp1 for RecordedOp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Candle<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Candle<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Candle<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Candle<Option<Tensor>> {
        let [a] = self.gradients(result, gradient)?;
        Ok(a)
    }
}

impl CustomOp2 for RecordedOp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Candle<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Candle<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout, _: &MetalStorage, _: &Layout) -> Candle<(MetalStorage, Shape)> {
        self.on_metal()
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

impl CustomOp3 for RecordedOp {
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
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Candle<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Candle<(MetalStorage, Shape)> {
        self.on_metal()
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
