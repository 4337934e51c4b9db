//! LoRA adapters (Hu et al. 2022): low-rank matrices beside the weights of a model, and whole weights in their place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Model;
use super::config::Config;
use super::layout::WeightFrom;
use super::weight::{AdaptedWeight, Weight};
use super::weights::Weights;
use crate::base::counts::count;
use crate::base::{Result, Task, memory};
use crate::err;
use crate::tensor::Tensor;

/// Text between the origin of a model and the adapter beside it.
pub const BESIDE: &str = " + ";

/// An adapter on its model.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The source of the adapter: a path, `org/name@commit`, or how it was trained.
    pub name: String,
    /// The factor of all that it changes: 0 for the base, 1 for the adapter as it was trained.
    pub scale: f64,
    pub parts: Arc<AdapterParts>,
    /// The model without the adapter.
    pub base: Model,
}

/// The adapter in a line: its name, rank, and number of modules.
impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modules = count(self.parts.modules.len(), "module");
        write!(f, "{}: rank {}, {modules}", self.name, self.parts.settings.rank)?;
        if self.scale == 1.0 { Ok(()) } else { write!(f, ", scale {}", self.scale) }
    }
}

/// Matrices and whole weights by which an adapter changes a model.
#[derive(Debug, Clone)]
pub struct AdapterParts {
    pub settings: AdapterSettings,
    pub modules: Vec<LowRankModule>,
    pub wholes: Vec<WholeWeight>,
}

/// Settings of an adapter that hold for all its modules, and those that it is saved with.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSettings {
    pub rank: usize,
    pub alpha: f64,
    /// Whether products are scaled by alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023).
    pub rslora: bool,
    /// The biases that were trained: "none", "all", or "lora_only".
    pub bias: String,
    /// Names of modules that were trained and saved as wholes.
    pub saved: Vec<String>,
    /// The task that the adapter was trained for, by its name in PEFT.
    pub task: Option<String>,
}

impl AdapterSettings {
    /// Returns the factor of a product of this rank and alpha.
    pub fn scaling(&self, rank: usize, alpha: f64) -> f64 {
        let rank = rank as f64;
        if self.rslora { alpha / rank.sqrt() } else { alpha / rank }
    }
}

/// The low-rank matrices of one module of the published model, whose rows several of our weights may share.
#[derive(Debug, Clone)]
pub struct LowRankModule {
    /// The path of the module in the published model: `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Whether the module is an embedding, of which tokens choose rows.
    pub is_embedding: bool,
    /// The matrix that reads the input, `[rank, in]`.
    pub down: Tensor,
    /// The matrix that writes the output, `[out, rank]`.
    pub up: Tensor,
    pub alpha: f64,
    pub places: Vec<ModulePlace>,
}

impl LowRankModule {
    pub fn rank(&self) -> Result<usize> {
        Ok(self.down.dim(0)?)
    }
}

/// A weight of ours, and its rows in a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModulePlace {
    pub weight: String,
    pub rows: ModuleRows,
}

/// Rows of a module that one of our weights has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleRows {
    All,
    Range {
        start: usize,
        count: usize,
    },
    /// Part `part` of `parts` of every head: the rows are ordered (head, part, d_head).
    OfEachHead {
        heads: usize,
        parts: usize,
        part: usize,
    },
    /// Rows `start..start + count` of every group of `group` rows.
    OfEachGroup {
        groups: usize,
        group: usize,
        start: usize,
        count: usize,
    },
}

/// Weights of which tokens choose rows.
pub const EMBEDDINGS: [&str; 4] = ["embed", "pos_embed", "type_embed", "layer_inputs.embed"];

