//! One MLP of a language model as a target: its matrices are decomposed by the KL divergence of the model's predictions.

use sha2::{Digest, Sha256};

use super::cached::CacheEntry;
use super::options::FitOptions;
use super::result::{Decomposed, Decomposition, MlpName};
use super::target::{Target, TargetMatrix, Through};
use crate::base::files::hex;
use crate::model::fingerprint::fingerprint;
use crate::model::hooks::{Action, BoundHook, Chain, PatchSource};
use crate::options::OptionGroup;
use crate::sae::fit::FitStorage;
use crate::sae::prelude::*;
use crate::sae::text_rows::{StepOrder, whole_rows};
use crate::tensor::normalise;
use kernels::{Activation, activate};

/// The largest difference of an MLP's output from what its matrices give, as a share of its norm.
const TOLERANCE: f64 = 1e-3;

crate::options! {
    /// The text that an MLP is decomposed on.
    pub struct MlpInputs {
        /// Number of rows of the text, which are read again in each epoch.
        rows: usize = 512 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("64, or the model's where that is shorter").at_least(1.0);
        /// Rows of text in a step.
        batch: usize = 8 => at_least(1.0);
    }
}

/// The weights of an MLP in f32: `down(act(gate) * up)`, or `down(act(up))` without a gate.
pub struct MlpWeights {
    pub matrices: Vec<TargetMatrix>,
    biases: Vec<Option<Tensor>>,
    act: Activation,
}

impl MlpWeights {
    /// Takes the weights of a layer's MLP, and refuses a layer that has another computation there.
    pub fn of(model: &Model, layer: usize) -> Result<Self> {
        let config = model.decoder.config();
        if layer >= config.layers {
            return Err(err!(Argument, "expected a layer below {}, found {layer}", config.layers).about("layer"));
        }
        let mlp = model.decoder.weights().blocks.get(layer).and_then(|block| block.mlp.as_ref());
        let plain = config.experts_of(layer).is_none() && !config.shifts_mlps();
        let Some(mlp) = mlp.filter(|_| plain) else {
            return Err(err!(
                Argument,
                "expected a layer with one MLP, found layer {layer} of {} without",
                model.name()
            )
            .hint("mixtures of experts and MLPs that read shifted tokens are not decomposed")
            .about("layer"));
        };
        let maps = [mlp.gate.as_ref().map(|gate| ("gate", gate)), Some(("up", &mlp.up)), Some(("down", &mlp.down))];
        let mut matrices = Vec::new();
        let mut biases = Vec::new();
        for (name, map) in maps.into_iter().flatten() {
            let weight = map.weight.floats()?.contiguous()?;
            matrices.push(TargetMatrix { name: name.into(), weight, tied: None });
            biases.push(map.bias.as_ref().map(|bias| dtype::convert(bias, DType::F32)).transpose()?);
        }
        Ok(Self { matrices, biases, act: config.act })
    }

    /// Computes the MLP on what it reads, `[inputs, d]`, where `through` applies the matrices.
    pub fn output(&self, read: &Tensor, through: &mut Through) -> Result<Tensor> {
        let mut applied = |number: usize, x: &Tensor| -> Result<Tensor> {
            let written = through(number, x)?;
            Ok(match &self.biases[number] {
                Some(bias) => written.broadcast_add(bias)?,
                None => written,
            })
        };
        let last = self.matrices.len() - 1;
        let mut hidden = activate(&applied(0, read)?, self.act)?;
        if last == 2 {
            hidden = (hidden * applied(1, read)?)?;
        }
        applied(last, &hidden)
    }

    /// Computes what each matrix reads: `[inputs, in]`.
    pub fn inputs(&self, read: &Tensor) -> Result<Vec<Tensor>> {
        let mut inputs = Vec::new();
        self.output(read, &mut |number, x| {
            inputs.push(x.detach());
            Ok(x.matmul(&self.matrices[number].weight.t()?)?)
        })?;
        Ok(inputs)
    }
}

/// Some rows of text, with what the unchanged model computes on them.
pub struct MlpBatch {
    batch: Batch,
    /// The inputs of the MLP: `[rows * context, d]`.
    read: Tensor,
    /// The residual stream before the layer, from which the pass goes on.
    stream: Tensor,
}

impl MlpBatch {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.batch.rows().len()
    }
}

/// The MLP of one layer of a language model, on a text.
pub struct MlpTarget<'a> {
    model: &'a Model,
    layer: usize,
    weights: MlpWeights,
    rows: Vec<Vec<u32>>,
    batch: usize,
    seed: u64,
    identity: serde_json::Value,
}

impl<'a> MlpTarget<'a> {
    pub fn new(
        model: &'a Model,
        layer: usize,
        text: &Text,
        inputs: &MlpInputs,
        seed: u64,
        task: &Task,
    ) -> Result<Self> {
        let weights = MlpWeights::of(model, layer)?;
        let rows = whole_rows(model, text, inputs.rows, inputs.context, task)?;
        let identity = json!({
            "model": hex(&fingerprint(&model.decoder, task)?),
            "layer": layer,
            "text": hex(&Sha256::digest(json!(rows).to_string())),
            "inputs": inputs.written(),
        });
        let target = Self { model, layer, weights, rows, batch: inputs.batch, seed, identity };
        target.check(task)?;
        Ok(target)
    }

