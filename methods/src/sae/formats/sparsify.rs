//! sparsify: `cfg.json` and `sae.safetensors`, in a folder that is named after the site.

use serde_json::{Value, json};

use super::own::{self, OwnMetadata};
use super::reading::FileStatements;
use super::{Format, FormatTensors, SideDescription, row, sites};
use crate::checkpoint::family::keys::Keys;
use crate::common::*;
use crate::model::layout::TensorSource;
use crate::sae::{Activation, Parts, ReadSite};

/// Keys that say how it was fitted.
const TRAINING: [&str; 3] = ["multi_topk", "normalize_decoder", "signed"];

/// Reads what a config says.
pub fn statements(config: &Value, beside: &SideDescription, source: &dyn TensorSource) -> Result<FileStatements> {
    let mut keys = Keys::new(config)?;
    let transcodes = keys.flag("transcode", false)?;
    match keys.word("activation")? {
        None | Some("topk") => {}
        Some(other) => {
            return Err(err!(Format, "the architecture `{other}` of sparsify is not known here")
                .hint("expected `topk` as the config key `activation`"));
        }
    }
    keys.only("signed", false)?;
    let mut said = FileStatements::new(row(Format::Sparsify, if transcodes { "topk transcoder" } else { "topk" })?);
    let d_in = keys.needed_size("d_in")?;
    said.d_in = Some(d_in);
    said.d_out = Some(d_in);
    let factor = keys.size("expansion_factor", 32)?;
    said.d_sae = match keys.size("num_latents", 0)? {
        0 => d_in.checked_mul(factor),
        stated => Some(stated),
    };
    said.k = keys.maybe_size("k", None)?;
    let skips = source.shape("W_skip").is_some();
    if keys.flag("skip_connection", false)? != skips {
        let found = if skips { "there is one" } else { "there is none" };
        return Err(err!(Format, "the config key `skip_connection` is {}, and of a tensor `W_skip` {found}", !skips)
            .hint("the config and the weights do not match"));
    }
    said.about.sites = site(beside.place, transcodes).map(ReadSite::new).into_iter().collect();
    said.own = keys.value(own::KEY).map(OwnMetadata::from_json).transpose()?;
    keys.finish_beside(&TRAINING, beside.ignore)?;
    Ok(said)
}

/// Reads the site from the folder's name: `layers.3`, `layers.3.mlp`, `h.3.attn`, `embed_tokens`. A transcoder of an
/// MLP reads its input, where others read its output.
fn site(place: &str, transcodes: bool) -> Option<String> {
    let name = place.trim_end_matches('/').rsplit('/').next()?;
    if name.split('.').next_back().is_some_and(|last| matches!(last, "embed_tokens" | "wte" | "embed_in")) {
        return Some(Site::new(SiteKind::Embed, 0).to_string());
    }
    let mut parts = name.split('.').skip_while(|part| !matches!(*part, "layers" | "h"));
    let layer = parts.nth(1)?;
    let kind = match (parts.next(), transcodes) {
        (None, false) => SiteKind::ResidPost,
        (Some("mlp"), false) => SiteKind::MlpOut,
        (Some("mlp"), true) => SiteKind::MlpIn,
        (Some("attn" | "self_attn" | "attention"), false) => SiteKind::AttnOut,
        _ => return None,
    };
    let place = sites::parse(&format!("{}.{layer}", kind.name()))?;
    parts.next().is_none().then(|| place.to_string())
}

/// Writes the config of a dictionary.
pub fn config(given: &FormatTensors, parts: &Parts) -> Value {
    let d_sae = parts.encoder.dims().first();
    let d_in = parts.encoder.dims().last();
    let k = match parts.activation {
        Activation::TopK(k) => Some(k),
        _ => None,
    };
    let own = OwnMetadata { about: parts.about.clone(), absent: given.absent.clone() };
    json!({
        "activation": "topk",
        "expansion_factor": d_sae.zip(d_in).and_then(|(d_sae, d_in)| d_sae.checked_div(*d_in)),
        "normalize_decoder": false,
        "num_latents": d_sae,
        "k": k,
        "multi_topk": false,
        "skip_connection": parts.skip.is_some(),
        "transcode": given.row.transcodes,
        "d_in": d_in,
        own::KEY: own.to_json(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_says_the_site() {
        let found = |name: &str, transcodes| site(name, transcodes).unwrap_or_default();
        assert_eq!(found("org/name/layers.3", false), "resid_post.3");
        assert_eq!(found("layers.3.mlp", false), "mlp_out.3");
        assert_eq!(found("layers.3.mlp/", true), "mlp_in.3");
        assert_eq!(found("gpt_neox.layers.0", false), "resid_post.0");
        assert_eq!(found("transformer.h.11.attn", false), "attn_out.11");
        assert_eq!(found("embed_tokens", false), "embed");
        for name in ["", "layers", "layers.x", "layers.3.mlp.act", "layers.3.norm", "sparsify-topk"] {
            assert_eq!(found(name, false), "", "{name}");
        }
    }
}
