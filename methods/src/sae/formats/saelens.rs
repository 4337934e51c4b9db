//! SAELens: `cfg.json` and `sae_weights.safetensors`, as it has them since version 6 and as it had them before.

use serde_json::{Map, Value, json};

use super::architecture::Architecture;
use super::own::{self, OwnMetadata};
use super::reading::FileStatements;
use super::{Format, FormatTensors, row, saelens_keys, sites, torch_name};
use crate::base::{Error, Result, names};
use crate::checkpoint::family::keys::Keys;
use crate::err;
use crate::model::ModelName;
use crate::model::site::{Heads, SiteKind};
use crate::sae::{Activation, Parts, ReadSite, Scaling};

/// The version whose layout is written: SAELens looks at it to know how to read a config.
pub const VERSION: &str = "6.54.12";

/// Keys of a config that say how it was fitted or is to be stored, and nothing about what is computed.
pub const STORED: [&str; 2] = ["dtype", "device"];

/// Keys of the metadata that say model and site, and ours.
const SAID: [&str; 5] = ["model_name", "hook_name", "hook_name_out", "hook_head_index", own::KEY];

/// Activations at `z` have an axis of heads, which this flattens.
const HOOK_Z: &str = "hook_z";

pub const NORMALIZE: &str = "normalize_activations";

/// Reads what a config says.
pub fn statements(config: &Value, ignore: &[String]) -> Result<FileStatements> {
    let mut keys = Keys::new(config)?;
    let metadata = keys.nested("metadata")?.is_some();
    let stated = keys.word("architecture")?;
    let name = if metadata {
        stated.ok_or_else(|| err!(Format, "expected the config key `architecture`, found none"))?
    } else if keys.value("activation_fn_kwargs").is_some() && is_topk(&mut keys)? {
        // Before version 6 top-k was an activation of the standard one.
        "topk"
    } else {
        stated.unwrap_or("standard")
    };
    let row = architecture(name)?;
    let mut said = FileStatements::new(row);
    said.ones = Some("scaling_factor");
    said.d_in = Some(keys.needed_size("d_in")?);
    said.d_sae = keys.maybe_size("d_sae", None)?;
    said.d_out = if row.transcodes { keys.maybe_size("d_out", None)? } else { said.d_in };
    said.centred = keys.flag("apply_b_dec_to_input", !row.transcodes)?;
    if said.centred && row.transcodes {
        return Err(err!(
            Format,
            "`{name}` of SAELens does not subtract the decoder bias from its input, and this config asks for it"
        )
        .hint("expected `apply_b_dec_to_input` to be false"));
    }
    said.scaling = scaling(&mut keys, ignore)?;
    if said.scaling != Scaling::None && row.transcodes {
        return Err(err!(Format, "expected `{NORMALIZE}` to be \"none\" for a `{name}`, found something else")
            .hint("its output is at another site than its input, and the scale of the output is not stated"));
    }
    if row.rescales {
        said.k = match keys.maybe_size("k", None)? {
            None => old_k(&mut keys)?,
            k => k,
        };
        said.rescaled = keys.flag("rescale_acts_by_decoder_norm", false)?;
    }
    let reshape = keys.word("reshape_activations")?;
    if metadata {
        about(&mut said, keys.value("metadata").and_then(Value::as_object), reshape)?;
        keys.finish_beside(&[&STORED[..], saelens_keys::TRAINING].concat(), ignore)?;
    } else {
        before_version_6(&mut said, keys, config, reshape, ignore)?;
    }
    Ok(said)
}

fn architecture(name: &str) -> Result<&'static Architecture> {
    match name {
        "temporal" => Err(err!(Format, "this is a `temporal` dictionary, whose codes depend on the tokens before")
            .hint("`sae::load_temporal` reads it")),
        "batchtopk" | "matryoshka_batchtopk" => {
            Err(err!(Format, "this is a `{name}` dictionary in training, whose threshold is not in its weights")
                .hint("SAELens saves a finished one as `jumprelu`: `sae.save_inference_model(path)`"))
        }
        _ => row(Format::SaeLens, name),
    }
}

