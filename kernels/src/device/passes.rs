//! Operations of a forward pass between its products, by the kernels of `cuda/passes.cu`: f32, f16 and bf16, computed
//! with in f32. Each function gives None for tensors that it has no kernel for.

use candle_core::cuda_backend::CudaStorage;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, PushKernelArg};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Storage, Tensor};
use half::{bf16, f16};

use super::cuda::{NOTHING, THREADS, WARPS, at, by_blocks, device, launch, ptx, size};
use crate::arguments::activation::Activation;
use crate::arguments::norm::{Affine, NormKind, row_width};
use crate::arguments::reach::{Gap, Reach};
use crate::arguments::rotation::Rotation;
use crate::base::error::{Error, Result, bail};
use crate::tape::ArgumentGradients;
use crate::tape::record::with_gradient_of;

/// The number that stands for no activation.
const NONE: u32 = 5;

/// Returns whether all tensors are on a device of NVIDIA, have numbers, and are of one dtype that the kernels know.
fn has(tensors: &[&Tensor]) -> bool {
    let [first, ..] = tensors else { return false };
    let known = matches!(first.dtype(), DType::F32 | DType::F16 | DType::BF16);
    let alike = |t: &&Tensor| t.dtype() == first.dtype() && matches!(t.device(), Device::Cuda(_)) && t.elem_count() > 0;
    known && tensors.iter().all(alike)
}

/// Returns the address of the numbers of an f32, f16 or bf16 tensor.
fn place(t: &Tensor) -> Result<u64> {
    match t.dtype() {
        DType::F32 => at::<f32>(t),
        DType::F16 => at::<f16>(t),
        DType::BF16 => at::<bf16>(t),
        other => bail!(Bug, "expected a dtype of the kernels, found {other:?}"),
    }
}

fn place_or_nothing(t: Option<&Tensor>) -> Result<u64> {
    t.map_or(Ok(NOTHING), place)
}

/// The kernel of a dtype.
macro_rules! typed {
    ($name:literal, $dtype:expr) => {
        match $dtype {
            DType::F16 => concat!($name, "_f16"),
            DType::BF16 => concat!($name, "_bf16"),
            _ => concat!($name, "_f32"),
        }
    };
}

/// Returns the tensor detached and contiguous.
fn plain(t: &Tensor) -> Result<Tensor> {
    Ok(t.detach().contiguous()?)
}

/// A result before its kernel has run, which writes all of it.
struct Out {
    storage: CudaStorage,
    at: u64,
    dims: Vec<usize>,
}

impl Out {
    fn like(t: &Tensor) -> Result<Self> {
        let device = device(t)?;
        let dims = t.dims().to_vec();
        let count = t.elem_count();
        let stream = device.cuda_stream();
        macro_rules! made {
            ($of:ty) => {{
                // SAFETY: the kernel that this is for writes every number before any is read.
                let slice = unsafe { device.alloc::<$of>(count)? };
                let (at, _waits) = slice.device_ptr(&stream);
                drop(_waits);
                (CudaStorage::wrap_cuda_slice(slice, device.clone()), at)
            }};
        }
        let (storage, at) = match t.dtype() {
            DType::F16 => made!(f16),
            DType::BF16 => made!(bf16),
            _ => made!(f32),
        };
        Ok(Self { storage, at, dims })
    }

    fn tensor(self) -> Tensor {
        Tensor::from_storage(Storage::Cuda(self.storage), self.dims, BackpropOp::none(), false)
    }

    /// Returns the result with its gradient, where one of the arguments asks for one.
    fn of(
        self,
        name: &'static str,
        arguments: &[&Tensor],
        back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        if !arguments.iter().any(|t| t.track_op()) {
            return Ok(self.tensor());
        }
        with_gradient_of(name, Storage::Cuda(self.storage), &self.dims, arguments, back)
    }
}

/// Returns the sums over all rows of numbers `[.., width]`, computed as a product, which has one order of addition.
fn sums_of_rows(t: &Tensor) -> Result<Tensor> {
    let flat = t.reshape(((), row_width(t)))?;
    let ones = Tensor::ones((1, flat.dims()[0]), flat.dtype(), flat.device())?;
    Ok(ones.matmul(&flat)?.squeeze(0)?)
}

