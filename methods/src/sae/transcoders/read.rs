//! Loading transcoders of all layers, and reading circuit-tracer's layout: a config.yaml, and for each layer
//! `layer_N.safetensors`, or `W_enc_N.safetensors` and `W_dec_N.safetensors` of a cross-layer transcoder. Encoders are read;
//! decoders stay in their files. A config may list files of other repositories in their place.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::rows::{STRAY, one};
use super::{DecoderRows, Fires, Reads, TranscoderLayer, Transcoders, Writes, gemma_scope, listed};
use crate::base::disk::Mapping;
use crate::base::files::Files;
use crate::base::{Result, Task, disk};
use crate::checkpoint::family::keys::Keys;
use crate::checkpoint::hub::{self, HubSettings, Name};
use crate::err;
use crate::model::ModelName;
use crate::sae::formats::{TopK, top_k, top_level};
use crate::sae::releases;
use crate::sae::tensors::refuse_strays;
use crate::tensor::files::safetensors::SafetensorsFile;

pub const CONFIG: &str = "config.yaml";

crate::options! {
    /// Options of loading transcoders.
    pub struct TranscodersOptions {
        /// Config keys to ignore, where an unknown one is refused.
        ignore: Vec<String> = Vec::new() => usually("none");
    }
}

/// The description of the transcoders in a config.
struct TranscoderConfig {
    crosses: bool,
    reads: Reads,
    writes: Writes,
    top_k: Option<TopK>,
    model: Option<ModelName>,
    scan: Option<String>,
}

impl Transcoders {
    /// Loads the transcoders of a folder, or of the hub where there is none: `org/name`, `org/name/path@revision`, a word of
    /// circuit-tracer, or a release of SAELens and an id.
    pub fn load(files: &Files, source: &str, options: &TranscodersOptions, task: &Task) -> Result<Self> {
        let path = Path::new(source);
        if files.access().to_read(path).is_ok_and(|place| disk::is_dir(&place)) {
            let settings = HubSettings::from_env();
            return folder(files, &settings, path, source, options, task).map_err(|e| e.within(source));
        }
        let is_name = !source.starts_with(['.', '/', '~']);
        if is_name && let Some(name) = releases::set_on_hub(source)? {
            return Self::from_hub(files, &HubSettings::from_env(), &name, options, task);
        }
        let Some(name) = Name::parse(source).ok().filter(|_| is_name) else {
            let error = files.open(path).err();
            let error = error.unwrap_or_else(|| err!(File, "expected a folder of transcoders, found a file: {source}"));
            return Err(error.maybe_hint(Some("it has a config and a file for each layer".into())));
        };
        let missing = |error| releases::or_release(hub::nor_here(error), source);
        Self::from_hub(files, &HubSettings::from_env(), &name, options, task).map_err(missing)
    }

    /// Loads transcoders of a hub.
    pub fn from_hub(
        files: &Files,
        settings: &HubSettings,
        name: &Name,
        options: &TranscodersOptions,
        task: &Task,
    ) -> Result<Self> {
        let inside = name.file.clone().map(|inside| inside.trim_end_matches('/').to_string() + "/").unwrap_or_default();
        let wanted = |listed: &[String]| {
            let mine = listed.iter().filter(|path| path.strip_prefix(&inside).is_some_and(is_part));
            let all: BTreeSet<String> = mine.cloned().collect();
            let says = |name: &str| name == CONFIG || number(name, gemma_scope::PARAMS).is_some();
            if all.iter().any(|path| path.strip_prefix(&inside).is_some_and(says)) {
                Ok(all)
            } else {
                Err(err!(
                    File,
                    "expected transcoders in {name}, found no {CONFIG} and no {}0.safetensors there",
                    gemma_scope::PARAMS
                ))
            }
        };
        let snapshot = hub::fetch_files(files, task, settings, name, &wanted)?;
        let place = name.to_string();
        let here = snapshot.folder.join(&inside);
        folder(files, settings, &here, &place, options, task).map_err(|e| e.within(name))
    }
}