/// Reads how each activation is scaled before it is encoded.
pub fn scaling(keys: &mut Keys, ignore: &[String]) -> Result<Scaling> {
    match keys.value(NORMALIZE) {
        _ if ignore.iter().any(|ignored| ignored == NORMALIZE) => Ok(Scaling::None),
        None | Some(Value::Null | Value::Bool(false)) => Ok(Scaling::None),
        Some(Value::Bool(true)) => Err(unfolded()),
        Some(Value::String(how)) => match how.as_str() {
            "none" => Ok(Scaling::None),
            "constant_norm_rescale" => Ok(Scaling::ConstantNorm),
            "layer_norm" => Ok(Scaling::LayerNorm),
            "expected_average_only_in" => Err(unfolded()),
            other => Err(err!(Format, "the config key `{NORMALIZE}` is `{other}`, which is not known here")
                .maybe_hint(names::suggestion(other, ["none", "constant_norm_rescale", "layer_norm"]))),
        },
        Some(other) => Err(keys.wrong(NORMALIZE, "a text", other)),
    }
}

fn unfolded() -> Error {
    err!(Format, "this dictionary reads activations times a factor that its files do not have (`{NORMALIZE}`)").hint(
        format!(
            "in SAELens fold it in with `fold_activation_norm_scaling_factor` and save again; if that was done, load \
             with #{{ ignore: [\"{NORMALIZE}\"] }}"
        ),
    )
}

/// Reads model, site and the rest of a map of metadata.
fn about(said: &mut FileStatements, metadata: Option<&Map<String, Value>>, reshape: Option<&str>) -> Result<()> {
    let Some(metadata) = metadata else { return Ok(()) };
    said.own = metadata.get(own::KEY).map(OwnMetadata::from_json).transpose()?;
    let mut more = metadata.clone();
    let fields = Value::Object(metadata.clone());
    let mut keys = Keys::new(&fields)?;
    said.about.models = keys.word("model_name")?.map(ModelName::from).into_iter().collect();
    let head = keys.maybe_size("hook_head_index", None)?;
    said.about.sites = keys.word("hook_name")?.map(|hook| ReadSite::new(sites::ours(hook, head))).into_iter().collect();
    // A transcoder's config has it, and some others have a null.
    said.about.writes = keys.word("hook_name_out")?.map(|hook| sites::ours(hook, None));
    more.retain(|key, _| !SAID.contains(&key.as_str()));
    said.about.more = more;
    reshaped(said, reshape)
}

/// Checks that heads are flattened at a site that has some, and nowhere else.
fn reshaped(said: &FileStatements, reshape: Option<&str>) -> Result<()> {
    match (reshape, said.about.sites.first().map(|site| (&site.name, sites::parse(&site.name)))) {
        (None | Some("none"), _) | (Some(HOOK_Z), None) => Ok(()),
        (Some(HOOK_Z), Some((_, Some(place)))) if place.site.kind.heads() != Heads::None => Ok(()),
        (Some(HOOK_Z), Some((_, None))) => Ok(()),
        (Some(HOOK_Z), Some((site, _))) => {
            Err(err!(Format, "the config key `reshape_activations` folds away heads, and `{site}` has none"))
        }
        (Some(other), _) => {
            Err(err!(Format, "the config key `reshape_activations` is `{other}`, which is not known here")
                .hint("expected none or hook_z"))
        }
    }
}

fn is_topk(keys: &mut Keys) -> Result<bool> {
    let old = keys.word("activation_fn_str")?;
    Ok(keys.word("activation_fn")?.or(old) == Some("topk"))
}

/// Reads k where it was an argument of the activation.
fn old_k(keys: &mut Keys) -> Result<Option<usize>> {
    match keys.nested("activation_fn_kwargs")? {
        Some(mut arguments) => arguments.maybe_size("k", None),
        None => Ok(None),
    }
}

