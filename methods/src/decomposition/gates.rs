//! Causal importance: how much a part matters on an input, as a small network predicts it (Bushnaq et al. 2025, equation 7
//! and appendix A), behind hard sigmoids whose flat sides leak gradients.

use rand::Rng;

use crate::base::Result;
use crate::tensor::{DType, Tensor, create};
use kernels::{Activation, activate};

/// The slope of the leaky sides of the hard sigmoids.
const LEAK: f64 = 0.01;

crate::choices! {
    /// The network that predicts causal importances.
    pub enum GateKind {
        /// A gate for each part, which reads the part's own inner activation, V^T x.
        Mlp = "mlp",
        /// A gate for each part, which reads all that the matrix reads.
        Vector = "vector",
        /// A single gate for all parts of a matrix, which reads all that the matrix reads.
        Shared = "shared",
    }
}

/// The network that predicts the causal importances of the parts of one matrix: one hidden layer with GELU.
#[derive(Debug, Clone)]
pub struct Gate {
    pub kind: GateKind,
    /// The layer that reads: `[parts, read, width]`, where "mlp" reads one number; `[read, width]` if it is shared.
    pub inner: Tensor,
    /// The bias of that layer: `[parts, width]`, or `[width]`.
    pub inner_bias: Tensor,
    /// The layer that predicts: `[parts, width, 1]`, or `[width, parts]`.
    pub outer: Tensor,
    /// The bias of that layer: `[parts]`.
    pub outer_bias: Tensor,
}

/// The causal importances of the parts of one matrix on some inputs: `[inputs, parts]`.
#[derive(Debug, Clone)]
pub struct Importance {
    /// The values within 0 and 1 that masks are made of, whose gradient leaks below 0.
    pub lower: Tensor,
    /// The values that are penalised, of at least 0, which rise on by a slope of 0.01 above 1.
    pub upper: Tensor,
}

impl Gate {
    /// Draws the weights as the authors do: Kaiming's normal distribution, with biases of 0.
    pub fn random(kind: GateKind, parts: usize, read: usize, width: usize, random: &mut impl Rng) -> Result<Self> {
        let mut drawn = |dims: &[usize], deviation: f64| -> Result<Tensor> {
            Ok((create::randn(dims, DType::F32, random)? * deviation)?)
        };
        let read = if kind == GateKind::Mlp { 1 } else { read };
        let into = (2.0 / read as f64).sqrt();
        let out = (1.0 / width as f64).sqrt();
        let (inner, outer) = match kind {
            GateKind::Shared => (drawn(&[read, width], into)?, drawn(&[width, parts], out)?),
            GateKind::Mlp | GateKind::Vector => (drawn(&[parts, read, width], into)?, drawn(&[parts, width, 1], out)?),
        };
        let inner_bias = match kind {
            GateKind::Shared => inner.narrow(0, 0, 1)?.squeeze(0)?.zeros_like()?,
            GateKind::Mlp | GateKind::Vector => inner.narrow(1, 0, 1)?.squeeze(1)?.zeros_like()?,
        };
        let outer_bias = create::zeros(&[parts], DType::F32)?;
        Ok(Self { kind, inner, inner_bias, outer, outer_bias })
    }

    /// Computes what the networks give before the hard sigmoids, `[inputs, parts]`, from what the matrix reads,
    /// `[inputs, read]`, and the parts' inner activations, `[inputs, parts]`.
    pub fn raw(&self, x: &Tensor, acts: &Tensor) -> Result<Tensor> {
        let raw = match self.kind {
            GateKind::Mlp => {
                let by_unit = |t: &Tensor| -> Result<Tensor> { Ok(t.flatten_from(1)?.t()?) };
                let weights = [by_unit(&self.inner)?, by_unit(&self.inner_bias)?, by_unit(&self.outer)?];
                kernels::column_networks(acts, &Tensor::stack(&weights, 0)?)?
            }
            GateKind::Vector => self.of_vectors(x)?,
            GateKind::Shared => {
                let hidden = x.matmul(&self.inner)?.broadcast_add(&self.inner_bias)?;
                activate(&hidden, Activation::Gelu)?.matmul(&self.outer)?
            }
        };
        Ok(raw.broadcast_add(&self.outer_bias)?)
    }

    /// Computes what networks give that each read all of x, without the last bias.
    fn of_vectors(&self, x: &Tensor) -> Result<Tensor> {
        let parts = self.outer_bias.dim(0)?;
        let (inputs, wide) = x.dims2()?;
        let read = x.unsqueeze(0)?.broadcast_as((parts, inputs, wide))?;
        // The bias is one more row of the layer, for a number that is 1: the product adds it, and sums its gradient.
        let ones = Tensor::ones((parts, inputs, 1), x.dtype(), x.device())?;
        let read = Tensor::cat(&[read, ones], 2)?;
        let layer = Tensor::cat(&[self.inner.clone(), self.inner_bias.unsqueeze(1)?], 1)?;
        let hidden = activate(&read.matmul(&layer)?, Activation::Gelu)?;
        Ok(hidden.matmul(&self.outer)?.squeeze(2)?.t()?.contiguous()?)
    }
}

impl Importance {
    /// Applies both hard sigmoids to what the networks give.
    pub fn of(raw: &Tensor) -> Result<Self> {
        Ok(Self { lower: lower_leaky(raw)?, upper: upper_leaky(raw)? })
    }
}

/// Computes the hard sigmoid, with a slope of 0.01 below 0 for gradients that would raise the number: forward it is flat
/// there, so that masks stay within 0 and 1, which is how the authors' code differs from their appendix A.
fn lower_leaky(raw: &Tensor) -> Result<Tensor> {
    let from = raw.detach();
    let result = from.clamp(0f64, 1f64)?;
    // What leaks is decided by the sum over all losses, not by each of them.
    Ok(kernels::with_whole_gradient("lower_leaky_hard_sigmoid", &result, &[raw], move |_, gradient| {
        let zeros = gradient.zeros_like()?;
        let leaked = (gradient.minimum(&zeros)? * LEAK)?;
        let within = from.le(1f64)?.where_cond(gradient, &zeros)?;
        Ok(vec![Some(from.le(0f64)?.where_cond(&leaked, &within)?)])
    })?)
}

/// Computes the hard sigmoid with a slope of 0.01 above 1.
fn upper_leaky(raw: &Tensor) -> Result<Tensor> {
    let from = raw.detach();
    let above = ((&from - 1.0)? * LEAK)?;
    let result = (from.clamp(0f64, 1f64)? + above.maximum(&above.zeros_like()?)?)?;
    Ok(kernels::with_gradient("upper_leaky_hard_sigmoid", &result, &[raw], move |_, gradient| {
        let within = from.ge(0f64)?.where_cond(gradient, &gradient.zeros_like()?)?;
        Ok(vec![Some(from.gt(1f64)?.where_cond(&(gradient * LEAK)?, &within)?)])
    })?)
}
