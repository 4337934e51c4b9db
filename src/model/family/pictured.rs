//! Checkpoints with a part for pictures: their text part is a model of a family here, and a text alone goes through
//! nothing else. The other parts are left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keys::Keys;
use crate::base::Result;
use crate::err;
use crate::model::layout::Layout;

/// The family of the whole, and that of its text part.
const PICTURED: &[(&str, &str)] =
    &[("gemma3", "gemma3_text"), ("qwen3_5", "qwen3_5_text"), ("qwen3_5_moe", "qwen3_5_moe_text")];

const TEXT: &str = "text_config";

/// Keys beside the text part that say nothing of what a text computes.
const OF_PICTURES: &[&str] = &[
    "boi_token_index",
    "eoi_token_index",
    "image_token_id",
    "image_token_index",
    "mm_tokens_per_image",
    "video_token_id",
    "vision_config",
    "vision_end_token_id",
    "vision_start_token_id",
];

/// Keys of the whole that override those of the text part.
const SHARED: [&str; 4] = ["bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"];

/// Where the text part may be in the files of the whole: what the names of a text model begin with, and what they
/// begin with there. The second is the layout before transformers 5.
const PLACES: [&[(&str, &str)]; 2] = [
    &[("model.", "model.language_model."), ("lm_head.", "lm_head.")],
    &[("model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")],
];

/// The other parts: towers for pictures, maps from them into the residual stream, and layers that predict tokens ahead.
const LEFT_OUT: &[&str] = &[
    "model.multi_modal_projector.",
    "model.vision_tower.",
    "model.visual.",
    "mtp.",
    "multi_modal_projector.",
    "vision_tower.",
    "visual.",
];

/// The config of the text part of a whole that is known here; None for other configs. Keys in `ignore` are skipped.
pub fn text_part(config_json: &Value, ignore: &[String]) -> Result<Option<Value>> {
    let found = config_json.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some((_, family)) = PICTURED.iter().find(|(whole, _)| *whole == found) else { return Ok(None) };
    let mut keys = Keys::new(config_json)?;
    let Some(Value::Object(text)) = keys.value(TEXT) else {
        return Err(err!(Format, "expected the config of the text part as `{TEXT}`, found none"));
    };
    let mut text: Map<String, Value> = text.clone();
    let stated = text.entry("model_type").or_insert((*family).into());
    if stated != family {
        return Err(err!(Format, "expected a text part of the family `{family}` in a `{found}`, found {stated}"));
    }
    for key in SHARED {
        if let Some(value) = keys.value(key).filter(|value| !value.is_null()) {
            text.insert(key.into(), value.clone());
        }
    }
    let ignore: Vec<String> = OF_PICTURES.iter().map(ToString::to_string).chain(ignore.iter().cloned()).collect();
    keys.finish(&ignore)?;
    Ok(Some(text.into()))
}

/// The layout of a text part in the file of the whole, and how many of its tensors are left out.
pub fn within(layout: Layout, file: &BTreeSet<&str>) -> (Layout, usize) {
    let there = |place: &&[(&str, &str)]| place.iter().any(|(_, theirs)| theirs != &"lm_head." && begins(file, theirs));
    let mut layout = match PLACES.into_iter().find(there) {
        Some(place) => layout.renamed(|name| {
            let moved = place.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
            moved.unwrap_or(name)
        }),
        None => layout,
    };
    let left_out = file.iter().filter(|name| LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)));
    let before = layout.ignored.len();
    layout.ignored.extend(left_out.map(ToString::to_string));
    let count = layout.ignored.len() - before;
    (layout, count)
}

fn begins(file: &BTreeSet<&str>, prefix: &str) -> bool {
    file.range(prefix..).next().is_some_and(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_part_has_the_tokens_and_the_ties_of_the_whole() {
        let whole = json!({
            "model_type": "gemma3", "text_config": { "hidden_size": 8, "eos_token_id": 1 }, "vision_config": { "x": 1 },
            "eos_token_id": [1, 106], "tie_word_embeddings": false, "mm_tokens_per_image": 256, "dtype": "bfloat16",
        });
        let text = text_part(&whole, &[]).unwrap().unwrap();
        let expected = json!({
            "model_type": "gemma3_text", "hidden_size": 8, "eos_token_id": [1, 106], "tie_word_embeddings": false,
        });
        assert_eq!(text, expected);
        assert_eq!(text_part(&text, &[]).unwrap(), None);
    }

    #[test]
    fn a_whole_that_is_not_understood_is_refused() {
        let of = |json: Value| text_part(&json, &[]).unwrap_err().message;
        assert_eq!(
            of(json!({ "model_type": "gemma3" })),
            "expected the config of the text part as `text_config`, found none"
        );
        let other = json!({ "model_type": "gemma3", "text_config": { "model_type": "llama" } });
        assert!(of(other).starts_with("expected a text part of the family `gemma3_text` in a `gemma3`, found"));
        let more = json!({ "model_type": "qwen3_5", "text_config": {}, "audio_config": { "layers": 2 } });
        assert!(of(more).starts_with("the config key `audio_config`"));
    }
}
