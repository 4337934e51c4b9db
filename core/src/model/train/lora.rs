//! LoRA in training (Hu et al. 2022): low-rank matrices beside the weights are trained, and the weights are not.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::base::random::stream;
use crate::base::{Result, memory, names};
use crate::err;
use crate::model::adapter::{AdapterParts, AdapterSettings, EMBEDDINGS, LowRankModule, ModulePlace, ModuleRows};
use crate::model::layout::Layout;
use crate::options::maps::map_setting;
use crate::tensor::{DType, Device, Tensor};

crate::options! {
    /// Options of low-rank matrices that are trained.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LoraOptions {
        /// Rank of the product of two matrices.
        rank: usize = 8 => at_least(1.0);
        /// Number over the rank by which the product is multiplied.
        alpha: Option<f64> = None => usually("the rank").above(0.0);
        /// Whether the product is multiplied by alpha over the root of the rank.
        rslora: bool = false;
        /// Modules, by the ends of their names.
        modules: Option<Vec<String>> = None => usually("all linear maps of the layers");
    }
}

map_setting!(LoraOptions);

/// Matrices that pick experts for tokens, which are adapted only where they are named.
const ROUTING: [&str; 2] = [".router.weight", ".shared_gate.weight"];

/// A linear map of the published model.
struct LinearModule<'a> {
    name: &'a str,
    out: usize,
    inner: usize,
    places: Vec<ModulePlace>,
}

impl LinearModule<'_> {
    fn is_called(&self, end: &str) -> bool {
        let ours = self.places.iter().map(|place| without_suffix(&place.weight));
        std::iter::once(self.name)
            .chain(ours)
            .any(|name| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
    }

    /// Returns whether the module is adapted where none is named.
    fn is_usual(&self) -> bool {
        let is_usual = |ours: &str| ours.starts_with("blocks.") && !ROUTING.iter().any(|end| ours.ends_with(end));
        self.places.iter().all(|place| is_usual(&place.weight))
    }
}

impl AdapterParts {
    /// Makes the adapter that a training begins with: the matrix that reads is random, the one that writes zero, so that
    /// the model is its base.
    pub fn begun(layout: &Layout, options: &LoraOptions, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let all = linear_modules(layout)?;
        let chosen = match &options.modules {
            None => all.iter().filter(|module| module.is_usual()).collect(),
            Some(ends) => chosen(&all, ends)?,
        };
        if chosen.is_empty() {
            return Err(err!(Argument, "expected a model with linear maps to adapt, found none").about("lora"));
        }
        let widths: u128 = chosen.iter().map(|module| (module.inner + module.out) as u128).sum();
        let bytes = widths.saturating_mul(options.rank as u128 * dtype.size_in_bytes() as u128);
        memory::check_on(device, bytes, || "the adapter".into()).map_err(|e| e.about("lora"))?;
        let alpha = options.alpha.unwrap_or(options.rank as f64);
        let mut random = stream(seed, "lora", 0);
        let module = |module: &LinearModule| {
            Ok(LowRankModule {
                name: module.name.to_string(),
                is_embedding: false,
                down: uniform(options.rank, module.inner, &mut random)?.to_dtype(dtype)?.to_device(device)?,
                up: Tensor::zeros((module.out, options.rank), dtype, device)?,
                alpha,
                places: module.places.clone(),
            })
        };
        let modules = chosen.into_iter().map(module).collect::<Result<_>>()?;
        let settings = AdapterSettings {
            rank: options.rank,
            alpha,
            rslora: options.rslora,
            bias: "none".into(),
            saved: Vec::new(),
            task: Some("CAUSAL_LM".into()),
        };
        Ok(Self { settings, modules, wholes: Vec::new() })
    }

    /// Returns the adapter with other matrices: `of` is called with the name of each.
    pub(super) fn with(&self, of: &mut dyn FnMut(String, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let module = |module: &LowRankModule| {
            Ok(LowRankModule {
                down: of(format!("lora_A.{}", module.name), &module.down)?,
                up: of(format!("lora_B.{}", module.name), &module.up)?,
                ..module.clone()
            })
        };
        let modules = self.modules.iter().map(module).collect::<Result<_>>()?;
        Ok(Self { modules, ..self.clone() })
    }
}

fn chosen<'m, 'l>(all: &'m [LinearModule<'l>], ends: &[String]) -> Result<Vec<&'m LinearModule<'l>>> {
    if let Some(end) = ends.iter().find(|end| !all.iter().any(|module| module.is_called(end))) {
        let known: Vec<&str> = all.iter().filter_map(|module| module.name.rsplit('.').next()).collect();
        let near = names::suggestion(end, known.iter().copied());
        return Err(err!(Argument, "this model has no linear map whose name ends with `{end}`")
            .hint(near.unwrap_or_else(|| "`m.parameters` lists the names of all weights, such as `attn.q`".into()))
            .about("lora"));
    }
    Ok(all.iter().filter(|module| ends.iter().any(|end| module.is_called(end))).collect())
}

/// Lists the linear maps of the published model in the order of the computation.
fn linear_modules(layout: &Layout) -> Result<Vec<LinearModule<'_>>> {
    let mut modules: Vec<LinearModule> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (ours, shape) in layout.config.parameters()? {
        let (Some(from), &[out, inner]) = (layout.weights.get(&ours), shape.as_slice()) else { continue };
        let Some((name, rows)) = ModuleRows::in_file(from).filter(|_| !EMBEDDINGS.contains(&ours.as_str())) else {
            continue;
        };
        let name = without_suffix(name);
        let at = *known.entry(name).or_insert_with(|| {
            modules.push(LinearModule { name, out: 0, inner, places: Vec::new() });
            modules.len() - 1
        });
        if let Some(module) = modules.get_mut(at) {
            module.out += out;
            module.places.push(ModulePlace { weight: ours, rows });
        }
    }
    Ok(modules)
}

fn without_suffix(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// Draws a matrix as PEFT does: uniform within 1 / sqrt(in), which is Kaiming's with a = sqrt(5).
fn uniform(rank: usize, inner: usize, random: &mut impl Rng) -> Result<Tensor> {
    let bound = (inner as f64).sqrt().recip();
    let drawn: Vec<f32> = (0..rank * inner).map(|_| random.random_range(-bound..bound) as f32).collect();
    Ok(Tensor::from_vec(drawn, (rank, inner), &Device::Cpu)?)
}