impl ModuleRows {
    /// Returns the tensor of a file that one of our weights is in, and its rows there, if that is the matrix of a linear
    /// map or of an embedding.
    pub fn in_file(from: &WeightFrom) -> Option<(&str, Self)> {
        Some(match from {
            WeightFrom::Same(name) | WeightFrom::Transposed(name) => (name, Self::All),
            WeightFrom::Rows { name, start, count } | WeightFrom::Columns { name, start, count } => {
                (name, Self::Range { start: *start, count: *count })
            }
            WeightFrom::OfEachHead { name, heads, parts, part } => {
                (name, Self::OfEachHead { heads: *heads, parts: *parts, part: *part })
            }
            WeightFrom::OfEachGroup { name, groups, group, start, count } => {
                (name, Self::OfEachGroup { groups: *groups, group: *group, start: *start, count: *count })
            }
            _ => return None,
        })
    }

    /// Slices the rows out of a matrix `[out, rank]` of the whole module.
    fn of(self, up: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::All => up.clone(),
            Self::Range { start, count } => up.narrow(0, start, count)?,
            Self::OfEachHead { heads, parts, part } => {
                let (out, rank) = up.dims2()?;
                let by_head = up.reshape((heads, parts, out / (heads * parts), rank))?;
                by_head.narrow(1, part, 1)?.contiguous()?.reshape((out / parts, rank))?
            }
            Self::OfEachGroup { groups, group, start, count } => {
                let by_group = up.reshape((groups, group, up.dim(1)?))?;
                by_group.narrow(1, start, count)?.contiguous()?.flatten(0, 1)?
            }
        })
    }
}

/// A weight that an adapter has as a whole.
#[derive(Debug, Clone)]
pub struct WholeWeight {
    /// Name in the adapter's file, without the prefix of all names there.
    pub name: String,
    /// The tensor as the file has it.
    pub tensor: Tensor,
    /// The weights of ours that are in the tensor.
    pub weights: Vec<(String, Tensor)>,
}

/// The change of one weight.
#[derive(Default)]
struct Change<'a> {
    whole: Option<&'a Tensor>,
    low_rank: Option<(&'a LowRankModule, ModuleRows)>,
}

impl AdapterParts {
    /// Returns the weights of a model with the adapter beside them. At scale 0 they are the base's.
    pub fn applied(&self, config: &Config, base: &Weights, scale: f64) -> Result<Weights> {
        let mut changes = self.changes();
        let mut named: BTreeMap<String, Weight> = base.named(config)?.into_iter().collect();
        let made = Weights::taken(config, &mut |name, _| {
            let weight = named.remove(name).ok_or_else(|| err!(Bug, "a base without `{name}`"))?;
            match changes.remove(name) {
                Some(change) if scale != 0.0 => self.changed(weight, &change, scale),
                _ => Ok(weight),
            }
        })?;
        match changes.keys().next() {
            Some(name) => Err(err!(Bug, "an adapter changes `{name}`, which its base has not")),
            None => Ok(made),
        }
    }

    fn changes(&self) -> BTreeMap<&str, Change<'_>> {
        let mut changes: BTreeMap<&str, Change> = BTreeMap::new();
        for (name, whole) in self.wholes.iter().flat_map(|whole| &whole.weights) {
            changes.entry(name).or_default().whole = Some(whole);
        }
        for module in &self.modules {
            for place in &module.places {
                changes.entry(&place.weight).or_default().low_rank = Some((module, place.rows));
            }
        }
        changes
    }

    fn changed(&self, base: Weight, change: &Change, scale: f64) -> Result<Weight> {
        let base = match change.whole {
            None => base,
            Some(whole) if scale == 1.0 => whole.clone().into(),
            Some(whole) => {
                let from = base.tensor()?;
                (&from + ((whole - &from)? * scale)?)?.into()
            }
        };
        let Some((module, rows)) = change.low_rank else { return Ok(base) };
        Ok(Weight::Adapted(Box::new(AdaptedWeight {
            base,
            down: module.down.clone(),
            up: rows.of(&module.up)?,
            scale: scale * self.settings.scaling(module.rank()?, module.alpha),
        })))
    }

    /// Counts the numbers that the adapter has.
    pub fn parameters(&self) -> usize {
        let low_rank = self.modules.iter().map(|module| module.down.elem_count() + module.up.elem_count());
        low_rank.sum::<usize>() + self.wholes.iter().map(|whole| whole.tensor.elem_count()).sum::<usize>()
    }

    /// Counts the numbers per token between both matrices of all weights.
    pub fn numbers_per_token(&self) -> Result<usize> {
        self.modules.iter().map(|module| Ok(2 * module.rank()? * module.places.len())).sum()
    }
}

