//! The tokenizer inside a GGUF file: SentencePiece's (`llama`), the byte-level one (`gpt2`), Gemma 4's (`gemma4`), and RWKV's
//! (`rwkv`).

use std::collections::HashMap;

use super::alphabet::letter;
use super::library::Library;
use super::limits::Limits;
use super::lines::Lines;
use super::merges::{MergeSettings, Merges};
use super::metadata::{Gguf, GgufMetadata};
use super::spelling::hexadecimal;
use super::vocab::{Vocab, VocabEntry};
use super::words::WORDS;
use super::world::WORLD;
use super::{Chats, Tokenizer, bytelevel, misfit, splits};
use crate::common::*;

/// The kind of Gemma 4's tokenizer.
const GEMMA4: &str = "gemma4";

/// The type of a token in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Plain,
    /// A token that no text yields: the unknown token and control tokens.
    Special,
    /// A token that is matched in a text before anything else.
    Whole,
    Byte,
}

impl Tokenizer {
    /// Reads the tokenizer in the metadata of a GGUF file, if there is one. It is made on another thread, since the
    /// largest take a second or two without a check for interruptions.
    pub fn from_metadata(metadata: &GgufMetadata, task: &Task) -> Result<Option<Self>> {
        let Some(parts) = Gguf::read(metadata)? else { return Ok(None) };
        let ids = [
            ("bos_token", parts.bos_token_id),
            ("eos_token", parts.eos_token_id),
            ("unk_token", parts.unknown_token_id),
        ];
        if parts.model == WORDS {
            let metadata = metadata.clone();
            let made = task.apart(move || expect_no_cut(&parts).and_then(|()| Self::of_words(&parts, &metadata)));
            return Ok(Some(made.map_err(|e| e.within("tokenizer.ggml"))?));
        }
        let tokenizer = task.apart(move || Self::from_gguf(parts))?;
        // SentencePiece has its usual ids where a file states none.
        let usual = [tokenizer.bos, tokenizer.eos, None];
        let named = ids.into_iter().zip(usual).filter_map(|((key, stated), usual)| {
            let piece = tokenizer.vocab.piece(stated.or(usual)?).ok()?;
            Some((key.to_string(), piece.name.as_str().into()))
        });
        let chats = Chats::of_metadata(metadata, named.collect())?.map(Arc::new);
        Ok(Some(Self { chats, ..tokenizer }))
    }

    /// Makes a tokenizer of the metadata. If the file does not state the EOS token and, for SentencePiece, the BOS
    /// token, llama.cpp's defaults are used. The names of special tokens in a text are plain text.
    pub fn from_gguf(parts: Gguf) -> Result<Self> {
        Self::of_parts(parts).map_err(|e| e.within("tokenizer.ggml"))
    }

    fn of_parts(parts: Gguf) -> Result<Self> {
        let kinds = kinds(&parts)?;
        match parts.model.as_str() {
            "llama" => sentencepiece(parts, &kinds),
            "gpt2" => byte_level(parts, &kinds),
            GEMMA4 => lines(parts, &kinds),
            WORLD => expect_no_cut(&parts).and_then(|()| Self::of_world(parts)),
            other => {
                Err(err!(Format, "expected a tokenizer of the kind llama, gpt2, gemma4, bert or rwkv, found `{other}`")
                    .hint("load the model from a folder with a tokenizer.json"))
            }
        }
    }
}

fn kinds(parts: &Gguf) -> Result<Vec<TokenType>> {
    if parts.token_type.is_empty() {
        return Ok(vec![TokenType::Plain; parts.tokens.len()]);
    }
    if parts.token_type.len() != parts.tokens.len() {
        bail!(Format, "expected a type for each of {} tokens, found {}", parts.tokens.len(), parts.token_type.len());
    }
    let kind = |(id, kind): (usize, &i64)| match kind {
        1 | 5 => Ok(TokenType::Plain),
        2 | 3 => Ok(TokenType::Special),
        4 => Ok(TokenType::Whole),
        6 => Ok(TokenType::Byte),
        other => Err(err!(Format, "expected a type from 1 to 6 for token {id}, found {other}")),
    };
    parts.token_type.iter().enumerate().map(kind).collect()
}

