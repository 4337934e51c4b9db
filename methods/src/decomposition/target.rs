//! The target of a decomposition: a function of some matrices, with the inputs that it is decomposed on.

use crate::common::*;

/// A matrix of a target.
#[derive(Debug, Clone)]
pub struct TargetMatrix {
    pub name: String,
    /// The weights: `[out, in]`.
    pub weight: Tensor,
    /// The number of an earlier matrix, if this one is its transpose: it has the same parts, which write what they read there.
    pub tied: Option<usize>,
}

/// The application of a matrix, by its number, to what it reads, `[inputs, in]`.
pub type Through<'a> = dyn FnMut(usize, &Tensor) -> Result<Tensor> + 'a;

/// A function of some matrices.
pub trait Target {
    /// The inputs of one step.
    type Batch;

    /// Lists the matrices that are decomposed, in the order in which they are applied.
    fn matrices(&self) -> &[TargetMatrix];

    /// Computes the output on some inputs, where `through` applies each of the matrices.
    fn output(&self, batch: &Self::Batch, through: &mut Through, task: &Task) -> Result<Tensor>;

    /// Computes the mean divergence between two outputs, as one number.
    fn divergence(&self, clean: &Tensor, found: &Tensor, task: &Task) -> Result<Tensor>;

    /// Draws the inputs of a step.
    fn draw(&self, step: u64, task: &Task) -> Result<Self::Batch>;

    /// Identifies the target and its inputs in checkpoints and files.
    fn identity(&self) -> Result<serde_json::Value>;
}

/// The target's own computation on a batch.
#[derive(Debug, Clone)]
pub struct Clean {
    /// The inputs of each matrix: `[inputs, in]`.
    pub inputs: Vec<Tensor>,
    pub output: Tensor,
}

impl Clean {
    /// Returns the number of inputs.
    pub fn count(&self) -> usize {
        self.inputs.first().map_or(0, |x| x.dims()[0])
    }

    /// Computes the target with its own matrices.
    pub fn of<T: Target>(target: &T, batch: &T::Batch, task: &Task) -> Result<Self> {
        let transposed =
            target.matrices().iter().map(|matrix| Ok(matrix.weight.t()?)).collect::<Result<Vec<Tensor>>>()?;
        let mut inputs = Vec::new();
        let output = target.output(
            batch,
            &mut |number, x| {
                inputs.push(x.detach());
                Ok(x.matmul(&transposed[number])?)
            },
            task,
        )?;
        Ok(Self { inputs, output: output.detach() })
    }
}
