//! Pre-tokenizers of byte-level GGUF files, which split a text before its bytes are joined: by the name in
//! `tokenizer.ggml.pre`.

use crate::common::*;

/// GPT-2's own expression, without its case for white space at the end, which is not needed.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
/// Tekken's expression, which tells capitals apart as GPT-4o's does. llama.cpp's version of the published expressions
/// does so for a to z only, and takes all other letters for both.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r"[!\x22#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Letters that have a case, of some scripts, with a space before them.
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// A way of splitting.
pub struct Cut {
    names: &'static [&'static str],
    /// Expressions that are applied in order, each to the pieces of the one before.
    pub expressions: &'static [&'static str],
    /// Whether a piece that is a token is used whole, without merges.
    pub whole_first: bool,
    /// Whether a text begins with BOS by default.
    pub adds_bos: bool,
}

const CUTS: &[Cut] = &[
    Cut {
        names: &[
            "gpt-2",
            "phi-2",
            "olmo",
            "mpt",
            "jais",
            "trillion",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "granite-docling",
            "modern-bert",
        ],
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
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        expressions: &[LLAMA3],
        whole_first: true,
        adds_bos: true,
    },
    Cut { names: &["glm4", "glm5"], expressions: &[LLAMA3], whole_first: true, adds_bos: false },
    Cut { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], expressions: &[LLAMA3], whole_first: false, adds_bos: false },
    Cut { names: &["minicpm5"], expressions: &[r"\p{N}{1,3}", MINICPM5], whole_first: true, adds_bos: false },
    Cut {
        names: &[
            "qwen2",
            "stablelm2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        expressions: &[QWEN2],
        whole_first: false,
        adds_bos: false,
    },
    Cut { names: &["qwen35"], expressions: &[QWEN35], whole_first: false, adds_bos: false },
    Cut {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
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
    Cut { names: &["tekken"], expressions: &[TEKKEN], whole_first: true, adds_bos: true },
    Cut {
        names: &["gpt-4o", "llama4", "kanana2", "minimax-m2"],
        expressions: &[GPT4O],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        expressions: &[r"\p{N}{1,3}", "[\u{4e00}-\u{9fa5}\u{3040}-\u{30ff}]+", DEEPSEEK3],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["deepseek-llm"],
        expressions: &[
            r"[\r\n]",
            DEEPSEEK_LETTERS,
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            "[一-龥\u{800}-一\u{ac00}-\u{d7ff}]+",
            r"\p{N}+",
        ],
        whole_first: false,
        adds_bos: false,
    },
    Cut {
        names: &["deepseek-coder"],
        expressions: &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
            r"\p{N}",
        ],
        whole_first: false,
        adds_bos: false,
    },
    Cut { names: &["seed-coder"], expressions: &[SEED], whole_first: false, adds_bos: false },
    Cut {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        expressions: &[BAILING],
        whole_first: false,
        adds_bos: false,
    },
    Cut { names: &["bloom", "poro-chat", "gpt3-finnish"], expressions: &[BLOOM], whole_first: false, adds_bos: false },
    Cut { names: &["viking"], expressions: &[BLOOM, r"\p{N}"], whole_first: false, adds_bos: false },
];

/// Other expressions in the tokenizer.json of supported models: GPT-2's complete one, GPT-4's as in Llama 3, OLMo 2 and
/// Phi, Qwen's, and GPT-4o's.
const OTHERS: [&str; 4] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Returns whether an expression is one of those of published models, which split any text in linear time.
pub fn is_known(expression: &str) -> bool {
    OTHERS.contains(&expression) || CUTS.iter().any(|cut| cut.expressions.contains(&expression))
}

/// Returns all ways of splitting, each with the first of its names.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Cut)> {
    CUTS.iter().filter_map(|cut| Some((*cut.names.first()?, cut)))
}

/// Returns the way of splitting with that name.
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
        assert!(cut("kimi-k2").err().unwrap().hint.unwrap().starts_with("known are gpt-2, phi-2"));
    }
}