/// Returns tokens whose names are their text with SentencePiece's space, and those of bytes.
fn spelled(parts: &Gguf, kinds: &[TokenType]) -> Result<(Vec<VocabEntry>, HashMap<u8, u32>)> {
    let typed = !parts.token_type.is_empty();
    let mut bytes = HashMap::new();
    let mut pieces = Vec::with_capacity(parts.tokens.len());
    for (id, (name, kind)) in (0..).zip(parts.tokens.iter().zip(kinds)) {
        let byte = hexadecimal(name).filter(|_| *kind == TokenType::Byte || !typed);
        pieces.push(match (kind, byte) {
            (_, Some(byte)) => {
                bytes.insert(byte, id);
                VocabEntry { name: name.clone(), bytes: vec![byte], special: false }
            }
            (TokenType::Byte, None) => bail!(Format, "expected a byte such as <0x0A> for token {id}, found `{name}`"),
            (TokenType::Special, None) => VocabEntry::special(name.clone()),
            (TokenType::Whole, None) => VocabEntry::plain(name.clone()),
            (TokenType::Plain, None) => {
                VocabEntry { name: name.clone(), bytes: name.replace('▁', " ").into_bytes(), special: false }
            }
        });
    }
    Ok((pieces, bytes))
}

/// Makes the tokenizer of Gemma 4, which begins every text with its BOS token, whatever the file says, as in llama.cpp.
fn lines(parts: Gguf, kinds: &[TokenType]) -> Result<Tokenizer> {
    if let Some(pre) = parts.pre.as_ref().filter(|pre| *pre != GEMMA4) {
        bail!(Format, "expected `{GEMMA4}` as `pre` of a tokenizer of the kind {GEMMA4}, found `{pre}`");
    }
    if parts.add_space_prefix == Some(true) {
        bail!(Format, "expected texts without a space before them, found `add_space_prefix`");
    }
    let (pieces, bytes) = spelled(&parts, kinds)?;
    let vocab = Arc::new(Vocab::new((0..).zip(pieces), false)?);
    let split = Lines::new(&vocab, &parts.merges, &bytes, &whole_names(&vocab, kinds))?;
    let marks = [parts.bos_token_id, parts.eos_token_id];
    Tokenizer::of_gguf(vocab, Arc::new(split), parts, marks, marks[0].is_some())
}

/// Pre-tokenizer of SentencePiece in `pre`: texts are not cut before their characters are joined.
const UNCUT: &str = "default";

/// Refuses the name of a byte-level pre-tokenizer for a tokenizer that has none of a name.
fn expect_no_cut(parts: &Gguf) -> Result<()> {
    match &parts.pre {
        Some(pre) if pre != UNCUT && splits::cut(pre).is_ok() => {
            let kind = &parts.model;
            Err(err!(Format, "expected no byte-level `pre` of a tokenizer of the kind {kind}, found `{pre}`")
                .hint("texts are cut for byte-level tokenizers only, whose model is `gpt2`: convert the model again"))
        }
        _ => Ok(()),
    }
}

fn sentencepiece(parts: Gguf, kinds: &[TokenType]) -> Result<Tokenizer> {
    if let Some(pre) = parts.pre.as_ref().filter(|pre| *pre != UNCUT) {
        return Err(err!(Format, "expected `{UNCUT}` as `pre` of a SentencePiece tokenizer, found `{pre}`")
            .hint("texts are cut for byte-level tokenizers only, whose model is `gpt2`: convert the model again"));
    }
    let (pieces, bytes) = spelled(&parts, kinds)?;
    let prefix = parts.add_space_prefix.unwrap_or(true);
    let vocab = Arc::new(Vocab::new((0..).zip(pieces), prefix)?);
    // SentencePiece's default ids, if there are as many tokens.
    let given = |stated: Option<u32>, usual: u32| stated.or(Some(usual).filter(|id| vocab.piece(*id).is_ok()));
    let parts_of_merges = MergeSettings {
        scores: parts.scores.clone(),
        bytes,
        unknown: given(parts.unknown_token_id, 0),
        space: '▁',
        prefix,
        whole: of_kind(kinds, TokenType::Whole),
    };
    let merges = Merges::new(&vocab, parts_of_merges)?;
    let marks = [given(parts.bos_token_id, 1), given(parts.eos_token_id, 2)];
    let adds_bos = parts.add_bos_token.unwrap_or(true);
    Tokenizer::of_gguf(vocab, Arc::new(merges), parts, marks, adds_bos)
}