    /// Reads rows of text with the unchanged model.
    fn read(&self, rows: Vec<Vec<u32>>, task: &Task) -> Result<MlpBatch> {
        let batch = Batch::new(rows)?;
        let places = vec![self.site(SiteKind::MlpIn), self.site(SiteKind::ResidPre)];
        let cache = self.model.decoder.cache(&batch, Ask { places, ..Ask::default() }, task)?;
        let read = flat(&cache.at(self.site(SiteKind::MlpIn))?)?;
        let stream = cache.at(self.site(SiteKind::ResidPre))?.detach();
        Ok(MlpBatch { batch, read, stream })
    }

    /// Returns the number of rows.
    pub fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Reads all rows in their order, as many at a time as a step has.
    pub fn batches(&self, task: &Task) -> impl Iterator<Item = Result<MlpBatch>> {
        self.rows.chunks(self.batch).map(move |rows| self.read(rows.to_vec(), task))
    }

    fn site(&self, kind: SiteKind) -> Place {
        Place { site: Site::new(kind, self.layer), head: None }
    }

    /// Refuses a model in which something follows the MLP before its output is added to the stream.
    fn check(&self, task: &Task) -> Result<()> {
        let batch = Batch::new(vec![self.rows[0].clone()])?;
        let places = vec![self.site(SiteKind::MlpIn), self.site(SiteKind::MlpOut)];
        let cache = self.model.decoder.cache(&batch, Ask { places, ..Ask::default() }, task)?;
        let read = flat(&cache.at(self.site(SiteKind::MlpIn))?)?;
        let written = flat(&cache.at(self.site(SiteKind::MlpOut))?)?;
        let matrices = &self.weights.matrices;
        let found = self.weights.output(&read, &mut |number, x| Ok(x.matmul(&matrices[number].weight.t()?)?))?;
        let norm = |t: &Tensor| -> Result<f64> { Ok(floats(&t.sqr()?.sum_all()?)?[0].sqrt()) };
        let far = norm(&(found - &written)?)?;
        if far > TOLERANCE * norm(&written)? {
            let name = self.model.name();
            return Err(err!(Argument, "the MLP of layer {} of {name} has a norm or a factor behind it", self.layer)
                .hint("only MLPs whose last matrix writes to the residual stream are decomposed")
                .about("m"));
        }
        Ok(())
    }
}

/// Joins the positions of all rows: `[rows * context, d]`, in f32.
pub fn flat(t: &Tensor) -> Result<Tensor> {
    let wide = t.dims().last().copied().unwrap_or_default();
    Ok(dtype::convert(&t.detach(), DType::F32)?.contiguous()?.reshape(((), wide))?)
}

impl Target for MlpTarget<'_> {
    type Batch = MlpBatch;

    fn matrices(&self) -> &[TargetMatrix] {
        &self.weights.matrices
    }

    /// Computes the logits of the next tokens, `[rows * context, vocab]`; or, where these exist for some words at a time, what the
    /// unembedding reads, `[rows * context, d]`.
    fn output(&self, batch: &MlpBatch, through: &mut Through, task: &Task) -> Result<Tensor> {
        let written = self.weights.output(&batch.read, through)?;
        let shaped = dtype::convert(&written, batch.stream.dtype())?.reshape(batch.stream.shape())?;
        let site = self.site(SiteKind::MlpOut).to_string();
        let patch = Box::new(Action::Patch(PatchSource::Tensor(shaped)).begin());
        let hook = BoundHook::new(self.model.decoder.config(), &site, None, None, patch)?;
        let mut hooks = Chain { hooks: vec![hook], ..Chain::default() };
        let from = Site::new(SiteKind::ResidPre, self.layer);
        let decoder = &self.model.decoder;
        let wanted = if decoder.reads_in_words() { Logits::Read } else { Logits::All };
        let end = decoder.resumed(&batch.batch, from, &batch.stream, &mut hooks, wanted, task)?;
        let end = end.ok_or_else(|| err!(Bug, "a pass without an end"))?;
        let wide = end.dims().last().copied().unwrap_or_default();
        Ok(dtype::convert(&end, DType::F32)?.reshape(((), wide))?)
    }

    fn divergence(&self, clean: &Tensor, found: &Tensor, task: &Task) -> Result<Tensor> {
        let decoder = &self.model.decoder;
        let each = if decoder.reads_in_words() {
            let [clean, found] = [clean, found].map(|rows| PassEnd::before_logits(rows.clone()));
            decoder.divergences(&clean, &found, task)?
        } else {
            normalise::divergences(clean, found)?
        };
        Ok(each.mean_all()?.to_dtype(DType::F32)?)
    }

    fn draw(&self, step: u64, task: &Task) -> Result<MlpBatch> {
        let order = StepOrder { batch: self.batch, seed: self.seed, stream: "decomposition rows" };
        let chosen = order.places(self.rows.len(), step).into_iter().map(|place| self.rows[place].clone());
        self.read(chosen.collect(), task)
    }

    fn identity(&self) -> Result<serde_json::Value> {
        Ok(self.identity.clone())
    }
}

impl Decomposition {
    /// Decomposes the matrices of one MLP of a language model on a text, or loads what the cache has of the same fit.
    pub fn of_mlp(
        model: &Model,
        layer: usize,
        text: &Text,
        inputs: &MlpInputs,
        options: &FitOptions,
        storage: &FitStorage,
        task: &Task,
    ) -> Result<Self> {
        let target = MlpTarget::new(model, layer, text, inputs, options.seed.draws(), task)?;
        let name = MlpName { model: model.name().to_string(), layer };
        let entry = CacheEntry {
            models: vec![model.name()],
            site: format!("the MLP of layer {layer}"),
            text: text.name().to_string(),
        };
        Self::fitted(&target, Decomposed::Mlp(name), options, entry, storage, task)
    }
}
