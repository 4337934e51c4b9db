//! Rank-one parts of one matrix: what they read and write, and the gates that say how much each matters.

use rand::Rng;

use super::gates::{Gate, GateKind, Importance};
use super::masks::Mask;
use super::target::TargetMatrix;
use crate::base::Result;
use crate::tensor::{DType, Device, Tensor, create};

/// The names of the tensors of one matrix's parts, in the order of [`MatrixParts::tensors`].
pub const TENSORS: [&str; 6] = ["v", "u", "gate.inner", "gate.inner_bias", "gate.outer", "gate.outer_bias"];

/// The parts of one matrix W, `[out, in]`: W is about the sum over parts of U_c V_c^T.
#[derive(Debug, Clone)]
pub struct MatrixParts {
    /// The name of the matrix.
    pub name: String,
    /// The direction that each part reads, one column a part: `[in, parts]`.
    pub v: Tensor,
    /// The direction that each part writes, one row a part: `[parts, out]`.
    pub u: Tensor,
    pub gate: Gate,
    /// The number of an earlier matrix whose parts these are, transposed.
    pub tied: Option<usize>,
}

/// The number of parts of each matrix, and the form of their gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartsShape {
    pub parts: usize,
    pub gate: GateKind,
    /// The width of the gates' hidden layer.
    pub width: usize,
}

impl MatrixParts {
    /// Draws parts of a matrix `[out, in]` as the authors do: V by the number of inputs, U by the number of parts.
    pub fn random(matrix: &TargetMatrix, shape: PartsShape, random: &mut impl Rng) -> Result<Self> {
        let (out, read) = matrix.weight.dims2()?;
        let PartsShape { parts, gate, width } = shape;
        let v = (create::randn(&[read, parts], DType::F32, random)? * (read as f64).sqrt().recip())?;
        let u = (create::randn(&[parts, out], DType::F32, random)? * (parts as f64).sqrt().recip())?;
        let gate = Gate::random(gate, parts, read, width, random)?;
        Ok(Self { name: matrix.name.clone(), v, u, gate, tied: matrix.tied })
    }

    /// Returns the number of parts.
    pub fn count(&self) -> usize {
        self.u.dims().first().copied().unwrap_or_default()
    }

    pub fn tensors(&self) -> [&Tensor; 6] {
        let Gate { inner, inner_bias, outer, outer_bias, .. } = &self.gate;
        [&self.v, &self.u, inner, inner_bias, outer, outer_bias]
    }

    /// Returns the parts with other tensors, in the order of [`TENSORS`].
    #[must_use]
    pub fn with(&self, tensors: [Tensor; 6]) -> Self {
        let [v, u, inner, inner_bias, outer, outer_bias] = tensors;
        let gate = Gate { kind: self.gate.kind, inner, inner_bias, outer, outer_bias };
        Self { name: self.name.clone(), v, u, gate, tied: self.tied }
    }

    /// Moves the parts to a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let [v, u, inner, inner_bias, outer, outer_bias] = self.tensors().map(|tensor| tensor.to_device(device));
        Ok(self.with([v?, u?, inner?, inner_bias?, outer?, outer_bias?]))
    }

    /// Computes the parts' inner activations, V^T x, of inputs `[inputs, in]`.
    pub fn acts(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.v)?)
    }

    pub fn importance(&self, x: &Tensor) -> Result<Importance> {
        Importance::of(&self.gate.raw(x, &self.acts(x)?)?)
    }

    /// Computes the sum of the parts: `[out, in]`.
    pub fn sum(&self) -> Result<Tensor> {
        Ok(self.v.matmul(&self.u)?.t()?.contiguous()?)
    }

    /// Computes what is missing in the sum of the parts, W - sum: `[out, in]`.
    pub fn delta(&self, matrix: &Tensor) -> Result<Tensor> {
        Ok((matrix - self.sum()?)?)
    }

    /// Applies the masked matrix to inputs `[inputs, in]`: sum over parts of m_c U_c V_c^T, and the masked `delta`, if
    /// that is a part, too.
    pub fn masked(&self, x: &Tensor, mask: &Mask, delta: Option<&Tensor>) -> Result<Tensor> {
        let written = (self.acts(x)? * &mask.parts)?.matmul(&self.u)?;
        match (delta, &mask.delta) {
            (Some(delta), Some(kept)) => {
                let rest = x.matmul(&delta.t()?)?.broadcast_mul(&kept.unsqueeze(1)?)?;
                Ok((written + rest)?)
            }
            _ => Ok(written),
        }
    }

    /// Computes the norm of each part, |U_c| |V_c|, as a matrix.
    pub fn norms(&self) -> Result<Tensor> {
        let read = self.v.sqr()?.sum(0)?.sqrt()?;
        let written = self.u.sqr()?.sum(1)?.sqrt()?;
        Ok((read * written)?)
    }
}

/// Gives parts that are tied to those of another matrix the directions of these: what they read there, they write here.
pub fn tied(mut parts: Vec<MatrixParts>) -> Result<Vec<MatrixParts>> {
    let ties = parts.iter().enumerate().filter_map(|(number, parts)| Some((number, parts.tied?)));
    for (number, of) in ties.collect::<Vec<_>>() {
        let v = parts[of].u.t()?.contiguous()?;
        let u = parts[of].v.t()?.contiguous()?;
        parts[number] = MatrixParts { v, u, ..parts[number].clone() };
    }
    Ok(parts)
}
