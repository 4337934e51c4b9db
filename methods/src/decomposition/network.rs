//! Networks of a few layers on sparse inputs, whose parts are known: toy models of superposition, residual MLPs.

use sha2::{Digest, Sha256};

use super::masks::uniform;
use super::target::{Target, TargetMatrix, Through};
use crate::base::files::hex;
use crate::common::*;
use crate::options::OptionGroup;
use crate::tensor::Values;
use kernels::{Activation, activate};

crate::choices! {
    /// The activation function behind a layer.
    pub enum LayerActivation {
        None = "none",
        Relu = "relu",
        Gelu = "gelu",
    }
}

crate::options! {
    /// A layer of a network: it reads what the layer before writes, the first one the input.
    pub struct LayerOptions {
        /// The layer's name.
        name: String = String::new() => required();
        /// The weights, `[out, in]`.
        matrix: Option<Values> = None => usually("required");
        /// The bias, `[out]`.
        bias: Option<Values> = None => usually("none");
        /// The activation function behind the matrix and its bias.
        activation: LayerActivation = LayerActivation::None;
        /// The name of an earlier layer whose output is added: a residual stream.
        adds: Option<String> = None => usually("none");
        /// Whether the matrix stays as it is, and is not decomposed.
        fixed: bool = false;
        /// The name of an earlier layer whose matrix this one is the transpose of: both have the same parts.
        tied: Option<String> = None => usually("none");
    }
}

/// A layer of a network.
#[derive(Debug, Clone)]
pub struct Layer {
    pub name: String,
    /// The weights, `[out, in]`.
    pub matrix: Tensor,
    /// The bias, `[out]`.
    pub bias: Option<Tensor>,
    pub activation: LayerActivation,
    /// The number of an earlier layer whose output is added.
    pub adds: Option<usize>,
    /// Whether the matrix is not decomposed.
    pub fixed: bool,
    /// The number of an earlier layer whose matrix this one is the transpose of, with the same parts.
    pub tied: Option<usize>,
}

impl Layer {
    /// Returns whether the matrix is the transpose of another layer's, which has parts of its own.
    pub fn is_tied_to(&self, other: &Self) -> Result<bool> {
        let &[out, read] = other.matrix.dims() else { return Ok(false) };
        let is_free = !self.fixed && !other.fixed && other.tied.is_none();
        Ok(is_free && self.matrix.dims() == [read, out] && floats(&self.matrix.t()?)? == floats(&other.matrix)?)
    }
}

/// A network of layers, each of which reads what the one before writes.
#[derive(Debug, Clone)]
pub struct Network {
    layers: Vec<Layer>,
}

impl Network {
    /// Makes a network of layers, and refuses those that do not fit together.
    pub fn new(given: &[LayerOptions]) -> Result<Self> {
        let mut layers: Vec<Layer> = Vec::new();
        for options in given {
            let layer = layer(options, &layers).map_err(|e| e.within(format!("layer `{}`", options.name)))?;
            layers.push(layer);
        }
        Self::of_layers(layers)
    }

    pub(super) fn of_layers(layers: Vec<Layer>) -> Result<Self> {
        if layers.iter().all(|layer| layer.fixed) {
            return Err(err!(Argument, "expected a layer whose matrix is decomposed, found none").about("layers"));
        }
        Ok(Self { layers })
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the number of numbers that the network reads.
    pub fn width(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.matrix.dims()[1])
    }

    /// Lists the matrices that are decomposed.
    pub fn matrices(&self) -> Vec<TargetMatrix> {
        let number = |layer: usize| self.layers[..layer].iter().filter(|layer| !layer.fixed).count();
        let matrix = |Layer { name, matrix, tied, .. }: &Layer| TargetMatrix {
            name: name.clone(),
            weight: matrix.clone(),
            tied: tied.map(number),
        };
        self.layers.iter().filter(|layer| !layer.fixed).map(matrix).collect()
    }