/// Returns whether a file belongs to transcoders.
fn is_part(name: &str) -> bool {
    let numbered = |before: &str| number(name, before).is_some();
    [CONFIG, gemma_scope::CONFIG].contains(&name)
        || ["layer_", "W_enc_", "W_dec_", gemma_scope::PARAMS].into_iter().any(numbered)
}

/// Reads the layer in the name of a file, such as `layer_3.safetensors`, after `layer_`.
fn number(name: &str, before: &str) -> Option<usize> {
    let digits = name.strip_prefix(before)?.strip_suffix(".safetensors")?;
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Lists the layers of the files of a folder with this before their numbers.
fn layers(names: &[String], before: &str) -> BTreeSet<usize> {
    names.iter().filter_map(|name| number(name, before)).collect()
}

/// Loads the transcoders of a folder; `place` is where it is from.
fn folder(
    files: &Files,
    settings: &HubSettings,
    folder: &Path,
    place: &str,
    options: &TranscodersOptions,
    task: &Task,
) -> Result<Transcoders> {
    let names = files.names(folder);
    let theirs = layers(&names, gemma_scope::PARAMS);
    if !theirs.is_empty() && !names.iter().any(|name| name == CONFIG) {
        return gemma_scope::load(files, folder, place, &theirs, &options.ignore, task);
    }
    let text = files.text(&folder.join(CONFIG))?;
    let said = config_of(&text, &options.ignore).map_err(|e| e.within(CONFIG))?;
    let elsewhere = listed::names(&text).map_err(|e| e.within(CONFIG))?;
    if let Some(first) = elsewhere.first() {
        if said.crosses {
            let first = first.to_string();
            let whole = first.rsplit_once('/').map_or(first.as_str(), |(folder, _)| folder);
            return Err(err!(Format, "the config lists the files of a cross-layer transcoder")
                .hint(format!("`sae::transcoders(\"{whole}\")` reads them where they are")));
        }
        let layers = listed::layers(files, settings, &elsewhere, &options.ignore, task)?;
        let all = Transcoders::new(layers, said.reads, said.writes)?;
        return Ok(Transcoders { model: said.model, scan: said.scan, ..all });
    }
    let before = if said.crosses { "W_enc_" } else { "layer_" };
    let found = layers(&names, before);
    let Some(last) = found.last().copied() else {
        return Err(err!(File, "expected files {before}0.safetensors and so on, found none"));
    };
    if let Some(missing) = (0..last).find(|layer| !found.contains(layer)) {
        return Err(err!(
            File,
            "expected a file for each of layers 0 to {last}, found no {before}{missing}.safetensors"
        ));
    }
    let bar = task.begin("loading transcoders", Some(last as u64 + 1));
    let mut layers = Vec::with_capacity(last + 1);
    for layer in 0..=last {
        task.check()?;
        let open = |name: String| -> Result<Arc<SafetensorsFile<Mapping>>> {
            let read = |map| SafetensorsFile::new(map).map_err(|e| e.within(&name));
            Ok(Arc::new(files.map_as(&folder.join(&name), read)?))
        };
        let read = if said.crosses {
            let encoder = open(format!("W_enc_{layer}.safetensors"))?;
            let decoder = open(format!("W_dec_{layer}.safetensors"))?;
            Layer { encoder, decoder, after: format!("_{layer}"), said: &said }.read(last + 1 - layer)
        } else {
            let file = open(format!("layer_{layer}.safetensors"))?;
            Layer { encoder: file.clone(), decoder: file, after: String::new(), said: &said }.read(1)
        };
        layers.push(read.map_err(|e| e.within(format!("layer {layer}")))?);
        bar.advance(1);
    }
    Ok(Transcoders { model: said.model, scan: said.scan, ..Transcoders::new(layers, said.reads, said.writes)? })
}

fn config_of(text: &str, ignore: &[String]) -> Result<TranscoderConfig> {
    let config = top_level(text)?;
    let mut keys = Keys::new(&config)?;
    let unknown = |key: &str, found: Option<&str>, wanted: &str| {
        let found = found.unwrap_or("nothing");
        err!(Format, "expected {wanted} as config key `{key}`, found {found}")
    };
    let crosses = match keys.word("model_kind")? {
        Some("transcoder_set") => false,
        Some("cross_layer_transcoder") => true,
        found => return Err(unknown("model_kind", found, "`transcoder_set` or `cross_layer_transcoder`")),
    };
    let reads = match keys.word("feature_input_hook")? {
        Some("hook_resid_mid") => Reads::ResidMid,
        Some("ln2.hook_normalized") => Reads::Normed,
        Some("mlp.hook_in") => Reads::MlpIn,
        found => {
            let wanted = "`hook_resid_mid`, `ln2.hook_normalized` or `mlp.hook_in`";
            return Err(unknown("feature_input_hook", found, wanted));
        }
    };
    let writes = match keys.word("feature_output_hook")? {
        Some("hook_mlp_out") => Writes::MlpOut,
        Some("mlp.hook_out") => Writes::Inner,
        found => return Err(unknown("feature_output_hook", found, "`hook_mlp_out` or `mlp.hook_out`")),
    };
    let top_k = top_k(&mut keys)?;
    let model = keys.word("model_name")?.map(ModelName::from);
    let scan = keys.word("scan")?.map(str::to_string);
    keys.finish_beside(&["repo_id", "subfolder", "revision", "transcoders"], ignore)?;
    Ok(TranscoderConfig { crosses, reads, writes, top_k, model, scan })
}

/// The files of one layer, and what follows the names of their tensors.
struct Layer<'a> {
    encoder: Arc<SafetensorsFile<Mapping>>,
    decoder: Arc<SafetensorsFile<Mapping>>,
    after: String,
    said: &'a TranscoderConfig,
}

