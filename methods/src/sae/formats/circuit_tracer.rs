//! circuit-tracer's transcoders: `config.yaml` and a `layer_N.safetensors` for each layer. Read only.

use serde_json::{Map, Value};

use super::reading::FileStatements;
use super::{Format, SideDescription, row, sites};
use crate::checkpoint::family::keys::Keys;
use crate::common::*;
use crate::model::ModelName;
use crate::model::layout::TensorSource;
use crate::sae::ReadSite;

/// Keys of file locations and of display.
const HARMLESS: [&str; 4] = ["scan", "transcoders", "repo_id", "subfolder"];

/// Reads what a config and the name of a file say.
pub fn statements(beside: &SideDescription, source: &dyn TensorSource) -> Result<FileStatements> {
    let has_threshold = source.shape("activation_function.threshold").is_some();
    let name = if has_threshold { "jump_relu" } else { "relu" };
    let mut said = FileStatements::new(row(Format::CircuitTracer, name)?);
    let Some(text) = beside.config else { return Ok(said) };
    let config = top_level(text)?;
    let mut keys = Keys::new(&config)?;
    if let Some(k) = top_k(&mut keys)? {
        if has_threshold {
            return Err(err!(Format, "expected a threshold or top-k, found both"));
        }
        if k.signed {
            return Err(err!(
                Format,
                "expected `topk_relu: true`: this top-k also keeps what is below 0, as no dictionary does"
            )
            .hint("`sae::transcoders` reads all transcoders of such a set"));
        }
        said = FileStatements { k: Some(k.k), ..FileStatements::new(row(Format::CircuitTracer, "topk")?) };
    }
    match keys.word("model_kind")? {
        None | Some("transcoder_set") => {}
        Some(other) => {
            return Err(err!(Format, "the architecture `{other}` of circuit_tracer is not known here")
                .hint("`sae::transcoders` reads a cross-layer transcoder, and all transcoders of a set"));
        }
    }
    said.about.models = keys.word("model_name")?.map(ModelName::from).into_iter().collect();
    let layer = sites::number_after(beside.place, "layer_");
    if let Some((hook, layer)) = keys.word("feature_input_hook")?.zip(layer) {
        said.about.sites = vec![ReadSite::new(site(hook, layer))];
    }
    for key in ["feature_input_hook", "feature_output_hook", "scan"] {
        if let Some(value) = keys.value(key) {
            said.about.more.insert(key.to_string(), value.clone());
        }
    }
    keys.finish_beside(&HARMLESS, beside.ignore)?;
    Ok(said)
}

/// Top-k as a config says it; the format has no field for it, so these two keys are ours.
pub(in crate::sae) struct TopK {
    pub k: usize,
    /// Whether what is below 0 may be among the k.
    pub signed: bool,
}

pub(in crate::sae) fn top_k(keys: &mut Keys) -> Result<Option<TopK>> {
    let signed = !matches!(keys.word("topk_relu")?, Some("true"));
    let Some(found) = keys.word("topk")? else { return Ok(None) };
    let wrong = |_| err!(Format, "expected a number of features as config key `topk`, found {found}");
    Ok(Some(TopK { k: found.parse().map_err(wrong)?, signed }))
}

/// Names a hook within a block.
fn site(hook: &str, layer: usize) -> String {
    sites::ours(&format!("blocks.{layer}.{hook}"), None)
}

/// The top-level keys of a YAML file and their texts; nested content is recorded as present only.
pub(in crate::sae) fn top_level(text: &str) -> Result<Value> {
    let mut fields = Map::new();
    for (number, line) in text.lines().enumerate() {
        let nested = line.starts_with([' ', '\t', '-']);
        let plain = line.trim_end();
        if nested || plain.is_empty() || plain.starts_with('#') || plain == "---" {
            continue;
        }
        let place = format!("line {} of its config", number + 1);
        let Some((key, value)) = plain.split_once(':') else {
            return Err(err!(Format, "expected `key: value`, found something else").within(place));
        };
        if fields.insert(key.trim().to_string(), Value::from(unquoted(value))).is_some() {
            return Err(err!(Format, "expected every key once, found `{}` again", key.trim()).within(place));
        }
    }
    Ok(Value::Object(fields))
}

/// Strips a text of its quotes, or of the comment after it.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let quoted = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    match quoted.and_then(|quote| value.get(1..)?.split_once(quote)) {
        Some((text, _)) => text,
        None => value.split_once(" #").map_or(value, |(text, _)| text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_the_top_are_read_and_lists_below_them_passed_over() {
        let text = "# made by hand\nmodel_name: \"org/a: b\"  # quoted\nscan: x # y\ntranscoders:\n  - \"a\"\n- b\n";
        let found = top_level(text).unwrap();
        assert_eq!(found, serde_json::json!({ "model_name": "org/a: b", "scan": "x", "transcoders": "" }));
        assert_eq!(
            top_level("a: 1\nb").unwrap_err().message,
            "line 2 of its config: expected `key: value`, found something else"
        );
        assert!(top_level("a: 1\na: 2").unwrap_err().message.contains("found `a` again"));
    }

    #[test]
    fn hooks_are_sites_where_we_have_them() {
        assert_eq!(site("mlp.hook_in", 3), "mlp_in.3");
        assert_eq!(site("ln2.hook_normalized", 3), "blocks.3.ln2.hook_normalized");
        assert_eq!(site("hook_resid_mid", 0), "resid_mid.0");
        assert_eq!(site("hook_mlp_in", 0), "blocks.0.hook_mlp_in");
    }
}
