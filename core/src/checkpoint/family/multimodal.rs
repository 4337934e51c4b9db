//! Checkpoints with parts for pictures and sounds: their text part is a model of a family here, and a text alone goes
//! through nothing else. The other parts are left out.

use super::keys::Keys;
use crate::common::*;
use crate::model::layout::Layout;

/// The family of the whole, and that of its text part.
const PICTURED: &[(&str, &str)] = &[
    ("gemma3", "gemma3_text"),
    ("gemma4", "gemma4_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
];

const TEXT: &str = "text_config";

/// Keys beside the text part that say nothing of what a text computes.
const OF_OTHER_PARTS: &[&str] = &[
    "audio_config",
    "audio_token_id",
    "boa_token_id",
    "boi_token_id",
    "boi_token_index",
    "eoa_token_index",
    "eoi_token_id",
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

/// Places of the text part in the files of the whole: beginnings of the names of a text model, and what they begin with
/// there. The second is the layout before transformers 5.
const PLACES: [&[(&str, &str)]; 2] = [
    &[("model.", "model.language_model.")],
    &[("model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")],
];

/// The other parts: towers for pictures and sounds, maps from them into the residual stream, and layers that predict
/// tokens ahead.
const LEFT_OUT: &[&str] = &[
    "model.audio_tower.",
    "model.embed_audio.",
    "model.embed_vision.",
    "model.multi_modal_projector.",
    "model.vision_tower.",
    "model.visual.",
    "mtp.",
    "multi_modal_projector.",
    "vision_tower.",
    "visual.",
];

/// Returns the config of the text part of a whole that is known here; None for other configs. Keys in `ignore` are
/// skipped.
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
    let ignore: Vec<String> = OF_OTHER_PARTS.iter().map(ToString::to_string).chain(ignore.iter().cloned()).collect();
    keys.finish(&ignore)?;
    Ok(Some(text.into()))
}

/// Returns the layout of a text part in the file of the whole, and how many of its tensors are left out.
pub fn within(layout: Layout, file: &BTreeSet<&str>) -> (Layout, usize) {
    let there = |place: &&[(&str, &str)]| place.iter().any(|(_, theirs)| begins(file, theirs));
    let mut layout = match PLACES.into_iter().find(there) {
        Some(place) => layout.renamed(|name| {
            let moved = place.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
            moved.unwrap_or(name)
        }),
        None => layout,
    };
    let left_out = file.iter().filter(|name| LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)));
    let left_out: Vec<String> = left_out.map(ToString::to_string).collect();
    let count = left_out.len();
    layout.ignored.extend(left_out);
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

    /// Reads configs with the keys that published ones have beside those of transformers' defaults.
    #[test]
    fn published_configs_are_read() {
        let gemma = json!({
            "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255_999, "eoi_token_index": 256_000,
            "eos_token_id": [1, 106], "image_token_index": 262_144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
            "model_type": "gemma3", "torch_dtype": "bfloat16", "vision_config": { "hidden_size": 1152 },
            "text_config": {
                "hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text", "num_hidden_layers": 34,
                "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024,
            },
        });
        let read =
            |whole: &Value| crate::checkpoint::family::read(&text_part(whole, &[]).unwrap().unwrap(), &[]).unwrap();
        let config = read(&gemma).config;
        assert_eq!((config.heads, config.kv_heads, config.d_head, config.vocab), (8, 4, 256, 262_208));
        assert_eq!((config.tied, config.eos, config.context), (true, vec![1, 106], 131_072));
        let mut text = json!({
            "attention_bias": false, "attn_output_gate": true, "dtype": "bfloat16", "eos_token_id": 248_044,
            "full_attention_interval": 4, "head_dim": 256, "hidden_size": 1024, "intermediate_size": 3584,
            "linear_num_value_heads": 16, "mamba_ssm_dtype": "float32", "max_position_embeddings": 262_144,
            "mlp_only_layers": [], "model_type": "qwen3_5_text", "mtp_num_hidden_layers": 1,
            "mtp_use_dedicated_embeddings": false, "num_attention_heads": 8, "num_hidden_layers": 24,
            "num_key_value_heads": 2, "tie_word_embeddings": true, "vocab_size": 248_320,
        });
        text["rope_parameters"] = json!({
            "mrope_interleaved": true, "mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25,
            "rope_theta": 1e7, "rope_type": "default",
        });
        let qwen = json!({
            "architectures": ["Qwen3_5ForConditionalGeneration"], "image_token_id": 248_056, "model_type": "qwen3_5",
            "text_config": text, "tie_word_embeddings": true, "transformers_version": "5.0.0", "video_token_id": 248_057,
            "vision_config": { "depth": 12 }, "vision_end_token_id": 248_054, "vision_start_token_id": 248_053,
        });
        let config = read(&qwen).config;
        assert!(config.tied && config.delta.as_ref().is_some_and(|delta| delta.layers.len() == 18));
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
        let more = json!({ "model_type": "qwen3_5", "text_config": {}, "depth_config": { "layers": 2 } });
        assert!(of(more).starts_with("the config key `depth_config`"));
    }
}
