//! The files of temporal dictionaries: the layout of SAELens (cfg.json beside sae_weights.safetensors), which is
//! written, too, and that of the authors (conf.yaml beside latest_ckpt.safetensors). What would compute something else
//! is refused by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{LinearMap, MAPS, PredictingLayer, TemporalSae, yaml};
use crate::base::files::Files;
use crate::base::{self, disk};
use crate::checkpoint::family::keys::Keys;
use crate::checkpoint::load::Shards;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::formats::{saelens, saelens_keys, sites};
use crate::sae::tensors::TensorReader;
use crate::sae::{About, Activation, ReadSite, Scaling, published};
use crate::tensor::files::NamedTensors;

/// The files of SAELens.
const SAELENS: [&str; 2] = ["cfg.json", "sae_weights.safetensors"];

/// The files of the authors.
const AUTHORS: [&str; 2] = ["conf.yaml", "latest_ckpt.safetensors"];

/// The way in which SAELens names a factor of all activations.
const FACTOR: &str = "constant_scalar_rescale";

/// The key of the config in the metadata of one file.
const CONFIG: &str = "temporal";

/// Keys of a section of the authors' config that say nothing about what is computed.
const OF_TRAINING: [&str; 3] = ["sae_type", "block_id", "gamma_reg"];

crate::options! {
    /// Options of loading a temporal dictionary.
    pub struct LoadTemporalOptions {
        /// Site that it reads and writes.
        site: Option<String> = None => usually("that of its files");
        /// Config keys to ignore.
        ignore: Vec<String> = Vec::new() => usually("none");
    }
}

impl TemporalSae {
    /// Loads a temporal dictionary from a folder in the layout of SAELens or of its authors, here or on the hub as
    /// `org/name/path`.
    pub fn load(files: &Files, source: &str, options: &LoadTemporalOptions, task: &Task) -> Result<Self> {
        let path = Path::new(source);
        let is_here = files.access().to_read(path).is_ok_and(|place| disk::is_dir(&place));
        let wanted = "expected a folder with cfg.json and sae_weights.safetensors, or with conf.yaml and \
                      latest_ckpt.safetensors, or `org/name/path`";
        let folder = if is_here {
            path.to_path_buf()
        } else {
            published::fetched(files, source, &[SAELENS, AUTHORS], wanted, task)?
        };
        let mut found = Self::of_folder(files, &folder, source, options, task).map_err(|e| e.within(source))?;
        if let Some(site) = &options.site {
            found.about.sites = vec![ReadSite::new(sites::ours(site, None))];
        }
        Ok(found)
    }

    fn of_folder(
        files: &Files,
        folder: &Path,
        source: &str,
        options: &LoadTemporalOptions,
        task: &Task,
    ) -> Result<Self> {
        let there = files.names(folder);
        let has = |name: &str| there.iter().any(|there| there == name);
        let open = |[config, weights]: [&str; 2]| -> Result<(String, Shards)> {
            Ok((files.text(&folder.join(config))?, Shards::open(files, folder, &[weights.to_string()], task)?))
        };
        if SAELENS.iter().all(|name| has(name)) {
            let (config, shards) = open(SAELENS)?;
            let config: Value = base::json::read(config.as_bytes(), |e| err!(Format, "{}: {e}", SAELENS[0]))?;
            return of_saelens(&config, &shards, &options.ignore);
        }
        if AUTHORS.iter().all(|name| has(name)) {
            let (config, shards) = open(AUTHORS)?;
            let config = yaml::sections(&config).map_err(|e| e.within(AUTHORS[0]))?;
            return of_authors(&config, source, &shards, &options.ignore);
        }
        let expected = if has(AUTHORS[0]) { AUTHORS } else { SAELENS };
        let missing = expected.iter().find(|name| !has(name)).unwrap_or(&expected[0]);
        Err(err!(File, "expected {missing} in the folder of a temporal dictionary, found none").hint(
            "SAELens saves cfg.json and sae_weights.safetensors, and the authors conf.yaml and latest_ckpt.safetensors",
        ))
    }

