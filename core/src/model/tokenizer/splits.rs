//! How byte-level tokenizers of GGUF files split a text before they join its bytes: by the name in
//! `tokenizer.ggml.pre`.

use crate::base::{Result, names};
use crate::err;

/// GPT-2's own expression, without its case for white space at the end, which is not needed.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A way of splitting.
pub struct Cut {
    names: &'static [&'static str],
    /// Applied in order, each to the pieces of the one before.
    pub expressions: &'static [&'static str],
    /// Whether a piece that is a token is used whole, without merges.
    pub whole_first: bool,
    /// Whether a text begins with BOS by default.
    pub adds_bos: bool,
}

const CUTS: &[Cut] = &[
    Cut {
        names: &["gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion"],
        expressions: &[GPT2],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["default"],
        expressions: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3"],
        expressions: &[LLAMA3],
        whole_first: true,
        adds_bos: true,
    },
    Cut { names: &["dbrx", "smaug-bpe"], expressions: &[LLAMA3], whole_first: false, adds_bos: false },
    Cut {
        names: &["qwen2", "stablelm2", "deepseek-r1-qwen"],
        expressions: &[QWEN2],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        expressions: &[r"\p{N}", GPT2],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["falcon"],
        expressions: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        whole_first: false,
        adds_bos: false,
    },
];

/// Other expressions in the tokenizer.json of supported models: GPT-2's complete one, GPT-4's as in Llama 3, OLMo 2 and
/// Phi, Qwen's, and GPT-4o's.
const OTHERS: [&str; 4] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Whether an expression is one of those of published models, which split any text in linear time.
pub fn is_known(expression: &str) -> bool {
    OTHERS.contains(&expression) || CUTS.iter().any(|cut| cut.expressions.contains(&expression))
}

/// The way of splitting with that name.
pub fn cut(name: &str) -> Result<&'static Cut> {
    CUTS.iter().find(|cut| cut.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = CUTS.iter().flat_map(|cut| cut.names).copied().collect();
        let hint = names::suggestion(name, known.iter().copied());
        err!(Format, "expected a pre-tokenizer that is known, found `{name}`").hint(hint.unwrap_or_else(|| {
            format!("known are {}; or load the model from a folder with a tokenizer.json", known.join(", "))
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        assert!(cut("gpt-2").is_ok_and(|cut| cut.expressions == [GPT2]));
        assert!(cut("llama-bpe").is_ok_and(|cut| cut.whole_first && cut.adds_bos));
        assert_eq!(cut("gpt2").err().unwrap().hint.unwrap(), "did you mean `gpt-2`?");
        assert!(cut("tekken").err().unwrap().hint.unwrap().starts_with("known are gpt-2, phi-2"));
    }
}