    /// Reads inputs `[inputs, width]` that a caller gives.
    pub fn read(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.width();
        if x.rank() != 2 || x.dims()[1] != width {
            return Err(err!(Shape, "expected inputs of the shape [inputs, {width}], found {:?}", x.dims()).about("x"));
        }
        Ok(x.detach().to_dtype(DType::F32)?.contiguous()?)
    }

    /// Computes the network's own output on inputs `[inputs, width]`.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        let matrices = self.matrices();
        self.output(&self.read(x)?, &mut |number, x| Ok(x.matmul(&matrices[number].weight.t()?)?))
    }

    /// Computes the output, where `through` applies the matrices that are decomposed.
    pub fn output(&self, x: &Tensor, through: &mut Through) -> Result<Tensor> {
        let mut outputs: Vec<Tensor> = Vec::new();
        let mut number = 0;
        for layer in &self.layers {
            let read = outputs.last().unwrap_or(x);
            let mut written = if layer.fixed {
                read.matmul(&layer.matrix.t()?)?
            } else {
                number += 1;
                through(number - 1, read)?
            };
            if let Some(bias) = &layer.bias {
                written = written.broadcast_add(bias)?;
            }
            written = match layer.activation {
                LayerActivation::None => written,
                LayerActivation::Relu => activate(&written, Activation::Relu)?,
                LayerActivation::Gelu => activate(&written, Activation::Gelu)?,
            };
            if let Some(before) = layer.adds.and_then(|before| outputs.get(before)) {
                written = (written + before)?;
            }
            outputs.push(written);
        }
        outputs.pop().ok_or_else(|| err!(Bug, "a network without layers"))
    }

    /// Describes the layers, with a hash of their numbers.
    pub fn described(&self) -> Result<serde_json::Value> {
        let layers = self.layers.iter().map(|layer| {
            let mut hash = Sha256::new();
            for tensor in [Some(&layer.matrix), layer.bias.as_ref()].into_iter().flatten() {
                floats(tensor)?.iter().for_each(|number| hash.update(number.to_le_bytes()));
            }
            Ok(json!({
                "name": layer.name, "activation": layer.activation, "adds": layer.adds, "fixed": layer.fixed,
                "tied": layer.tied, "bias": layer.bias.is_some(), "shape": layer.matrix.dims(),
                "numbers": hex(&hash.finalize()),
            }))
        });
        Ok(layers.collect::<Result<Vec<_>>>()?.into())
    }
}

