//! The file of a decomposition: parts, matrices, the network if there is one, and the losses of the fit, in safetensors.

use serde::{Deserialize, Serialize};

use super::gates::{Gate, GateKind};
use super::network::{Layer, LayerActivation, Network};
use super::parts::{MatrixParts, TENSORS};
use super::result::{Decomposed, Decomposition, MlpName};
use super::target::TargetMatrix;
use crate::base;
use crate::common::*;
use crate::options::{Plain, Setting};
use crate::tensor::files::NamedTensors;
use crate::training::{losses_in_tensor, losses_of_tensor};

/// The kind of file, as its metadata has it.
const KIND: &str = "microtome decomposition, 1";
/// Keys of the metadata.
const ABOUT: &str = "decomposition";

/// The description of a decomposition in its file. What is not known is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// The matrices in their order, each with its gate's kind.
    matrices: Vec<AboutMatrix>,
    /// The layers of the network, if one was decomposed.
    layers: Option<Vec<AboutLayer>>,
    /// The MLP, if one was decomposed.
    mlp: Option<AboutMlp>,
    options: serde_json::Value,
    is_whole: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutMatrix {
    name: String,
    gate: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutLayer {
    name: String,
    activation: String,
    adds: Option<usize>,
    fixed: bool,
    tied: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutMlp {
    model: String,
    layer: usize,
}

impl Decomposition {
    /// Saves the decomposition as safetensors; returns the path.
    pub fn save(&self, files: &Files, path: &Path) -> Result<PathBuf> {
        self.written()?.save(files, path)
    }

    /// Loads a decomposition that was saved, and refuses what it does not understand.
    pub fn load(files: &Files, path: &Path) -> Result<Self> {
        let named = NamedTensors::load(files, path)?;
        Self::read(&named).map_err(|e| e.within(path.display()))
    }

    pub(super) fn written(&self) -> Result<NamedTensors> {
        let mut tensors = BTreeMap::new();
        let matrices = self
            .parts
            .iter()
            .map(|parts| AboutMatrix { name: parts.name.clone(), gate: parts.gate.kind.word().into() });
        let mut about = About {
            matrices: matrices.collect(),
            layers: None,
            mlp: None,
            options: self.options.clone(),
            is_whole: self.is_whole,
        };
        for (parts, matrix) in self.parts.iter().zip(&self.matrices) {
            for (name, tensor) in TENSORS.iter().zip(parts.tensors()) {
                tensors.insert(format!("parts.{}.{name}", parts.name), tensor.clone());
            }
            tensors.insert(format!("matrices.{}", parts.name), matrix.weight.clone());
        }
        match &self.of {
            Decomposed::Mlp(MlpName { model, layer }) => {
                about.mlp = Some(AboutMlp { model: model.clone(), layer: *layer });
            }
            Decomposed::Network(network) => {
                about.layers = Some(network.layers().iter().map(AboutLayer::of).collect());
                for layer in network.layers() {
                    tensors.insert(format!("layers.{}.matrix", layer.name), layer.matrix.clone());
                    if let Some(bias) = &layer.bias {
                        tensors.insert(format!("layers.{}.bias", layer.name), bias.clone());
                    }
                }
            }
        }
        tensors.insert("history".into(), losses_in_tensor(&self.history)?);
        let about =
            serde_json::to_string(&about).map_err(|e| err!(Bug, "a decomposition that cannot be written: {e}"))?;
        let metadata = BTreeMap::from([("kind".into(), KIND.into()), (ABOUT.into(), about)]);
        Ok(NamedTensors { tensors, metadata })
    }

    pub(super) fn read(named: &NamedTensors) -> Result<Self> {
        let said = |key: &str| named.metadata.get(key).map(String::as_str);
        if said("kind") != Some(KIND) {
            return Err(err!(Format, "expected a decomposition (`{KIND}`), found another file")
                .hint("`d.save(path)` writes one"));
        }
        let about = said(ABOUT).ok_or_else(|| err!(Format, "expected `{ABOUT}` in the metadata, found none"))?;
        let about: About =
            base::json::read(about.as_bytes(), |e| err!(Format, "the metadata of the decomposition: {e}"))?;
        let take = |name: String| {
            let found = named.tensors.get(&name);
            found.cloned().ok_or_else(|| err!(Format, "expected the tensor `{name}`, found none"))
        };
        let mut parts = Vec::new();
        let mut matrices = Vec::new();
        for AboutMatrix { name, gate } in about.matrices {
            let kind: GateKind = word(&gate)?;
            let weight = take(format!("matrices.{name}"))?;
            let tensors = TENSORS.map(|tensor| take(format!("parts.{name}.{tensor}")));
            let [v, u, inner, inner_bias, outer, outer_bias] = tensors;
            let gate = Gate { kind, inner: inner?, inner_bias: inner_bias?, outer: outer?, outer_bias: outer_bias? };
            let read = MatrixParts { name: name.clone(), v: v?, u: u?, gate, tied: None };
            check(&read, &weight)?;
            parts.push(read);
            matrices.push(TargetMatrix { name, weight, tied: None });
        }
        if parts.is_empty() {
            return Err(err!(Format, "expected parts of at least one matrix, found none"));
        }
        let of = match (about.layers, about.mlp) {
            (Some(layers), None) => {
                let layers = layers.into_iter().map(|layer| layer.read(named)).collect::<Result<Vec<_>>>()?;
                let network = read_network(layers, &matrices)?;
                matrices = network.matrices();
                parts.iter_mut().zip(&matrices).for_each(|(parts, matrix)| parts.tied = matrix.tied);
                Decomposed::Network(network)
            }
            (None, Some(AboutMlp { model, layer })) => Decomposed::Mlp(MlpName { model, layer }),
            _ => return Err(err!(Format, "expected the layers of a network or an MLP, found both or neither")),
        };
        let history = losses_of_tensor(&take("history".into())?)?;
        Ok(Self { parts, matrices, of, history, options: about.options, is_whole: about.is_whole })
    }
}

impl AboutLayer {
    fn of(layer: &Layer) -> Self {
        let activation = layer.activation.word().into();
        Self { name: layer.name.clone(), activation, adds: layer.adds, fixed: layer.fixed, tied: layer.tied }
    }

    fn read(self, named: &NamedTensors) -> Result<Layer> {
        let Self { name, activation, adds, fixed, tied } = self;
        let matrix = named.tensors.get(&format!("layers.{name}.matrix")).cloned();
        let matrix = matrix.ok_or_else(|| err!(Format, "expected the matrix of layer `{name}`, found none"))?;
        let bias = named.tensors.get(&format!("layers.{name}.bias")).cloned();
        let activation: LayerActivation = word(&activation)?;
        Ok(Layer { name, matrix, bias, activation, adds, fixed, tied })
    }
}

/// Reads a word that is one of several.
fn word<T: Setting>(word: &str) -> Result<T> {
    T::of(&Plain::Text(word.into())).ok_or_else(|| err!(Format, "expected {}, found {word:?}", T::wanted()))
}

/// Makes the network of a file, and refuses layers that do not fit together or to the matrices.
fn read_network(layers: Vec<Layer>, matrices: &[TargetMatrix]) -> Result<Network> {
    let mut width = None;
    for (number, layer) in layers.iter().enumerate() {
        let &[out, read] = layer.matrix.dims() else {
            return Err(err!(Format, "expected a matrix of layer `{}`, found {:?}", layer.name, layer.matrix.dims()));
        };
        let adds = layer.adds.is_none_or(|before| before < number && layers[before].matrix.dims()[0] == out);
        let bias = layer.bias.as_ref().is_none_or(|bias| bias.dims() == [out]);
        let tied = match layer.tied.map(|before| layers[..number].get(before)) {
            Some(other) => other.is_some_and(|other| layer.is_tied_to(other).unwrap_or(false)),
            None => true,
        };
        if width.is_some_and(|width| width != read) || !adds || !bias || !tied {
            return Err(err!(Format, "layer `{}` does not fit to those before it", layer.name));
        }
        width = Some(out);
    }
    let network = Network::of_layers(layers)?;
    let decomposed = network.matrices();
    let same = |(a, b): (&TargetMatrix, &TargetMatrix)| a.name == b.name && a.weight.dims() == b.weight.dims();
    if decomposed.len() != matrices.len() || !decomposed.iter().zip(matrices).all(same) {
        return Err(err!(Format, "the matrices of the network are not those of the parts"));
    }
    Ok(network)
}

/// Refuses tensors of other shapes or dtypes than parts of a matrix have.
fn check(parts: &MatrixParts, matrix: &Tensor) -> Result<()> {
    let fail = |what: &str, t: &Tensor| {
        Err(err!(Format, "expected {what} of `{}`, found {:?} {:?}", parts.name, t.dtype(), t.dims()))
    };
    let &[out, read] = matrix.dims() else { return fail("a matrix", matrix) };
    let gate = &parts.gate;
    let count = gate.outer_bias.elem_count();
    let width = gate.inner_bias.dims().last().copied().unwrap_or_default();
    let reads = if gate.kind == GateKind::Mlp { 1 } else { read };
    let (inner, inner_bias, outer) = match gate.kind {
        GateKind::Shared => (vec![reads, width], vec![width], vec![width, count]),
        GateKind::Mlp | GateKind::Vector => (vec![count, reads, width], vec![count, width], vec![count, width, 1]),
    };
    let wanted = [vec![read, count], vec![count, out], inner, inner_bias, outer, vec![count]];
    for ((name, tensor), wanted) in TENSORS.iter().zip(parts.tensors()).zip(wanted) {
        if tensor.dims() != wanted || tensor.dtype() != DType::F32 {
            return fail(&format!("F32 {wanted:?} as `{name}`"), tensor);
        }
    }
    if !matches!(matrix.device(), Device::Cpu) || matrix.dtype() != DType::F32 {
        return fail("a matrix of F32", matrix);
    }
    Ok(())
}