/// Computes layer norm or RMS norm.
pub fn norm(x: &Tensor, kind: NormKind, eps: f64, affine: Affine) -> Result<Option<Tensor>> {
    let arguments: Vec<&Tensor> = [x].into_iter().chain(affine.weight).chain(affine.bias).collect();
    let width = row_width(x);
    if !has(&arguments) || arguments[1..].iter().any(|part| part.dims() != [width]) {
        return Ok(None);
    }
    let numbers = plain(x)?;
    let weight = affine.weight.map(plain).transpose()?;
    let bias = affine.bias.map(plain).transpose()?;
    let normed = NormArguments { rows: x.elem_count() / width, width, kind, eps, plus_one: affine.plus_one };
    let out = Out::like(&numbers)?;
    let from = place(&numbers)?;
    let factor = place_or_nothing(weight.as_ref())?;
    let more = place_or_nothing(bias.as_ref())?;
    let device = device(x)?;
    let config = by_blocks(normed.rows.div_ceil(WARPS), THREADS)?;
    let (centred, plus_one, eps) = normed.numbers();
    launch!(
        device,
        PASSES::typed!("norm", x.dtype()),
        config,
        from,
        factor,
        more,
        out.at,
        normed.rows,
        size(width)?,
        eps,
        centred,
        plus_one,
    );
    let asked: Vec<bool> = arguments.iter().map(|t| t.track_op()).collect();
    let has_weight = weight.is_some();
    let back = move |_: &Tensor, gradient: &Tensor| {
        let asks_weight = has_weight && asked[1];
        let (of_x, of_weight) = normed.back(&numbers, weight.as_ref(), gradient, asks_weight)?;
        let mut found = vec![Some(of_x)];
        if has_weight {
            found.push(of_weight.as_ref().map(sums_of_rows).transpose()?);
        }
        if asked.len() > found.len() {
            let last = asked[asked.len() - 1];
            found.push(last.then(|| sums_of_rows(&gradient.contiguous()?)).transpose()?);
        }
        Ok(found.into_iter().zip(&asked).map(|(gradient, asked)| gradient.filter(|_| *asked)).collect())
    };
    out.of("norm", &arguments, back).map(Some)
}

/// A norm of rows.
#[derive(Clone, Copy)]
struct NormArguments {
    rows: usize,
    width: usize,
    kind: NormKind,
    eps: f64,
    plus_one: bool,
}

impl NormArguments {
    fn numbers(&self) -> (u32, u32, f32) {
        (u32::from(self.kind == NormKind::Layer), u32::from(self.plus_one), self.eps as f32)
    }

    /// Computes the gradient of the input, and if asked the gradient of the weight, which is yet to be summed over
    /// rows.
    fn back(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        gradient: &Tensor,
        asks_weight: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let gradient = plain(gradient)?;
        let of_x = Out::like(x)?;
        let of_weight = asks_weight.then(|| Out::like(x)).transpose()?;
        let from = place(x)?;
        let factor = place_or_nothing(weight)?;
        let given = place(&gradient)?;
        let device = device(x)?;
        let config = by_blocks(self.rows.div_ceil(WARPS), THREADS)?;
        let (centred, plus_one, eps) = self.numbers();
        let to = of_weight.as_ref().map_or(NOTHING, |out| out.at);
        launch!(
            device,
            PASSES::typed!("norm_back", x.dtype()),
            config,
            from,
            factor,
            given,
            of_x.at,
            to,
            self.rows,
            size(self.width)?,
            eps,
            centred,
            plus_one,
        );
        Ok((of_x.tensor(), of_weight.map(Out::tensor)))
    }
}

/// Returns the lengths of padded rows for a kernel, and the width up to which padding goes.
fn padding(gap: Option<&Gap>, device: &Device) -> Result<(Option<Tensor>, u32)> {
    let Some(gap) = gap else { return Ok((None, 0)) };
    let lengths: Vec<u32> = gap.lengths.iter().map(|length| size(*length)).collect::<Result<_>>()?;
    Ok((Some(Tensor::new(lengths, device)?), size(gap.width)?))
}

fn lengths_or_nothing(lengths: Option<&Tensor>) -> Result<u64> {
    lengths.map_or(Ok(NOTHING), at::<u32>)
}