/// Reads the options of one layer behind others.
fn layer(options: &LayerOptions, before: &[Layer]) -> Result<Layer> {
    let known = || before.iter().map(|layer| layer.name.as_str());
    let name = &options.name;
    if name.is_empty() || name.contains(char::is_whitespace) || known().any(|other| other == name) {
        return Err(
            err!(Argument, "expected a name without blanks that no other layer has, found {name:?}").about("name")
        );
    }
    let Some(matrix) = &options.matrix else {
        return Err(err!(Argument, "expected a tensor for `matrix`, found nothing").about("matrix"));
    };
    let &[out, read] = matrix.dims() else {
        return Err(err!(Shape, "expected a matrix [out, in], found {:?}", matrix.dims()).about("matrix"));
    };
    let wanted = before.last().map_or(read, |layer| layer.matrix.dims()[0]);
    if read != wanted || out * read == 0 {
        return Err(err!(Shape, "expected a matrix [out, {wanted}] of at least one number, found [{out}, {read}]")
            .hint("a matrix has a row for each number that it writes, as the weights of a linear layer in PyTorch")
            .about("matrix"));
    }
    if let Some(bias) = options.bias.as_ref().filter(|bias| bias.dims() != [out]) {
        return Err(err!(Shape, "expected a bias [{out}], found {:?}", bias.dims()).about("bias"));
    }
    let adds = earlier("adds", options.adds.as_ref(), before)?;
    if let Some(place) = adds
        && before[place].matrix.dims()[0] != out
    {
        let width = before[place].matrix.dims()[0];
        return Err(err!(Shape, "expected a layer that writes {out} numbers as `adds`, found {width}").about("adds"));
    }
    let tensor = |name: &str, values: &Values| -> Result<Tensor> {
        let tensor = values.tensor(name, DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        if let Some(number) = floats(&tensor)?.iter().find(|number| !number.is_finite()) {
            return Err(err!(Argument, "expected finite numbers in `{name}`, found {number}").about(name));
        }
        Ok(tensor)
    };
    let layer = Layer {
        name: name.clone(),
        matrix: tensor("matrix", matrix)?,
        bias: options.bias.as_ref().map(|bias| tensor("bias", bias)).transpose()?,
        activation: options.activation,
        adds,
        fixed: options.fixed,
        tied: earlier("tied", options.tied.as_ref(), before)?,
    };
    if let Some(other) = layer.tied.map(|place| &before[place])
        && !layer.is_tied_to(other)?
    {
        return Err(err!(Argument, "expected the transpose of the matrix of `{}`, found another one", other.name)
            .hint("both layers have to be decomposed, and the other one has to have parts of its own")
            .about("tied"));
    }
    Ok(layer)
}

/// Returns the number of the earlier layer that an option names, if it names one.
fn earlier(option: &str, wanted: Option<&String>, before: &[Layer]) -> Result<Option<usize>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let place = before.iter().position(|layer| layer.name == *wanted);
    let found = place.ok_or_else(|| {
        err!(Argument, "expected the name of an earlier layer as `{option}`, found {wanted:?}")
            .maybe_hint(names::suggestion(wanted, before.iter().map(|layer| layer.name.as_str())))
            .about(option)
    });
    Ok(Some(found?))
}

crate::options! {
    /// Sparse inputs of a network: each number is 0, or with a probability uniform within a range.
    pub struct SparseInputs {
        /// Probability that a number of the input is not 0.
        probability: f64 = 0.05 => above(0.0).at_most(1.0);
        /// Range of the numbers that are not 0.
        values: [f64; 2] = [0.0, 1.0];
        /// Inputs in a step.
        batch: usize = 4096 => at_least(1.0);
    }
}

impl SparseInputs {
    /// Draws inputs of this width.
    pub fn draw(&self, width: usize, seed: u64, step: u64) -> Result<Tensor> {
        let mut random = stream(seed, "decomposition inputs", step);
        let [low, high] = self.values;
        let values = uniform(&[self.batch, width], &mut random)?.affine(high - low, low)?;
        let is_active = uniform(&[self.batch, width], &mut random)?.lt(self.probability)?;
        Ok((values * is_active.to_dtype(DType::F32)?)?)
    }
}

/// A network that is decomposed on sparse inputs, by the mean squared error of its output.
pub struct NetworkTarget<'a> {
    network: &'a Network,
    matrices: Vec<TargetMatrix>,
    inputs: &'a SparseInputs,
    seed: u64,
}

impl<'a> NetworkTarget<'a> {
    pub fn new(network: &'a Network, inputs: &'a SparseInputs, seed: u64) -> Self {
        Self { network, matrices: network.matrices(), inputs, seed }
    }
}

impl Target for NetworkTarget<'_> {
    type Batch = Tensor;

    fn matrices(&self) -> &[TargetMatrix] {
        &self.matrices
    }

    fn output(&self, batch: &Tensor, through: &mut Through, _: &Task) -> Result<Tensor> {
        self.network.output(batch, through)
    }

    fn divergence(&self, clean: &Tensor, found: &Tensor, _: &Task) -> Result<Tensor> {
        Ok((found - clean)?.sqr()?.mean_all()?)
    }

    fn draw(&self, step: u64, _: &Task) -> Result<Tensor> {
        self.inputs.draw(self.network.width(), self.seed, step)
    }

    fn identity(&self) -> Result<serde_json::Value> {
        Ok(json!({ "network": self.network.described()?, "inputs": self.inputs.written() }))
    }
}
