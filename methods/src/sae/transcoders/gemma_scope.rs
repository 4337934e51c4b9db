//! Reading the cross-layer transcoders of Gemma Scope 2: a config.json, and for each layer `params_layer_N.safetensors`.
//! Encoders are read; decoders stay in their files.
//!
//! A file has `w_enc` [d, F], `b_enc`, `threshold`, `w_dec` [F, layers, d], `b_dec`, and `affine_skip_connection` [d, d],
//! input first, where the config says so. What a feature writes to layer l is `w_dec[f, l]`, so that the rows of
//! layer 3 begin with three layers of zeros: DeepMind's tutorial sums over all layers, circuit-tracer leaves these out
//! (`load_gemma_scope_2_clt`). Where they are not zeros, the two would differ, and the file is refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::rows::{STRAY, one};
use super::{DecoderRows, Fires, Reads, TranscoderLayer, Transcoders, Writes};
use crate::base::disk::Mapping;
use crate::base::files::Files;
use crate::base::{Result, Task, json};
use crate::checkpoint::family::keys::Keys;
use crate::err;
use crate::model::ModelName;
use crate::sae::formats::{scope_model, scope_model_of};
use crate::sae::tensors::refuse_strays;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Tensor, elementwise};

pub const CONFIG: &str = "config.json";
/// Text before the layer in the name of a file.
pub const PARAMS: &str = "params_layer_";

/// Sites that each layer reads and writes, as the config names them.
const READS: &str = "model.layers.{all}.pre_feedforward_layernorm.output";
const WRITES: &str = "model.layers.{all}.post_feedforward_layernorm.output";
/// The folder of a repository that has such transcoders.
const FOLDER: &str = "clt";
const TENSORS: [&str; 6] = ["w_enc", "b_enc", "threshold", "w_dec", "b_dec", SKIP];
const SKIP: &str = "affine_skip_connection";

/// Rows of a decoder that are looked at for what they write to layers before their own.
const LOOKED_AT: usize = 64;
/// The largest share of the length of such rows that is taken for rounding.
const ROUNDING: f32 = 1e-3;

/// Loads the transcoders of a folder whose files are of these layers; `place` is where it is from.
pub fn load(
    files: &Files,
    folder: &Path,
    place: &str,
    found: &BTreeSet<usize>,
    ignore: &[String],
    task: &Task,
) -> Result<Transcoders> {
    let config = if files.names(folder).iter().any(|name| name == CONFIG) {
        Some(files.text(&folder.join(CONFIG))?)
    } else {
        None
    };
    let GemmaScopeConfig { model, skips } = config_of(config.as_deref(), place, ignore)?;
    let layers = found.last().map_or(0, |last| last + 1);
    if let Some(missing) = (0..layers).find(|layer| !found.contains(layer)) {
        return Err(err!(
            File,
            "expected a file for each of layers 0 to {}, found no {PARAMS}{missing}.safetensors",
            layers - 1
        ));
    }
    let open = |layer: &usize| -> Result<Arc<SafetensorsFile<Mapping>>> {
        let name = format!("{PARAMS}{layer}.safetensors");
        let read = |map| -> Result<SafetensorsFile<Mapping>> {
            let file = SafetensorsFile::new(map)?;
            check(&file, *layer, layers, skips)?;
            Ok(file)
        };
        Ok(Arc::new(files.map_as(&folder.join(&name), |map| read(map).map_err(|e| e.within(&name)))?))
    };
    // All headers are checked before the first tensor is read.
    let opened = found.iter().map(open).collect::<Result<Vec<_>>>()?;
    let bar = task.begin("loading transcoders", Some(layers as u64));
    let mut read = Vec::with_capacity(layers);
    for (layer, file) in opened.into_iter().enumerate() {
        task.check()?;
        read.push(self::layer(file, layer, layers).map_err(|e| e.within(format!("layer {layer}")))?);
        bar.advance(1);
    }
    Ok(Transcoders { model, ..Transcoders::new(read, Reads::MlpIn, Writes::MlpOut)? })
}

/// The description of the transcoders.
struct GemmaScopeConfig {
    model: Option<ModelName>,
    /// Whether there is a linear connection from what is read to what is written, where that is said.
    skips: Option<bool>,
}