fn byte_level(parts: Gguf, kinds: &[TokenType]) -> Result<Tokenizer> {
    let Some(pre) = &parts.pre else {
        return Err(err!(Format, "expected the name of a pre-tokenizer in `pre`, found none")
            .hint("the file is from before April 2024, when texts were split wrongly; convert the model again"));
    };
    let cut = splits::cut(pre)?;
    if parts.merges.is_empty() {
        bail!(Format, "expected the merges of a byte-level tokenizer in `merges`, found none");
    }
    // Gemma 4's tokenizer and others like it have the same kind of merges and names with SentencePiece's space.
    let has = |name: &str| parts.tokens.iter().any(|token| token == name);
    if has("▁") && !has(&letter(b' ').to_string()) {
        return Err(err!(
            Format,
            "expected tokens in the letters of bytes, as `{pre}` cuts texts for them, found `▁` for a space"
        )
        .hint("the pre-tokenizer's name does not fit the tokenizer: convert the model again"));
    }
    misfit::check(pre, cut, &parts.merges)?;
    let piece = |(name, kind): (&String, &TokenType)| match kind {
        TokenType::Plain | TokenType::Byte => bytelevel::piece(name),
        TokenType::Special => VocabEntry::special(name.clone()),
        TokenType::Whole => VocabEntry::plain(name.clone()),
    };
    let pieces: Vec<VocabEntry> = parts.tokens.iter().zip(kinds).map(piece).collect();
    let vocab = Arc::new(Vocab::new((0..).zip(pieces), false)?);
    let engine = bytelevel::engine(&vocab, &parts.merges, cut, &whole_names(&vocab, kinds))?;
    let split = Library::new(engine, vocab.clone(), true, Limits::KNOWN)?;
    let marks = [parts.bos_token_id, parts.eos_token_id];
    let adds_bos = parts.add_bos_token.unwrap_or(cut.adds_bos);
    Tokenizer::of_gguf(vocab, Arc::new(split), parts, marks, adds_bos)
}

/// Returns the names of the tokens that are matched in a text before anything else.
fn whole_names<'a>(vocab: &'a Vocab, kinds: &[TokenType]) -> Vec<&'a str> {
    let pieces = of_kind(kinds, TokenType::Whole).into_iter().filter_map(|id| vocab.piece(id).ok());
    pieces.map(|piece| piece.name.as_str()).collect()
}