    /// Saves the dictionary in the layout of SAELens, which loads it; returns the paths.
    pub fn save(&self, files: &Files, folder: &Path) -> Result<Vec<PathBuf>> {
        let (config, tensors) = self.in_saelens()?;
        let named = NamedTensors { tensors, metadata: BTreeMap::new() };
        let weights = named.save(files, &folder.join(SAELENS[1]))?;
        let text = serde_json::to_string_pretty(&config).map_err(|e| err!(Bug, "a config became no JSON: {e}"))?;
        Ok(vec![weights, files.save_whole(&folder.join(SAELENS[0]), text + "\n")?])
    }

    /// Writes config and tensors as SAELens has them.
    pub(super) fn in_saelens(&self) -> Result<(Value, BTreeMap<String, Tensor>)> {
        let normalised = match (self.scaling, self.factor == 1.0) {
            (Scaling::None, true) => "none",
            (Scaling::None, false) => FACTOR,
            (Scaling::ConstantNorm, true) => "constant_norm_rescale",
            (Scaling::LayerNorm, true) => "layer_norm",
            _ => {
                return Err(err!(
                    Argument,
                    "SAELens has no temporal dictionary that scales by a factor and normalises, too"
                ));
            }
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors() {
            let tensor = if name == "W_enc" { tensor.t()?.contiguous()? } else { tensor.contiguous()? };
            tensors.insert(name, tensor.to_device(&Device::Cpu)?);
        }
        let mut metadata = self.about.metadata();
        metadata.insert("sae_lens_version".into(), saelens::VERSION.into());
        metadata.insert("context_size".into(), self.context.into());
        if let Some(model) = self.about.model() {
            metadata.insert("model_name".into(), model.into());
        }
        if let Some(site) = self.about.sites.first() {
            let place = sites::parse(&site.name);
            metadata.insert(
                "hook_name".into(),
                place.map_or_else(|| site.to_string(), |place| place.site.lens_name()).into(),
            );
            metadata.insert("hook_head_index".into(), place.and_then(|place| place.head).into());
        }
        let k = self.activation.most();
        let config = json!({
            "architecture": "temporal", "d_in": self.d_in(), "d_sae": self.d_sae(), "dtype": "float32", "device": "cpu",
            "apply_b_dec_to_input": self.centred, saelens::NORMALIZE: normalised, "reshape_activations": "none",
            "n_heads": self.heads, "n_attn_layers": self.layers.len(), "bottleneck_factor": self.d_sae() / self.d_qk(),
            "sae_diff_type": if k.is_some() { "topk" } else { "relu" }, "kval_topk": k,
            "tied_weights": self.encoder.is_none(), "activation_normalization_factor": self.factor,
            "metadata": metadata,
        });
        Ok((config, tensors))
    }

    /// Writes config and tensors as one file has them, which is that of the cache.
    pub(super) fn in_one_file(&self) -> Result<NamedTensors> {
        let (config, tensors) = self.in_saelens()?;
        Ok(NamedTensors { tensors, metadata: BTreeMap::from([(CONFIG.into(), config.to_string())]) })
    }

    /// Reads config and tensors of one file.
    pub(super) fn of_one_file(named: &NamedTensors) -> Result<Self> {
        let config = named.metadata.get(CONFIG);
        let config = config.ok_or_else(|| err!(Format, "expected `{CONFIG}` in the metadata, found none"))?;
        let config: Value = base::json::read(config.as_bytes(), |e| err!(Format, "the metadata `{CONFIG}`: {e}"))?;
        of_saelens(&config, &named.tensors, &[])
    }
}

/// The statements of a config about what is computed.
struct Stated {
    d_in: usize,
    d_sae: usize,
    heads: usize,
    layers: usize,
    bottleneck: usize,
    is_tied: bool,
    activation: Activation,
    centred: bool,
    factor: f64,
    scaling: Scaling,
}

impl Stated {
    /// Returns the shape of each tensor by its name in SAELens.
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let Self { d_in, d_sae, .. } = *self;
        let wide = d_sae / self.bottleneck.max(1);
        let mut all = vec![("W_dec".to_string(), vec![d_sae, d_in]), ("b_dec".to_string(), vec![d_in])];
        if !self.is_tied {
            all.push(("W_enc".to_string(), vec![d_in, d_sae]));
        }
        for layer in 0..self.layers {
            for (number, name) in MAPS.iter().enumerate() {
                let out = if number < 2 { wide } else { d_sae };
                all.push((format!("attn_layers.{layer}.{name}.weight"), vec![out, d_sae]));
                all.push((format!("attn_layers.{layer}.{name}.bias"), vec![out]));
            }
        }
        all
    }
}