/// Reads the keys that stood at the top before version 6.
fn before_version_6(
    said: &mut FileStatements,
    mut keys: Keys,
    config: &Value,
    reshape: Option<&str>,
    ignore: &[String],
) -> Result<()> {
    for key in ["activation_fn", "activation_fn_str"] {
        match keys.word(key)? {
            None | Some("relu") => {}
            Some("topk") if said.row.name == "topk" => {}
            Some(other) => {
                return Err(err!(
                    Format,
                    "the config key `{key}` is `{other}`, which does not go with `{}`",
                    said.row.name
                )
                .hint("expected relu, or topk with its k in `activation_fn_kwargs`"));
            }
        }
    }
    keys.only("finetuning_scaling_factor", false)?;
    let mut more = Map::new();
    let known = saelens_keys::ABOUT;
    let fields = config.as_object();
    for (key, value) in fields.into_iter().flatten().filter(|(key, _)| known.contains(&key.as_str())) {
        let name = match key.as_str() {
            "hook_point" => "hook_name",
            "hook_point_head_index" => "hook_head_index",
            other => other,
        };
        more.insert(name.to_string(), value.clone());
    }
    about(said, Some(&more), reshape)?;
    keys.finish_beside(&[&STORED[..], saelens_keys::ABOUT, saelens_keys::TRAINING].concat(), ignore)
}

/// Writes the config of a dictionary.
pub fn config(given: &FormatTensors, parts: &Parts) -> Value {
    let row = given.row;
    let scaling = parts.scaling;
    let centred = parts.centred;
    let mut config = json!({
        "architecture": row.name,
        "d_in": parts.encoder.dims().last(),
        "d_sae": parts.encoder.dims().first(),
        "dtype": torch_name(parts.encoder.dtype()),
        "device": "cpu",
        "apply_b_dec_to_input": centred,
        NORMALIZE: match scaling {
            Scaling::None => "none",
            Scaling::ConstantNorm => "constant_norm_rescale",
            Scaling::LayerNorm => "layer_norm",
        },
        "reshape_activations": if folds_heads(parts) { HOOK_Z } else { "none" },
        "metadata": metadata(given, parts),
    });
    if row.transcodes {
        config["d_out"] = json!(parts.decoder.dims().last());
    }
    if let Activation::TopK(k) | Activation::Linear(Some(k)) = parts.activation {
        config["k"] = json!(k);
        config["rescale_acts_by_decoder_norm"] = json!(parts.rescaled);
    }
    config
}

/// Returns whether a dictionary reads all heads of `z`, concatenated.
fn folds_heads(parts: &Parts) -> bool {
    let place = parts.about.sites.first().and_then(|site| sites::parse(&site.name));
    place.is_some_and(|place| place.site.kind == SiteKind::Z && place.head.is_none())
}

fn metadata(given: &FormatTensors, parts: &Parts) -> Value {
    let about = &parts.about;
    let mut metadata = about.metadata();
    metadata.retain(|key, _| !SAID.contains(&key.as_str()));
    metadata.insert("sae_lens_version".into(), VERSION.into());
    if let Some(model) = about.model() {
        metadata.insert("model_name".into(), model.into());
    }
    if let Some(site) = about.sites.first() {
        let place = sites::parse(&site.name).filter(|_| !sites::is_before_weights(&site.name));
        let hook = place.map_or_else(|| site.to_string(), |place| place.site.lens_name());
        metadata.insert("hook_name".into(), hook.into());
        metadata.insert("hook_head_index".into(), place.and_then(|place| place.head).into());
    }
    if let Some(site) = &about.writes {
        let hook = sites::parse(site).map_or_else(|| site.clone(), |place| place.site.lens_name());
        metadata.insert("hook_name_out".into(), hook.into());
    }
    let own = OwnMetadata { about: about.clone(), absent: given.absent.clone() };
    metadata.insert(own::KEY.into(), own.to_json());
    Value::Object(metadata)
}