/// Applies rotary position embeddings; the table has every position.
pub fn rotate(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Option<Tensor>> {
    let cos = &rotation.cos;
    let sin = &rotation.sin;
    let tables = [cos, sin].iter().all(|table| table.dtype() == DType::F32 && !table.track_op());
    if !has(&[x]) || !has(&[cos, sin]) || !tables {
        return Ok(None);
    }
    let rotation = rotation.clone();
    let gap = gap.cloned();
    let arguments = [x];
    let out = turned(x, &rotation, past, gap.as_ref(), 1.0)?;
    let back = move |_: &Tensor, gradient: &Tensor| {
        Ok(vec![Some(turned(gradient, &rotation, past, gap.as_ref(), -1.0)?.tensor())])
    };
    out.of("rotate", &arguments, back).map(Some)
}

fn turned(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>, turn: f32) -> Result<Out> {
    let (_, columns, heads, width) = x.dims4()?;
    let numbers = plain(x)?;
    let cos = plain(&rotation.cos)?;
    let sin = plain(&rotation.sin)?;
    let out = Out::like(&numbers)?;
    let (lengths, gap_width) = padding(gap, x.device())?;
    let from = place(&numbers)?;
    let cosines = at::<f32>(&cos)?;
    let sines = at::<f32>(&sin)?;
    let padded = lengths_or_nothing(lengths.as_ref())?;
    let count = x.elem_count();
    let half = rotation.cos.dim(1)?;
    let device = device(x)?;
    let config = by_blocks(count.div_ceil(THREADS as usize), THREADS)?;
    launch!(
        device,
        PASSES::typed!("rotate", x.dtype()),
        config,
        from,
        cosines,
        sines,
        out.at,
        padded,
        count,
        size(columns)?,
        size(heads)?,
        size(width)?,
        size(half)?,
        size(past)?,
        gap_width,
        u32::from(rotation.neighbours),
        turn,
    );
    Ok(out)
}

/// Computes the softmax of scores, times a scale and capped, over the keys that a query attends to. A cap has no
/// gradient here.
pub fn pattern(
    scores: &Tensor,
    scale: f64,
    cap: Option<f64>,
    reach: &Reach,
    sinks: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    let has_no_gradient = cap.is_some() || sinks.is_some();
    if !has(&[scores]) || (has_no_gradient && (scores.track_op() || sinks.is_some_and(Tensor::track_op))) {
        return Ok(None);
    }
    let (_, heads, columns, keys) = scores.dims4()?;
    let sinks = sinks.map(|sinks| plain(&sinks.to_dtype(DType::F32)?)).transpose()?;
    let numbers = plain(scores)?;
    let (lengths, gap_width) = padding(reach.gap, scores.device())?;
    let out = Out::like(&numbers)?;
    let from = place(&numbers)?;
    let sunk = sinks.as_ref().map_or(Ok(NOTHING), at::<f32>)?;
    let padded = lengths_or_nothing(lengths.as_ref())?;
    let queries = scores.elem_count() / keys;
    let device = device(scores)?;
    let config = by_blocks(queries.div_ceil(WARPS), THREADS)?;
    let window = size(reach.window.unwrap_or(0))?;
    let scale = scale as f32;
    let cap = cap.unwrap_or(0.0) as f32;
    launch!(
        device,
        PASSES::typed!("pattern", scores.dtype()),
        config,
        from,
        sunk,
        out.at,
        padded,
        queries,
        size(heads)?,
        size(columns)?,
        size(keys)?,
        gap_width,
        size(reach.past)?,
        u32::from(reach.causal),
        window,
        scale,
        cap,
    );
    out.of("pattern", &[scores], move |pattern, gradient| Ok(vec![Some(pattern_back(pattern, gradient, scale)?)]))
        .map(Some)
}

fn pattern_back(pattern: &Tensor, gradient: &Tensor, scale: f32) -> Result<Tensor> {
    let pattern = plain(pattern)?;
    let gradient = plain(gradient)?;
    let out = Out::like(&pattern)?;
    let keys = row_width(&pattern);
    let queries = pattern.elem_count() / keys;
    let shares = place(&pattern)?;
    let given = place(&gradient)?;
    let device = device(&pattern)?;
    let config = by_blocks(queries.div_ceil(WARPS), THREADS)?;
    launch!(
        device,
        PASSES::typed!("pattern_back", pattern.dtype()),
        config,
        shares,
        given,
        out.at,
        queries,
        size(keys)?,
        scale
    );
    Ok(out.tensor())
}

fn number(act: Option<Activation>) -> u32 {
    match act {
        Some(Activation::Relu) => 0,
        Some(Activation::Gelu) => 1,
        Some(Activation::GeluTanh) => 2,
        Some(Activation::Silu) => 3,
        Some(Activation::SquaredRelu) => 4,
        None => NONE,
    }
}

/// Computes act(x + bias), or the sum alone without an activation.
pub fn biased(x: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Option<Tensor>> {
    let arguments: Vec<&Tensor> = [x].into_iter().chain(bias).collect();
    if !has(&arguments) || bias.is_some_and(|bias| bias.dims() != [row_width(x)]) {
        return Ok(None);
    }
    let out = activated(x, bias, None, act)?;
    let asked: Vec<bool> = arguments.iter().map(|t| t.track_op()).collect();
    // The sum is computed again in the backward pass, where an activation needs it.
    let held = act.map(|act| Ok::<_, Error>((act, plain(x)?, bias.map(plain).transpose()?))).transpose()?;
    let back = move |_: &Tensor, gradient: &Tensor| {
        let found = match &held {
            Some((act, x, None)) => slope(x, gradient, None, *act)?,
            Some((act, x, bias)) => slope(&activated(x, bias.as_ref(), None, None)?.tensor(), gradient, None, *act)?,
            None => plain(gradient)?,
        };
        let of_bias = asked.get(1).is_some_and(|asked| *asked).then(|| sums_of_rows(&found)).transpose()?;
        let of_bias = (asked.len() > 1).then_some(of_bias);
        Ok([asked[0].then_some(found)].into_iter().chain(of_bias).collect())
    };
    out.of("biased", &arguments, back).map(Some)
}

/// Computes act(gate) * up.
pub fn gated(gate: &Tensor, up: &Tensor, act: Activation) -> Result<Option<Tensor>> {
    if !has(&[gate, up]) || gate.dims() != up.dims() {
        return Ok(None);
    }
    let gates = plain(gate)?;
    let ups = plain(up)?;
    let asked = [gate.track_op(), up.track_op()];
    let out = activated(&gates, None, Some(&ups), Some(act))?;
    let back = move |_: &Tensor, gradient: &Tensor| {
        let gradient = plain(gradient)?;
        let of_gate = asked[0].then(|| slope(&gates, &gradient, Some(&ups), act)).transpose()?;
        let of_up = asked[1].then(|| Ok::<_, Error>(activated(&gates, None, Some(&gradient), Some(act))?.tensor()));
        Ok(vec![of_gate, of_up.transpose()?])
    };
    out.of("gated", &[gate, up], back).map(Some)
}

fn activated(x: &Tensor, bias: Option<&Tensor>, times: Option<&Tensor>, act: Option<Activation>) -> Result<Out> {
    let numbers = plain(x)?;
    let bias = bias.map(plain).transpose()?;
    let times = times.map(plain).transpose()?;
    let out = Out::like(&numbers)?;
    let count = x.elem_count();
    let from = place(&numbers)?;
    let more = place_or_nothing(bias.as_ref())?;
    let others = place_or_nothing(times.as_ref())?;
    let device = device(x)?;
    let config = by_blocks(count.div_ceil(THREADS as usize), THREADS)?;
    let width = size(row_width(x))?;
    let act = number(act);
    launch!(device, PASSES::typed!("activate", x.dtype()), config, from, more, others, out.at, count, width, act);
    Ok(out)
}

/// Computes the gradient of x, given that of act(x), times other numbers.
fn slope(x: &Tensor, gradient: &Tensor, times: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    let gradient = plain(gradient)?;
    let times = times.map(plain).transpose()?;
    let out = Out::like(x)?;
    let count = x.elem_count();
    let from = place(x)?;
    let given = place(&gradient)?;
    let others = place_or_nothing(times.as_ref())?;
    let device = device(x)?;
    let config = by_blocks(count.div_ceil(THREADS as usize), THREADS)?;
    launch!(
        device,
        PASSES::typed!("activate_back", x.dtype()),
        config,
        from,
        given,
        others,
        out.at,
        count,
        number(Some(act))
    );
    Ok(out.tensor())
}