impl Model {
    /// Refuses a model that has an adapter.
    pub fn expect_no_adapter(&self) -> Result<()> {
        match &self.adapter {
            None => Ok(()),
            Some(adapter) => {
                Err(err!(Argument, "expected a model without an adapter, found one with `{}`", adapter.name)
                    .hint("`m.adapter.merge()` makes a plain model of it"))
            }
        }
    }

    /// Returns this model with an adapter beside its weights. Hooks that it keeps stay.
    pub fn with_adapter(&self, name: String, parts: Arc<AdapterParts>, scale: f64) -> Result<Self> {
        self.expect_no_adapter()?;
        if !scale.is_finite() {
            return Err(err!(Argument, "expected a finite number for `scale`, found {scale}").about("scale"));
        }
        let base = self.keeping(Vec::new());
        let weights = parts.applied(base.decoder.config(), base.decoder.weights(), scale)?;
        let decoder = self.decoder.with_weights(weights);
        let factor = if scale == 1.0 { String::new() } else { format!(" x {scale}") };
        let origin = format!("{}{BESIDE}{name}{factor}", self.origin);
        let adapter = Some(Arc::new(Adapter { name, scale, parts, base }));
        Ok(Self { decoder: Arc::new(decoder), origin, adapter, ..self.clone() })
    }

    /// Returns this model with its adapter at another scale.
    pub fn with_adapter_scale(&self, scale: f64) -> Result<Self> {
        let Some(adapter) = &self.adapter else { return Err(err!(Bug, "a model without an adapter")) };
        let made = adapter.base.with_adapter(adapter.name.clone(), adapter.parts.clone(), scale)?;
        Ok(Self { history: self.history.clone(), ..made.keeping(self.decoder.kept().to_vec()) })
    }