/// Reads the choice of novel codes.
fn novel(keys: &mut Keys, default: &str) -> Result<Activation> {
    let kind = keys.word("sae_diff_type")?.unwrap_or(default).to_string();
    let k = keys.maybe_size("kval_topk", None)?;
    match (kind.as_str(), k) {
        ("topk", Some(k)) => Ok(Activation::TopK(k)),
        // Both keep all codes where no k is said.
        ("topk", None) | ("relu", _) => Ok(Activation::Relu),
        (other, _) => Err(err!(Format, "expected the `sae_diff_type` relu or topk, found {other:?}")
            .hint("where a batch chooses its codes together, those of a text depend on the other texts")),
    }
}

/// Reads a temporal dictionary of SAELens.
pub(super) fn of_saelens(config: &Value, source: &dyn TensorSource, ignore: &[String]) -> Result<TemporalSae> {
    let mut keys = Keys::new(config)?;
    match keys.word("architecture")? {
        Some("temporal") => {}
        found => {
            return Err(err!(Format, "expected the `architecture` temporal, found {}", found.unwrap_or("none"))
                .hint("`sae::load` reads dictionaries of rows"));
        }
    }
    let factor = keys.number("activation_normalization_factor", 1.0)?;
    let is_scaled = config.get(saelens::NORMALIZE).and_then(Value::as_str) == Some(FACTOR);
    let scaling = if is_scaled {
        let _read = keys.value(saelens::NORMALIZE);
        Scaling::None
    } else {
        saelens::scaling(&mut keys, ignore)?
    };
    keys.only("reshape_activations", "none")?;
    let stated = Stated {
        d_in: keys.needed_size("d_in")?,
        d_sae: keys.needed_size("d_sae")?,
        heads: keys.size("n_heads", 8)?,
        layers: keys.size("n_attn_layers", 1)?,
        bottleneck: keys.size("bottleneck_factor", 64)?,
        is_tied: keys.flag("tied_weights", true)?,
        activation: novel(&mut keys, "topk")?,
        centred: keys.flag("apply_b_dec_to_input", true)?,
        factor: if is_scaled { factor } else { 1.0 },
        scaling,
    };
    let mut about = About { kind: "temporal".into(), ..About::default() };
    let mut context = None;
    if let Some(metadata) = keys.value("metadata").and_then(Value::as_object) {
        let fields = Value::Object(metadata.clone());
        let mut said = Keys::new(&fields)?;
        about.models = said.word("model_name")?.map(ModelName::from).into_iter().collect();
        let head = said.maybe_size("hook_head_index", None)?;
        about.sites = said.word("hook_name")?.map(|hook| ReadSite::new(sites::ours(hook, head))).into_iter().collect();
        context = said.maybe_size("context_size", None)?;
        about.more = metadata.clone();
        about
            .more
            .retain(|key, _| !["model_name", "hook_name", "hook_head_index", "context_size"].contains(&key.as_str()));
    }
    keys.finish_beside(&[&saelens::STORED[..], saelens_keys::TRAINING].concat(), ignore)?;
    read(stated, about, context, &|name| name.to_string(), source)
}

