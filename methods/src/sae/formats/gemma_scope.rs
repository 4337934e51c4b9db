//! Gemma Scope: `params.npz`, and `params.safetensors` with a `config.json` in its second edition. Read only.

use serde_json::{Map, Value};

use super::reading::FileStatements;
use super::{Format, SideDescription, json, row, sites};
use crate::checkpoint::family::keys::Keys;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::ReadSite;

/// The sites of the first edition stand in the name of the repository.
const FIRST: [(&str, SiteKind); 3] = [("-res", SiteKind::ResidPost), ("-mlp", SiteKind::MlpOut), ("-att", SiteKind::Z)];
/// The end of the repository's name for transcoders of the first edition.
const TRANSCODERS: &str = "-transcoders";
/// The folders of the second edition: what it calls attention's output is the input of the output projection.
const SECOND: [(&str, SiteKind); 3] =
    [("resid_post", SiteKind::ResidPost), ("mlp_out", SiteKind::MlpOut), ("attn_out", SiteKind::Z)];
/// The modules of Gemma 3 that the configs of the second edition name, after `model.layers.3`. The norms around an MLP
/// are read and written with their weights.
const MODULES: [(&str, SiteKind); 4] = [
    (".output", SiteKind::ResidPost),
    (".self_attn.o_proj.input", SiteKind::Z),
    (".pre_feedforward_layernorm.output", SiteKind::MlpIn),
    (".post_feedforward_layernorm.output", SiteKind::MlpOut),
];
/// The key of the L0 that a dictionary was published with.
const L0: &str = "l0";

/// Reads what the path and a config, where there is one, say.
pub fn statements(beside: &SideDescription, source: &dyn TensorSource) -> Result<FileStatements> {
    if source.shape("w_enc").is_some() {
        return second(beside);
    }
    let repository = beside.place.split('/').find(|part| part.starts_with("gemma-scope-"));
    let transcodes = repository.is_some_and(|name| name.ends_with(TRANSCODERS));
    let name = if transcodes { "jumprelu transcoder" } else { "jumprelu" };
    let mut said = FileStatements::new(row(Format::GemmaScope, name)?);
    if let Some(name) = repository.and_then(|part| part.strip_prefix("gemma-scope-")) {
        said.about.models = model(name).map(ModelName::from).into_iter().collect();
        let kind = FIRST.into_iter().find(|(ending, _)| name.trim_end_matches("-canonical").ends_with(ending));
        said.about.sites = site(beside.place, kind).into_iter().map(ReadSite::new).collect();
    }
    if let Some(layer) = sites::number_after(beside.place, "layer_").filter(|_| transcodes) {
        // They read what the norm gives before its weights, as SAELens and circuit-tracer say.
        said.about.sites = vec![ReadSite::new(format!("blocks.{layer}.ln2.hook_normalized"))];
        said.about.writes = Some(Site::new(SiteKind::MlpOut, layer).to_string());
    }
    said.about.more.extend(sites::number_after(beside.place, "average_l0_").map(|l0| (L0.to_string(), l0.into())));
    Ok(said)
}

/// Names the model of `2b-pt-res`: that of this size, as it was trained first (`pt`) or to answer (`it`).
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

/// Names the site of `model.layers.3.pre_feedforward_layernorm.output`.
fn module(named: &str) -> Option<String> {
    let rest = named.strip_prefix("model.layers.")?;
    MODULES.into_iter().find_map(|(module, kind)| {
        let layer = rest.strip_suffix(module)?.parse().ok()?;
        Some(Site::new(kind, layer).to_string())
    })
}

/// Returns the hub's name of a model of the second edition: that of 270 million parameters has no `pt` in it there.
pub fn second_model(said: &str) -> String {
    let name = said.strip_prefix("google/").unwrap_or(said).replace("gemma-v3-", "gemma-3-");
    match name.strip_prefix("gemma-3-") {
        Some("270m-pt") => "google/gemma-3-270m".into(),
        Some(_) => format!("google/{name}"),
        None => said.into(),
    }
}

/// Returns the model of `google/gemma-scope-2-270m-pt/..`.
pub fn second_model_of(place: &str) -> Option<String> {
    let name = place.split('/').find_map(|part| part.strip_prefix("gemma-scope-2-"))?;
    Some(second_model(&format!("google/gemma-3-{name}")))
}

fn second(beside: &SideDescription) -> Result<FileStatements> {
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
    let reads = keys.word("hf_hook_point_in")?;
    let writes = keys.word("hf_hook_point_out")?;
    let transcodes = match (writes, keys.word("type")?) {
        (Some(writes), None | Some("sae" | "transcoder")) => Some(writes) != reads,
        (None, None) => beside.place.contains("transcoder"),
        (None, Some(kind @ ("sae" | "transcoder"))) => kind == "transcoder",
        (_, Some(other)) => {
            return Err(err!(Format, "expected the `type` sae or transcoder, found {other}")
                .hint("sae::transcoders reads the cross-layer transcoders of Gemma Scope 2"));
        }
    };
    let mut said =
        FileStatements::new(row(Format::GemmaScope, if transcodes { "jump_relu transcoder" } else { "jump_relu" })?);
    let model = keys.word("model_name")?.map(second_model).or_else(|| second_model_of(beside.place));
    said.about.models = model.map(ModelName::from).into_iter().collect();
    let reads = reads.and_then(module);
    if transcodes {
        // A file without a config is of the sites that the others say, as SAELens has it.
        let layer = sites::number_after(beside.place, "layer_").filter(|_| beside.config.is_none());
        let of = |kind: SiteKind| layer.map(|layer| Site::new(kind, layer).to_string());
        said.about.sites = reads.or_else(|| of(SiteKind::MlpIn)).into_iter().map(ReadSite::new).collect();
        said.about.writes = writes.and_then(module).or_else(|| of(SiteKind::MlpOut));
    } else {
        let folder = SECOND.into_iter().find(|(word, _)| beside.place.contains(word));
        let sites = reads.map_or_else(|| site(beside.place, folder), |site| vec![site]);
        said.about.sites = sites.into_iter().map(ReadSite::new).collect();
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
    }

    #[test]
    fn the_modules_of_gemma_3_are_sites() {
        let of = |after: &str| module(&format!("model.layers.{after}"));
        assert_eq!(of("12.pre_feedforward_layernorm.output").as_deref(), Some("mlp_in.12"));
        assert_eq!(of("12.post_feedforward_layernorm.output").as_deref(), Some("mlp_out.12"));
        assert_eq!(of("0.self_attn.o_proj.input").as_deref(), Some("z.0"));
        assert_eq!(of("17.output").as_deref(), Some("resid_post.17"));
        for other in ["12.self_attn.output", "{all}.pre_feedforward_layernorm.output", ".output", "12"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(module("lm_head.output"), None);
    }

    #[test]
    fn models_have_the_names_that_they_have_on_the_hub() {
        for said in ["google/gemma-3-270m-pt", "gemma-3-270m-pt", "gemma-v3-270m-pt"] {
            assert_eq!(second_model(said), "google/gemma-3-270m");
        }
        assert_eq!(second_model("gemma-v3-1b-it"), "google/gemma-3-1b-it");
        assert_eq!(second_model("gemma-3"), "gemma-3");
        let place = "google/gemma-scope-2-270m-it/transcoder_all/layer_0_width_16k_l0_small";
        assert_eq!(second_model_of(place).as_deref(), Some("google/gemma-3-270m-it"));
        assert_eq!(second_model_of("google/gemma-scope-2b-pt-res/layer_0"), None);
    }
}
