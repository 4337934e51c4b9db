//! The layout in which the authors of low-rank sparse attention publish it (OpenMOSS, Language-Model-SAEs): config.json beside
//! sae_weights.safetensors. What would compute something else is refused by its name.

use std::path::Path;

use serde_json::Value;

use super::{GroupMap, Lorsa, LorsaAbout};
use crate::base::files::Files;
use crate::base::{self, disk};
use crate::checkpoint::family::keys::Keys;
use crate::checkpoint::load::Shards;
use crate::common::*;
use crate::model::config::{NormKind, Rotary, Scaling};
use crate::model::layout::TensorSource;
use crate::sae::Activation;
use crate::sae::formats::sites;
use crate::sae::published;
use crate::sae::tensors::{self, TensorReader};
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::tensor::dtype;

/// The files of a published Lorsa.
pub const CONFIG: &str = "config.json";
pub const WEIGHTS: &str = "sae_weights.safetensors";

/// The tensor of the thresholds of JumpReLU, as logarithms.
const THRESHOLD: &str = "activation_function.log_jumprelu_threshold";

/// The tensors of a file that follow from the config.
const BUFFERS: [&str; 4] = ["mask", "IGNORE", "rotary_sin", "rotary_cos"];

/// The prefix of the tensors of mean norms, before the site.
const MEAN_NORM: &str = "dataset_average_activation_norm.";

/// The keys of a config that say nothing about what is computed: how it was trained, and where it lies.
const OF_TRAINING: [&str; 8] = [
    "dtype",
    "device",
    "sae_pretrained_name_or_path",
    "strict_loading",
    "use_triton_kernel",
    "sparsity_threshold_for_triton_spmm_kernel",
    "jumprelu_threshold_window",
    "skip_bos",
];

crate::options! {
    /// Options of loading a Lorsa.
    pub struct LoadLorsaOptions {
        /// Config keys to ignore.
        ignore: Vec<String> = Vec::new() => usually("none");
    }
}

impl Lorsa {
    /// Loads a Lorsa: a file that was saved here, or a folder in the layout of OpenMOSS, here or on the hub as `org/name/path`.
    pub fn load(files: &Files, source: &str, options: &LoadLorsaOptions, task: &Task) -> Result<Self> {
        let path = Path::new(source);
        if let Ok(place) = files.access().to_read(path) {
            if disk::is_dir(&place) {
                return Self::of_folder(files, path, options, task).map_err(|e| e.within(source));
            }
            if disk::exists(&place) {
                return Self::load_own(files, path);
            }
        }
        let wanted = "expected a file, a folder with config.json and sae_weights.safetensors, or `org/name/path`";
        let folder = published::fetched(files, source, &[[CONFIG, WEIGHTS]], wanted, task)?;
        Self::of_folder(files, &folder, options, task).map_err(|e| e.within(source))
    }

    /// Returns the Lorsa for a model: one that reads what a norm gives before its weights, which is no site of ours, is made to read
    /// what attention does. In TransformerLens `ln1.hook_normalized` stands before the weights of an RMS norm, and behind those of a
    /// layer norm.
    pub fn of_model(mut self, model: &Model) -> Result<Self> {
        if sites::is_before_weights(&self.about.reads) {
            let place = sites::parse(&self.about.reads).filter(|place| place.site.kind == SiteKind::AttnIn);
            let config = model.decoder.config();
            let Some(place) = place.filter(|place| place.site.layer < config.layers) else {
                return Err(err!(
                    Argument,
                    "expected a Lorsa of a layer of {}, found one that reads `{}`",
                    model.name(),
                    self.about.reads
                )
                .about("m"));
            };
            if config.norm == Some(NormKind::Rms) {
                self = self.behind_weights(model, place.site.layer)?;
            }
            self.about.reads = place.to_string();
        }
        self.places(model)?;
        self.about.model = Some(model.name().clone());
        Ok(self)
    }

    /// Divides what is read by the weights of the norm before attention.
    fn behind_weights(mut self, model: &Model, layer: usize) -> Result<Self> {
        let norm = model.decoder.weights().blocks.get(layer).and_then(|block| block.attn_norm.as_ref());
        let Some(weight) = norm.and_then(|norm| norm.weight.as_ref()) else { return Ok(self) };
        let weight = dtype::convert(weight, DType::F32)?.to_device(self.values.device())?;
        let weight = if model.decoder.config().norm_plus_one { (weight + 1.0)? } else { weight };
        if floats(&weight)?.contains(&0.0) {
            return Err(err!(
                Argument,
                "expected weights of the norm of layer {layer} that are not 0, found one that is"
            )
            .about("m"));
        }
        for map in [&mut self.queries.weight, &mut self.keys.weight, &mut self.values] {
            *map = map.broadcast_div(&weight)?;
        }
        Ok(self)
    }