/// Reads a temporal dictionary of the authors. Its site is the residual stream of the layer that its path names, as for
/// SAELens.
pub(super) fn of_authors(
    config: &Value,
    place: &str,
    source: &dyn TensorSource,
    ignore: &[String],
) -> Result<TemporalSae> {
    let mut sections = Keys::new(config)?;
    let missing = |name: &str| err!(Format, "expected the section `{name}` in {}, found none", AUTHORS[0]);
    let mut model = sections.nested("llm")?.ok_or_else(|| missing("llm"))?;
    let mut keys = sections.nested("sae")?.ok_or_else(|| missing("sae"))?;
    let d_in = model.needed_size("dimin")?;
    let stated = Stated {
        d_in,
        d_sae: (d_in as f64 * keys.number("exp_factor", 4.0)?) as usize,
        heads: keys.needed_size("n_heads")?,
        layers: keys.size("n_attn_layers", 1)?,
        bottleneck: keys.needed_size("bottleneck_factor")?,
        is_tied: keys.flag("tied_weights", true)?,
        activation: novel(&mut keys, "relu")?,
        centred: true,
        factor: keys.number("scaling_factor", 1.0)?,
        scaling: Scaling::None,
    };
    keys.finish_beside(&OF_TRAINING, ignore)?;
    let layer = sites::number_after(place, "layer_");
    let about = About {
        kind: "temporal".into(),
        models: model.word("model_hf_name")?.map(ModelName::from).into_iter().collect(),
        sites: layer.map(|layer| ReadSite::new(format!("resid_post.{layer}"))).into_iter().collect(),
        ..About::default()
    };
    let context = match sections.nested("data")? {
        Some(mut data) => data.maybe_size("context_length", None)?,
        None => None,
    };
    let theirs = |name: &str| match name {
        "W_dec" => "D".to_string(),
        "b_dec" => "b".to_string(),
        "W_enc" => "E".to_string(),
        other => other.to_string(),
    };
    read(stated, about, context, &theirs, source)
}

/// Reads the tensors of a dictionary, of which none is left unread.
fn read(
    stated: Stated,
    about: About,
    context: Option<usize>,
    name_of: &dyn Fn(&str) -> String,
    source: &dyn TensorSource,
) -> Result<TemporalSae> {
    let part = stated.bottleneck * stated.heads;
    if part == 0 || !stated.d_sae.is_multiple_of(part) {
        return Err(err!(
            Format,
            "expected features that heads times bottleneck divide, found {} features, {} heads and the bottleneck {}",
            stated.d_sae,
            stated.heads,
            stated.bottleneck
        ));
    }
    let shapes = stated.shapes();
    let numbers = shapes.iter().map(|(_, shape)| shape.iter().map(|size| *size as u128).product::<u128>());
    memory::check(numbers.sum::<u128>().saturating_mul(4), || "the tensors of a temporal dictionary".into())?;
    let mut tensors = BTreeMap::new();
    let mut reader = TensorReader { source, known: BTreeSet::new() };
    for (ours, wanted) in shapes {
        let name = name_of(&ours);
        // The authors' bias is a row.
        let row = [1, wanted[0]];
        let is_row = wanted.len() == 1 && source.shape(&name).is_some_and(|found| found == row);
        let read = reader.take(&name, if is_row { row.as_slice() } else { &wanted })?;
        tensors.insert(ours, read.reshape(wanted)?);
    }
    reader.finish("such a temporal dictionary does")?;
    let mut take = |name: &str| tensors.remove(name).ok_or_else(|| err!(Bug, "the tensor `{name}` was not read"));
    let mut layers = Vec::new();
    for number in 0..stated.layers {
        let mut map = |name: &str| -> Result<LinearMap> {
            let at = format!("attn_layers.{number}.{name}");
            Ok(LinearMap { weight: take(&format!("{at}.weight"))?, bias: take(&format!("{at}.bias"))? })
        };
        let [keys, queries, values, output] = MAPS;
        layers.push(PredictingLayer {
            keys: map(keys)?,
            queries: map(queries)?,
            values: map(values)?,
            output: map(output)?,
        });
    }
    let encoder = if stated.is_tied { None } else { Some(take("W_enc")?.t()?.contiguous()?) };
    TemporalSae {
        layers,
        heads: stated.heads,
        encoder,
        decoder: take("W_dec")?,
        bias: take("b_dec")?,
        centred: stated.centred,
        activation: stated.activation,
        factor: stated.factor,
        scaling: stated.scaling,
        context,
        about,
    }
    .check()
}
