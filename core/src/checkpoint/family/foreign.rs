//! Families that are not computed here, with what they have that no config of ours can say. Of some, a file's text part is
//! loaded ([`super::multimodal`]), and the whole cannot be made.

use crate::base::names::nearest;
use crate::common::*;

const SPACE: &str = "state spaces beside attention";
const PER_LAYER: &str = "embeddings of every layer, and layers that share keys and values";
const PICTURES: &str = "a part for pictures";

/// Families by name in config.json, as transformers spells it, and what each needs.
const FOREIGN: &[(&str, &str)] = &[
    ("falcon_h1", SPACE),
    ("gemma3", "a part for pictures; its text part alone, `gemma3_text`, is"),
    ("gemma3n", PER_LAYER),
    ("gemma3n_text", PER_LAYER),
    ("gemma4", "a part for pictures; its text part alone, `gemma4_text`, is"),
    ("jamba", SPACE),
    ("llama4", "attention in chunks"),
    ("llama4_text", "attention in chunks"),
    ("mistral3", PICTURES),
    ("nemotron_h", SPACE),
    ("qwen2_5_vl", PICTURES),
    ("qwen2_vl", PICTURES),
    ("qwen3_5", "a part for pictures; its text part alone, `qwen3_5_text`, is"),
    ("qwen3_5_moe", "a part for pictures; its text part alone, `qwen3_5_moe_text`, is"),
    ("qwen3_next", "gated delta nets whose weights are fused in another order; those of `qwen3_5_moe_text` are"),
    ("qwen3_vl", PICTURES),
    ("t5", "an encoder beside the decoder"),
];

/// Builds the error about a family that is not among the known ones.
pub fn refused(found: &str, known: &[&str]) -> Error {
    let families = format!("families are {}", known.join(" "));
    if let Some((_, lacks)) = FOREIGN.iter().find(|(name, _)| *name == found) {
        return err!(Format, "models of the family `{found}` need what is not implemented here: {lacks}")
            .hint(families);
    }
    let near = nearest(found, known.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    err!(Format, "the family `{found}` of the config.json is not known").hint(format!("{near}{families}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_family_is_refused_with_what_is_missing() {
        assert!(FOREIGN.is_sorted());
        let known = super::super::known();
        assert!(FOREIGN.iter().all(|(name, _)| !known.contains(name)));
        let error = refused("jamba", &known);
        assert_eq!(
            error.message,
            "models of the family `jamba` need what is not implemented here: state spaces beside attention"
        );
        assert!(
            error.hint.unwrap().starts_with("families are bert bloom cohere cohere2 deepseek_v2 deepseek_v3 falcon ")
        );
    }
}