/// Reads what the config says; without one the folder has to say what it is, as for SAELens.
fn config_of(config: Option<&str>, place: &str, ignore: &[String]) -> Result<GemmaScopeConfig> {
    let Some(config) = config else {
        return if place.split(['/', '\\']).any(|part| part == FOLDER) {
            Ok(GemmaScopeConfig { model: scope_model_of(place).map(ModelName::from), skips: None })
        } else {
            Err(err!(File, "expected {CONFIG} beside {PARAMS}0.safetensors, found none")
                .hint("it says whether these are cross-layer transcoders; a folder below `clt` may be without it"))
        };
    };
    let config = json::read(config.as_bytes(), |e| err!(Format, "expected JSON, found: {e}").within(CONFIG))?;
    let mut keys = Keys::new(&config).map_err(|e| e.within(CONFIG))?;
    let wanted =
        [("architecture", "jump_relu"), ("type", FOLDER), ("hf_hook_point_in", READS), ("hf_hook_point_out", WRITES)];
    for (key, wanted) in wanted {
        match keys.word(key)? {
            Some(found) if found == wanted => {}
            found => {
                let found = found.unwrap_or("nothing");
                return Err(err!(Format, "expected {wanted} as `{key}` of a cross-layer transcoder, found {found}")
                    .hint("of what Gemma Scope 2 keeps in files of layers, only its cross-layer transcoders are read")
                    .within(CONFIG));
            }
        }
    }
    let model = keys.word("model_name")?.map(|name| scope_model(name).into());
    let is_stated = keys.value("affine_connection").is_some();
    let skips = keys.flag("affine_connection", false)?;
    keys.finish_beside(&["l0", "width"], ignore).map_err(|e| e.within(CONFIG))?;
    Ok(GemmaScopeConfig { model, skips: is_stated.then_some(skips) })
}

/// Refuses a file with other tensors, or of other shapes.
fn check(file: &SafetensorsFile<Mapping>, layer: usize, layers: usize, skips: Option<bool>) -> Result<()> {
    refuse_strays(file.names(), |name| TENSORS.contains(&name), "such a transcoder does", STRAY)?;
    let (d, features) = match file.shape("w_enc") {
        Some(&[d, features]) => (d, features),
        found => return Err(err!(Shape, "expected a tensor `w_enc` as [d, features], found {found:?}")),
    };
    let wanted = [
        ("b_enc", vec![features]),
        ("threshold", vec![features]),
        ("w_dec", vec![features, layers, d]),
        ("b_dec", vec![d]),
    ];
    for (name, wanted) in wanted {
        if file.shape(name) != Some(wanted.as_slice()) {
            let found = file.shape(name).map_or("none of that name".to_string(), |found| format!("{found:?}"));
            return Err(err!(Shape, "expected a tensor `{name}` as {wanted:?}, found {found}")
                .hint(format!("layer {layer} of {layers}: a feature writes to all of them in `w_dec`")));
        }
    }
    match (file.shape(SKIP), skips) {
        (Some(found), _) if found != [d, d] => {
            Err(err!(Shape, "expected a tensor `{SKIP}` as [{d}, {d}], found {found:?}"))
        }
        (found, Some(skips)) if found.is_some() != skips => Err(err!(
            Format,
            "the config says that `affine_connection` is {skips}, and the file has {} `{SKIP}`",
            if skips { "no" } else { "a" }
        )
        .hint("the config and the weights do not match")),
        _ => Ok(()),
    }
}

fn layer(file: Arc<SafetensorsFile<Mapping>>, layer: usize, layers: usize) -> Result<TranscoderLayer> {
    let turned = |name: &str| -> Result<Tensor> { Ok(one(&file, name)?.t()?.contiguous()?) };
    let encoder = turned("w_enc")?;
    let (features, d) = encoder.dims2()?;
    check_begins_at(&file, layer, features, layers, d)?;
    Ok(TranscoderLayer {
        encoder,
        encoder_bias: Some(one(&file, "b_enc")?),
        // Nothing below 0 is written.
        fires: Fires::Threshold(elementwise::relu(&one(&file, "threshold")?)?),
        decoder_bias: Some(one(&file, "b_dec")?),
        skip: file.shape(SKIP).map(|_| turned(SKIP)).transpose()?,
        decoder: DecoderRows::Mapped {
            file: file.clone(),
            name: "w_dec".into(),
            shape: [features, layers - layer, d],
            before: layer,
        },
    })
}

/// Refuses a decoder whose features write to layers before their own, by some of its rows.
fn check_begins_at(
    file: &SafetensorsFile<Mapping>,
    layer: usize,
    features: usize,
    layers: usize,
    d: usize,
) -> Result<()> {
    let step = features.div_ceil(LOOKED_AT).max(1);
    let looked: Vec<u32> = (0..features).step_by(step).map(|feature| feature as u32).collect();
    let rows = file.rows("w_dec", &looked, DType::F32)?.reshape((looked.len(), layers, d))?;
    let length = |rows: &Tensor| -> Result<f32> { Ok(rows.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
    let before = length(&rows.narrow(1, 0, layer)?)?;
    let all = length(&rows)?;
    if before <= ROUNDING * all {
        return Ok(());
    }
    Err(err!(
        Format,
        "expected zeros in `w_dec` for layers before layer {layer}, found {:.0} % of its length there",
        100.0 * before / all
    )
    .hint("a feature cannot write to an earlier layer; does a row of this file begin with its own layer?"))
}