    fn of_folder(files: &Files, folder: &Path, options: &LoadLorsaOptions, task: &Task) -> Result<Self> {
        let there = files.names(folder);
        for wanted in [CONFIG, WEIGHTS] {
            if !there.iter().any(|name| name == wanted) {
                return Err(err!(File, "expected {wanted} in the folder of a Lorsa, found none")
                    .hint("in the layout of OpenMOSS it has config.json and sae_weights.safetensors; `l.save(path)` writes one file"));
            }
        }
        let config: Value =
            base::json::read(files.text(&folder.join(CONFIG))?.as_bytes(), |e| err!(Format, "{CONFIG}: {e}"))?;
        let shards = Shards::open(files, folder, &[WEIGHTS.to_string()], task)?;
        read(&config, &shards, &options.ignore)
    }
}

/// Reads a Lorsa of its config and tensors.
pub fn read(config: &Value, source: &dyn TensorSource, ignore: &[String]) -> Result<Lorsa> {
    let mut keys = Keys::new(config)?;
    match keys.word("sae_type")? {
        Some("lorsa") => {}
        found => {
            return Err(err!(Format, "expected the `sae_type` lorsa, found {found:?}")
                .hint("`sae::load` reads dictionaries of rows, and `sae::transcoders` those of all layers"));
        }
    }
    let d_model = keys.needed_size("d_model")?;
    let expansion = keys.number("expansion_factor", 0.0)?;
    let heads = (d_model as f64 * expansion) as usize;
    let groups = keys.needed_size("n_qk_heads")?;
    let d_qk = keys.needed_size("d_qk_head")?;
    let context = keys.needed_size("n_ctx")?;
    let mut site = |key: &'static str| -> Result<String> {
        let name = keys.word(key)?.ok_or_else(|| err!(Format, "expected the config key `{key}`, found none"))?;
        Ok(name.to_string())
    };
    let reads_theirs = site("hook_point_in")?;
    let writes_theirs = site("hook_point_out")?;
    let reads = sites::ours(&reads_theirs, None);
    let writes = sites::ours(&writes_theirs, None);
    let rotary = rotary(&mut keys)?;
    let size = d_qk as f64;
    let score_scale = 1.0 / keys.maybe_number("attn_scale", None)?.unwrap_or_else(|| size.sqrt());
    let has_norms = keys.flag("use_post_qk_ln", false)?;
    match keys.word("normalization_type")? {
        Some("RMS") => {}
        found if has_norms => {
            return Err(err!(
                Format,
                "expected norms of queries and keys of the `normalization_type` RMS, found {found:?}"
            ));
        }
        _ => {}
    }
    let norm_eps = keys.number("eps", 1e-6)?;
    let rescaled = keys.flag("sparsity_include_decoder_norm", true)?;
    let has_bias = keys.flag("use_decoder_bias", true)?;
    let activation = keys.word("act_fn")?.unwrap_or("relu").to_string();
    let k = keys.size("top_k", 50)?;
    let scaling = keys.word("norm_activation")?.unwrap_or("dataset-wise").to_string();
    keys.finish_beside(&OF_TRAINING, ignore)?;

    let numbers = source.names().into_iter().filter(|name| !BUFFERS.contains(&name.as_str()));
    memory::check(tensors::bytes(source, numbers, DType::F32), || "the tensors of a Lorsa".into())?;
    let norms = [&reads_theirs, &writes_theirs].map(|site| format!("{MEAN_NORM}{site}"));
    let mut tensors = TensorReader { source, known: BUFFERS.map(String::from).into_iter().chain(norms).collect() };
    let factors = match scaling.as_str() {
        "inference" => Factors { read: 1.0, written: 1.0 },
        "dataset-wise" => Factors {
            read: factor(&mut tensors, &reads_theirs, d_model)?,
            written: factor(&mut tensors, &writes_theirs, d_model)?,
        },
        other => {
            return Err(err!(Format, "expected `norm_activation` inference or dataset-wise, found {other:?}").hint(
                "with a norm of each token or batch the codes of a text depend on more than what the layer reads",
            ));
        }
    };
    let map = |tensors: &mut TensorReader, letter: &str, norm: &str| -> Result<GroupMap> {
        let weight = tensors.take(&format!("W_{letter}"), &[groups, d_model, d_qk])?;
        let weight = (weight.transpose(1, 2)?.contiguous()?.reshape((groups * d_qk, d_model))? * factors.read)?;
        let bias = tensors.take(&format!("b_{letter}"), &[groups, d_qk])?.flatten_all()?;
        let norm = if has_norms { Some(tensors.take(norm, &[groups, d_qk])?) } else { None };
        Ok(GroupMap { weight, bias, norm })
    };
    let queries = map(&mut tensors, "Q", "ln_q.w")?;
    let keys = map(&mut tensors, "K", "ln_k.w")?;
    let values = (tensors.take("W_V", &[heads, d_model])? * factors.read)?;
    let value_bias = tensors.take("b_V", &[heads])?;
    let decoder = (tensors.take("W_O", &[heads, d_model])? / factors.written)?;
    let decoder_bias = if has_bias {
        (tensors.take("b_D", &[d_model])? / factors.written)?
    } else {
        Tensor::zeros(d_model, DType::F32, &Device::Cpu)?
    };
    let activation = match activation.to_lowercase().as_str() {
        "relu" => Activation::Relu,
        "topk" => Activation::TopK(k),
        "jumprelu" => {
            let threshold = tensors.take(THRESHOLD, &[heads])?.exp()?;
            // Heads are chosen by what they write, whose size the factor of the output has changed.
            Activation::Threshold(if rescaled { (threshold / factors.written)? } else { threshold })
        }
        other => {
            return Err(err!(Format, "expected the `act_fn` relu, topk or jumprelu, found {other:?}")
                .hint("where a batch chooses its heads together, the codes of a text depend on the other texts"));
        }
    };
    tensors.finish("such a Lorsa does")?;
    let about = LorsaAbout { model: None, reads, writes, context, more: serde_json::Map::new() };
    let turning = rotary.map(Into::into);
    Lorsa {
        queries,
        keys,
        values,
        value_bias,
        decoder,
        decoder_bias,
        groups,
        turning,
        score_scale,
        norm_eps,
        activation,
        rescaled,
        about,
    }
    .check()
}