impl Layer<'_> {
    fn read(self, written: usize) -> Result<TranscoderLayer> {
        let named = |name: &str| format!("{name}{}", self.after);
        let (threshold, skip) = if self.said.crosses {
            (named("threshold"), None)
        } else {
            ("activation_function.threshold".to_string(), Some("W_skip"))
        };
        let known = [named("W_enc"), named("b_enc"), named("W_dec"), named("b_dec"), threshold.clone()];
        let is_known = |name: &str| known.iter().any(|known| known == name) || skip == Some(name);
        refuse_strays(self.encoder.names().chain(self.decoder.names()), is_known, "transcoders do", STRAY)?;
        let tensor = |name: &str| one(&self.encoder, name);
        let optional = |name: &str| self.encoder.shape(name).map(|_| tensor(name)).transpose();
        let fires = match (optional(&threshold)?, &self.said.top_k) {
            (Some(_), Some(_)) => return Err(err!(Format, "expected a threshold or top-k, found both")),
            (Some(threshold), None) => Fires::Threshold(threshold),
            (None, Some(TopK { k, signed })) => Fires::TopK { k: *k, signed: *signed },
            (None, None) => Fires::Relu,
        };
        let name = named("W_dec");
        let shape = match (self.decoder.shape(&name), self.said.crosses) {
            (Some(&[features, d]), false) => [features, 1, d],
            (Some(&[features, layers, d]), true) if layers == written => [features, layers, d],
            (found, _) => {
                let wanted =
                    if self.said.crosses { format!("[features, {written}, d]") } else { "[features, d]".into() };
                let found = found.map_or("none of that name".to_string(), |found| format!("{found:?}"));
                return Err(err!(Shape, "expected a tensor `{name}` as {wanted}, found {found}"));
            }
        };
        Ok(TranscoderLayer {
            encoder: tensor(&named("W_enc"))?,
            encoder_bias: Some(tensor(&named("b_enc"))?),
            fires,
            decoder_bias: Some(tensor(&named("b_dec"))?),
            skip: skip.map(optional).transpose()?.flatten(),
            decoder: DecoderRows::Mapped { file: self.decoder.clone(), name, shape, before: 0 },
        })
    }
}