    /// Returns this model with its adapter merged into the weights. Other weights are shared with it; hooks that it keeps
    /// stay.
    pub fn merged(&self, task: &Task) -> Result<Self> {
        let config = self.decoder.config();
        let mut named: BTreeMap<String, Weight> = self.decoder.weights().named(config)?.into_iter().collect();
        let width = self.decoder.dtype().size_in_bytes();
        let adapted = named.values().filter(|weight| matches!(weight, Weight::Adapted(_)));
        let bytes: usize = adapted.map(|weight| weight.dims().iter().product::<usize>() * width).sum();
        memory::check_on(self.decoder.device(), bytes as u128, || "the merged weights".into())?;
        let weights = Weights::taken(config, &mut |name, _| {
            task.check()?;
            let weight = named.remove(name).ok_or_else(|| err!(Bug, "a model without `{name}`"))?;
            match weight {
                Weight::Adapted(_) => Ok(weight.tensor()?.into()),
                plain => Ok(plain),
            }
        })?;
        let decoder = Arc::new(self.decoder.with_weights(weights));
        Ok(Self { decoder, origin: format!("{}, merged", self.origin), adapter: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::model::batch::Batch;
    use crate::model::fixtures;
    use crate::tensor::{DType, create, floats};
    use kit::far;

    fn base() -> Model {
        Model::new(fixtures::decoder(fixtures::config(), DType::F32), None, "small")
    }

    fn random(shape: &[usize], turn: u64) -> Tensor {
        create::randn(shape, DType::F32, &mut stream(3, "test", turn)).unwrap()
    }

    /// Makes an adapter of queries, keys and values that share a matrix, of a down projection, of embeddings, and of a
    /// whole norm.
    fn parts() -> AdapterParts {
        let place = |weight: &str, rows| ModulePlace { weight: weight.into(), rows };
        let module = |name: &str, is_embedding, shape: [usize; 2], turn, places| LowRankModule {
            name: name.into(),
            is_embedding,
            down: random(&[3, shape[1]], turn),
            up: random(&[shape[0], 3], turn + 1),
            alpha: 6.0,
            places,
        };
        let fused = vec![
            place("blocks.0.attn.q.weight", ModuleRows::Range { start: 0, count: 16 }),
            place("blocks.0.attn.k.weight", ModuleRows::Range { start: 16, count: 8 }),
            place("blocks.0.attn.v.weight", ModuleRows::Range { start: 24, count: 8 }),
        ];
        let down = vec![place("blocks.1.mlp.down.weight", ModuleRows::All)];
        let embed = vec![place("embed", ModuleRows::All)];
        let modules = vec![
            module("qkv", false, [32, 16], 0, fused),
            module("down", false, [16, 24], 2, down),
            module("embed", true, [20, 16], 4, embed),
        ];
        let norm = random(&[16], 6);
        let weights = vec![("final_norm.weight".to_string(), norm.clone())];
        let wholes = vec![WholeWeight { name: "norm.weight".into(), tensor: norm, weights }];
        let settings = AdapterSettings {
            rank: 3,
            alpha: 6.0,
            rslora: false,
            bias: "none".into(),
            saved: vec!["norm".into()],
            task: None,
        };
        AdapterParts { settings, modules, wholes }
    }

    fn logits(model: &Model) -> Tensor {
        let batch = Batch::new(vec![vec![3, 1, 4, 1, 5, 9], vec![2, 6]]).unwrap();
        model.decoder.logits(&batch, Vec::new(), &Task::default()).unwrap()
    }

    #[test]
    fn an_adapter_computes_what_its_merged_weights_do_at_every_scale() {
        let base = base();
        let adapted = base.with_adapter("small-lora".into(), Arc::new(parts()), 1.0).unwrap();
        assert!(far(logits(&base), logits(&adapted)) > 0.1);
        for scale in [1.0, -0.5, 1.5] {
            let scaled = adapted.with_adapter_scale(scale).unwrap();
            let merged = scaled.merged(&Task::default()).unwrap();
            let off = far(logits(&scaled), logits(&merged));
            assert!(off < 1e-4, "at scale {scale}: off by {off}");
            assert!(merged.adapter.is_none() && merged.origin.ends_with(", merged"));
        }
        let none = adapted.with_adapter_scale(0.0).unwrap();
        assert_eq!(floats(&logits(&none)).unwrap(), floats(&logits(&base)).unwrap());
        assert_eq!(adapted.with_adapter_scale(1.5).unwrap().origin, "small + small-lora x 1.5");
    }

    #[test]
    fn rows_and_looked_up_rows_are_those_of_the_merged_weight() {
        let adapted = base().with_adapter("small-lora".into(), Arc::new(parts()), 0.5).unwrap();
        let weight = &adapted.decoder.weights().embed;
        let whole = weight.tensor().unwrap();
        assert!(weight.bytes() > base().decoder.weights().embed.bytes());
        let row = weight.row(7).unwrap();
        assert!(far(&row, whole.get(7).unwrap()) < 1e-5);
        let ids = Tensor::new(&[7_u32, 0, 7], whole.device()).unwrap();
        assert!(far(weight.look_up(&ids).unwrap(), whole.index_select(&ids, 0).unwrap()) < 1e-5);
        let rows = weight.rows(4, 3).unwrap().tensor().unwrap();
        assert!(far(&rows, whole.narrow(0, 4, 3).unwrap()) < 1e-5);
    }

    #[test]
    fn two_adapters_are_refused() {
        let adapted = base().with_adapter("first".into(), Arc::new(parts()), 1.0).unwrap();
        let error = adapted.with_adapter("second".into(), Arc::new(parts()), 1.0).unwrap_err();
        assert_eq!(error.message, "expected a model without an adapter, found one with `first`");
        assert!(base().with_adapter("first".into(), Arc::new(parts()), f64::NAN).is_err());
    }
}