/// Reads the rotation of queries and keys.
fn rotary(keys: &mut Keys) -> Result<Option<Rotary>> {
    let is_rotated = match keys.word("positional_embedding_type")? {
        None | Some("rotary") => true,
        Some("none") => false,
        Some(other) => {
            return Err(err!(Format, "expected the `positional_embedding_type` rotary or none, found {other:?}"));
        }
    };
    let dims = keys.maybe_size("rotary_dim", None)?;
    let theta = keys.number("rotary_base", 10_000.0)?;
    let neighbours = keys.flag("rotary_adjacent_pairs", true)?;
    keys.only("rotary_scale", 1)?;
    let is_scaled = keys.flag("use_NTK_by_parts_rope", false)?;
    let scaling = Scaling::Llama3 {
        factor: keys.number("NTK_by_parts_factor", 1.0)?,
        low: keys.number("NTK_by_parts_low_freq_factor", 1.0)?,
        high: keys.number("NTK_by_parts_high_freq_factor", 1.0)?,
        original: keys.size("old_context_len", 2048)?,
    };
    let scaling = if is_scaled { scaling } else { Scaling::None };
    match (is_rotated, dims) {
        (false, _) => Ok(None),
        (true, Some(dims)) => Ok(Some(Rotary { dims, theta, neighbours, scaling })),
        (true, None) => Err(err!(Format, "expected the config key `rotary_dim`, found none")),
    }
}

/// The factors by which the authors scale what is read and written before anything is computed.
#[derive(Debug, Clone, Copy)]
struct Factors {
    read: f64,
    written: f64,
}

/// Returns sqrt(d) over the mean norm of a site's activations, by which they are multiplied.
fn factor(tensors: &mut TensorReader, site: &str, d: usize) -> Result<f64> {
    let norm = floats(&tensors.take(&format!("{MEAN_NORM}{site}"), &[])?)?[0];
    if !norm.is_finite() || norm <= 0.0 {
        return Err(err!(Format, "expected the mean norm of `{site}`, found {norm}").hint(
            "the authors' `save_pretrained` has it only behind a training; with `fold_activation_scale` it needs none",
        ));
    }
    Ok((d as f64).sqrt() / norm)
}
