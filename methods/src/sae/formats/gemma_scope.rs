//! Gemma Scope: `params.npz`, and `params.safetensors` with a `config.json` in its second edition. Read only.

use serde_json::{Map, Value};

use super::take::Said;
use super::{Beside, Format, json, row, sites};
use crate::base::Result;
use crate::err;
use crate::model::family::keys::Keys;
use crate::model::layout::TensorSource;
use crate::model::site::{Site, SiteKind};

/// The sites of the first edition stand in the name of the repository.
const FIRST: [(&str, SiteKind); 3] = [("-res", SiteKind::ResidPost), ("-mlp", SiteKind::MlpOut), ("-att", SiteKind::Z)];
/// Those of the second in the path: what it calls attention's output is the input of the output projection.
const SECOND: [(&str, SiteKind); 3] =
    [("resid_post", SiteKind::ResidPost), ("mlp_out", SiteKind::MlpOut), ("attn_out", SiteKind::Z)];
/// The modules of Gemma 3 whose outputs its transcoders read and write: the norms around an MLP, with their weights.
const IN: &str = ".pre_feedforward_layernorm.output";
const OUT: &str = ".post_feedforward_layernorm.output";

/// What the path and a config, where there is one, say.
pub fn said(beside: &Beside, source: &dyn TensorSource) -> Result<Said> {
    if source.shape("w_enc").is_some() {
        return second(beside);
    }
    let mut said = Said::new(row(Format::GemmaScope, "jumprelu")?);
    let repository = beside.place.split('/').find(|part| part.starts_with("gemma-scope-"));
    if let Some(name) = repository.and_then(|part| part.strip_prefix("gemma-scope-")) {
        said.about.model = model(name);
        let kind = FIRST.into_iter().find(|(ending, _)| name.trim_end_matches("-canonical").ends_with(ending));
        said.about.sites = site(beside.place, kind);
    }
    Ok(said)
}

/// `2b-pt-res`: the model of that size, as it was trained first (`pt`) or to answer (`it`).
fn model(name: &str) -> Option<String> {
    let mut parts = name.split('-');
    match (parts.next()?, parts.next()?) {
        (size, "pt") => Some(format!("google/gemma-2-{size}")),
        (size, "it") => Some(format!("google/gemma-2-{size}-it")),
        _ => None,
    }
}

fn site(place: &str, kind: Option<(&str, SiteKind)>) -> Vec<String> {
    let found = kind.zip(sites::number_after(place, "layer_"));
    found.map(|((_, kind), layer)| Site::new(kind, layer).to_string()).into_iter().collect()
}

/// The site of `model.layers.3.pre_feedforward_layernorm.output`.
fn module(named: Option<&str>, ending: &str, kind: SiteKind) -> Option<String> {
    let layer = named?.strip_prefix("model.layers.")?.strip_suffix(ending)?.parse().ok()?;
    Some(Site::new(kind, layer).to_string())
}

fn second(beside: &Beside) -> Result<Said> {
    let config = match beside.config {
        Some(_) => json(beside)?,
        None => Value::Object(Map::new()),
    };
    let mut keys = Keys::new(&config)?;
    match keys.word("architecture")? {
        None | Some("jump_relu") => {}
        Some(other) => {
            return Err(err!(Format, "the architecture `{other}` of gemma_scope is not known here")
                .hint("expected `jump_relu`"));
        }
    }
    let out = keys.word("hf_hook_point_out")?.or_else(|| beside.place.contains("transcoder").then_some(""));
    let inward = keys.word("hf_hook_point_in")?;
    let transcodes = out.is_some() && out != inward;
    let mut said = Said::new(row(Format::GemmaScope, if transcodes { "jump_relu transcoder" } else { "jump_relu" })?);
    said.about.model = keys.word("model_name")?.map(str::to_string);
    if transcodes {
        let (reads, writes) = (module(inward, IN, SiteKind::MlpIn), module(out, OUT, SiteKind::MlpOut));
        said.about.sites = reads.into_iter().collect();
        said.about.writes = writes;
    } else {
        said.about.sites = site(beside.place, SECOND.into_iter().find(|(word, _)| beside.place.contains(word)));
    }
    // The other keys are training settings: everything that matters is in the tensors.
    said.about.more = config.as_object().cloned().unwrap_or_default();
    said.about.more.retain(|key, _| !matches!(key.as_str(), "architecture" | "model_name"));
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_says_model_and_site() {
        let place = "google/gemma-scope-9b-it-mlp/layer_20/width_16k/average_l0_71";
        assert_eq!(model("9b-it-mlp").as_deref(), Some("google/gemma-2-9b-it"));
        assert_eq!(model("2b-pt-res").as_deref(), Some("google/gemma-2-2b"));
        assert_eq!(site(place, Some(FIRST[1])), ["mlp_out.20"]);
        assert_eq!(site("a/embedding/width_4k", Some(FIRST[0])), Vec::<String>::new());
        let of = |named: &str| module(Some(named), IN, SiteKind::MlpIn);
        assert_eq!(of("model.layers.12.pre_feedforward_layernorm.output").as_deref(), Some("mlp_in.12"));
        assert_eq!((of("model.layers.12.output"), module(None, OUT, SiteKind::MlpOut)), (None, None));
    }
}