fn of_kind(kinds: &[TokenType], wanted: TokenType) -> Vec<u32> {
    (0..).zip(kinds).filter(|(_, kind)| **kind == wanted).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::files::gguf_value::Value;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn pieces() -> Gguf {
        Gguf {
            model: "llama".into(),
            tokens: names(&["<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "▁a", "<tool>", "s", "<", ">", "<s", "s>"]),
            scores: vec![0.0; 13],
            token_type: vec![2, 3, 3, 6, 1, 1, 1, 4, 1, 1, 1, 1, 1],
            ..Gguf::default()
        }
    }

    fn ids(tokenizer: &Tokenizer, text: &str, bos: Option<bool>) -> Vec<u32> {
        tokenizer.encode(text, bos, &Task::default()).unwrap().ids
    }

    #[test]
    fn sentencepiece_adds_what_llama_cpp_adds_unless_the_file_says_otherwise() {
        let usual = Tokenizer::from_gguf(pieces()).unwrap();
        assert_eq!(ids(&usual, "a a", None), [1, 6, 6]);
        assert_eq!(ids(&usual, "a a", Some(false)), [6, 6]);
        assert_eq!(ids(&usual, "", None), [1]);
        assert_eq!(usual.decode(&[1, 6, 6]).unwrap(), "<s>a a");
        let stated = Gguf { add_bos_token: Some(false), add_space_prefix: Some(false), ..pieces() };
        let stated = Tokenizer::from_gguf(stated).unwrap();
        assert_eq!(ids(&stated, "a a", None), [5, 6]);
        assert_eq!(stated.decode(&[6, 6]).unwrap(), " a a");
    }

    #[test]
    fn special_names_in_a_text_are_text_and_whole_tokens_are_taken_whole() {
        let tokenizer = Tokenizer::from_gguf(Gguf { add_bos_token: Some(false), ..pieces() }).unwrap();
        assert_eq!(ids(&tokenizer, "<s>", None), [4, 11, 10]);
        let tokens = tokenizer.encode("a<tool>a\n", None, &Task::default()).unwrap();
        assert_eq!(tokens.ids, [6, 7, 6, 3]);
        assert_eq!(tokens.offsets, [0..1, 1..7, 7..8, 8..9]);
    }

    #[test]
    fn a_tokenizer_like_gemmas_takes_line_breaks_and_runs_of_spaces_whole() {
        let special = ["<pad>", "<eos>", "<bos>", "<unk>"];
        let whole = ["\n", "\n\n", "  ", "<b>"];
        let plain = ["▁", "a", "b", "▁a", "ab", "▁ab"];
        let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let types = [vec![3; 4], vec![4; 4], vec![1; 6], vec![6; 256]].concat();
        let parts = Gguf {
            pre: Some("default".into()),
            scores: (0..270).map(|id| if id < 8 { -1000.0 } else { 8.0 - id as f32 }).collect(),
            tokens: [names(&special), names(&whole), names(&plain), bytes].concat(),
            token_type: types,
            bos_token_id: Some(2),
            eos_token_id: Some(1),
            unknown_token_id: Some(3),
            add_bos_token: Some(true),
            add_space_prefix: Some(false),
            ..pieces()
        };
        let gemma = Tokenizer::from_gguf(parts).unwrap();
        let byte = |byte: u32| 14 + byte;
        let text = "ab  ab\n\n\n ab é<b>";
        let found = [2, 12, 6, 12, 5, 4, 13, 8, byte(0xc3), byte(0xa9), 7];
        assert_eq!(ids(&gemma, text, None), found);
        assert_eq!(gemma.decode(&found[1..]).unwrap(), text);
        // Byte by byte, what has no token.
        assert_eq!(ids(&gemma, "\t", Some(false)), [byte(9)]);
    }

    #[test]
    fn a_tokenizer_like_gemma_4s_joins_the_characters_of_lines_and_takes_runs_of_line_breaks_whole() {
        let special = ["<pad>", "<eos>", "<bos>", "<unk>"];
        let plain = ["▁", "a", "b", "▁a", "b▁", "ab", "▁ab", "\n", "\n\n\n", "<b>"];
        let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let parts = Gguf {
            model: "gemma4".into(),
            scores: Vec::new(),
            tokens: [names(&special), names(&plain), bytes].concat(),
            token_type: [vec![3; 4], vec![1; 9], vec![4], vec![6; 256]].concat(),
            merges: names(&["a b", "▁ ab", "b ▁", "▁ a"]),
            bos_token_id: Some(2),
            eos_token_id: Some(1),
            add_bos_token: Some(false),
            add_space_prefix: Some(false),
            ..Gguf::default()
        };
        let gemma = Tokenizer::from_gguf(parts.clone()).unwrap();
        let byte = |byte: u32| 14 + byte;
        // Merges go in the order of the list; a run of two line breaks has no token, one of three has.
        let text = "ab  ab\n\n\nb a\n\né<b>";
        let found = [2, 9, 4, 10, 12, 8, 5, 11, 11, byte(0xc3), byte(0xa9), 13];
        assert_eq!(ids(&gemma, text, None), found);
        assert_eq!(gemma.decode(&found[1..]).unwrap(), text);
        let offsets = gemma.encode("ab  ab\n", Some(false), &Task::default()).unwrap().offsets;
        assert_eq!(offsets, [0..2, 2..3, 3..6, 6..7]);
        let refused = |parts: Gguf| Tokenizer::from_gguf(parts).unwrap_err().message;
        let mut fewer = parts.clone();
        fewer.tokens[20] = "c".into();
        fewer.token_type[20] = 1;
        assert!(refused(fewer).ends_with("expected a token for each byte, found none for 0x06"));
        let mut broken = parts.clone();
        broken.tokens[13] = "<\n>".into();
        assert!(refused(broken).contains("without line breaks"));
        let cut = Gguf { pre: Some("llama-bpe".into()), ..parts.clone() };
        assert!(refused(cut).ends_with("of the kind gemma4, found `llama-bpe`"));
        assert!(refused(Gguf { add_space_prefix: Some(true), ..parts }).contains("`add_space_prefix`"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let refused = |parts: Gguf| Tokenizer::from_gguf(parts).unwrap_err().message;
        assert!(refused(Gguf { model: "t5".into(), ..pieces() }).ends_with("found `t5`"));
        assert!(refused(Gguf { token_type: vec![1; 3], ..pieces() }).ends_with("13 tokens, found 3"));
        assert!(refused(Gguf { token_type: vec![9; 13], ..pieces() }).ends_with("for token 0, found 9"));
        assert!(refused(Gguf { token_type: vec![6; 13], ..pieces() }).ends_with("for token 0, found `<unk>`"));
        assert!(refused(Gguf { scores: vec![], ..pieces() }).ends_with("13 tokens, found 0"));
        assert!(refused(Gguf { bos_token_id: Some(13), ..pieces() }).ends_with("below 13, found 13"));
        assert!(refused(Gguf { tokens: vec![], token_type: vec![], ..pieces() }).contains("no token"));
        let bytes = Gguf { model: "gpt2".into(), ..pieces() };
        assert!(refused(bytes.clone()).contains("`pre`"));
        assert!(refused(Gguf { pre: Some("tokken".into()), ..bytes.clone() }).contains("`tokken`"));
        let with = |merges: &[&str]| Gguf { pre: Some("gpt-2".into()), merges: names(merges), ..bytes.clone() };
        assert!(refused(with(&[])).ends_with("in `merges`, found none"));
        assert!(refused(with(&["< s"])).ends_with("as `gpt-2` cuts texts for them, found `▁` for a space"));
        let cut = refused(Gguf { pre: Some("llama-bpe".into()), ..pieces() });
        assert!(cut.ends_with("expected `default` as `pre` of a SentencePiece tokenizer, found `llama-bpe`"));
        assert!(Tokenizer::from_gguf(Gguf { pre: Some("default".into()), ..pieces() }).is_ok());
        let world = refused(Gguf { model: "rwkv".into(), pre: Some("llama-bpe".into()), ..pieces() });
        assert!(world.ends_with("expected no byte-level `pre` of a tokenizer of the kind rwkv, found `llama-bpe`"));
        let bytes = Gguf { tokens: [names(&["Ġ"]), bytes.tokens[1..].to_vec()].concat(), ..bytes };
        let lone = Gguf { pre: Some("gpt-2".into()), merges: names(&["a"]), ..bytes.clone() };
        assert!(refused(lone).contains("merge 0: expected two tokens"));
        let strange = Gguf { pre: Some("gpt-2".into()), merges: names(&["a s"]), ..bytes };
        assert!(refused(strange).contains("merge 0: expected tokens of the vocabulary, found `as`"));
    }

    #[test]
    fn byte_level_tokens_are_joined_in_the_order_of_the_merges() {
        let mut tokens: Vec<String> = (0..=255).map(|byte| super::super::alphabet::letter(byte).to_string()).collect();
        tokens.extend(names(&["ab", "bc", "Ġab", "<|end|>"]));
        let parts = Gguf {
            model: "gpt2".into(),
            pre: Some("gpt-2".into()),
            token_type: [vec![1; 259], vec![3]].concat(),
            merges: names(&["b c", "a b", "Ġ ab"]),
            tokens,
            eos_token_id: Some(259),
            ..Gguf::default()
        };
        let tokenizer = Tokenizer::from_gguf(parts.clone()).unwrap();
        assert_eq!(ids(&tokenizer, "abc ab", None), [u32::from(b'a'), 257, 258]);
        assert_eq!(ids(&tokenizer, "<|end|>", None).len(), 7);
        assert_eq!(tokenizer.decode(&[258, 259]).unwrap(), " ab<|end|>");
        let asked = tokenizer.encode("a", Some(true), &Task::default()).unwrap_err();
        assert!(asked.message.contains("no token that marks the beginning"));
        let wanting = Tokenizer::from_gguf(Gguf { add_bos_token: Some(true), ..parts.clone() }).unwrap_err();
        assert!(wanting.message.contains("a token for the beginning"));
        let mut fewer = parts;
        fewer.tokens[255] = "ÿÿ".into();
        let fewer = Tokenizer::from_gguf(fewer).unwrap();
        assert_eq!(ids(&fewer, "ÿ", None).len(), 2);
    }

    fn with_chats() -> GgufMetadata {
        let texts = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text(text.to_string())).collect());
        [
            ("ggml.model", Value::Text("llama".into())),
            ("ggml.tokens", texts(&["<unk>", "<s>", "</s>", "▁a", "<", "s", ">", "a", "▁", "<s", "s>", "<s><s>"])),
            ("ggml.scores", Value::Array(vec![Value::Single(0.0); 12])),
            ("ggml.token_type", Value::Array([2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3].map(Value::Signed).to_vec())),
            (
                "chat_template",
                Value::Text("{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}".into()),
            ),
            ("chat_template.tools", Value::Text("tools".into())),
            ("chat_templates", texts(&["tools"])),
        ]
        .map(|(key, value)| (format!("tokenizer.{key}"), value))
        .into()
    }

    #[test]
    fn a_file_has_its_chat_templates_inside() {
        let tokenizer = Tokenizer::from_metadata(&with_chats(), &Task::default()).unwrap().unwrap();
        let chats = tokenizer.chats().unwrap();
        assert_eq!(chats.templates.keys().collect::<Vec<_>>(), ["default", "tools"]);
        assert_eq!(chats.marks["bos_token"], "<s>");
        assert_eq!((&chats.marks["eos_token"], chats.marks.get("unk_token")), (&"</s>".into(), None));
        // Kept beside the tokenizer.
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        tokenizer.save(&files, folder.path()).unwrap();
        let again = Tokenizer::from_folder(&files, folder.path()).unwrap().unwrap();
        assert_eq!(again.chats().unwrap().templates, chats.templates);
        assert_eq!(again.chats().unwrap().marks, chats.marks);
        let wrong =
            [with_chats(), [("tokenizer.chat_template".to_string(), Value::Bool(true))].into()].into_iter().flatten();
        let refused = Tokenizer::from_metadata(&wrong.collect(), &Task::default()).unwrap_err();
        assert_eq!(refused.message, "tokenizer.chat_template: expected a text, found true");
    }

    #[test]
    fn a_chat_names_its_special_tokens_and_the_longest_is_meant() {
        let tokenizer = Tokenizer::from_metadata(&with_chats(), &Task::default()).unwrap().unwrap();
        let tokens = tokenizer.encode_chat("<s>a</s>a<s><s><s", &Task::default()).unwrap();
        // What follows a special token is a text of its own, which begins with SentencePiece's space.
        assert_eq!(tokens.ids, [1, 3, 2, 3, 11, 8, 9]);
        assert_eq!(tokens.offsets[..5], [0..3, 3..4, 4..8, 8..9, 9..15]);
        assert_eq!(tokenizer.encode("<s>", Some(false), &Task::default()).unwrap().ids, [8, 9, 6]);
        assert!(tokenizer.encode_chat("", &Task::default()).unwrap().ids.is_empty());
    }
}
