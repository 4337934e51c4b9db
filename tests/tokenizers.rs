//! Tokenizers from complete files: published ids, round trips, folders, and what is refused.

use std::path::Path;
use std::sync::LazyLock;

use kit::fixture;
use microtome::base::files::Files;
use microtome::base::{Error, Task};
use microtome::checkpoint::formats::gguf;
use microtome::tensor::files::gguf_value;
use microtome::tokenizer::tokens::Tokens;
use microtome::tokenizer::{Gguf, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn gguf(name: &str) -> Tokenizer {
    let file = gguf::GgufFile::new(bytes(&format!("tokenizers/ggml-vocab-{name}.gguf"))).unwrap();
    Tokenizer::from_metadata(&file.metadata, &Task::default()).unwrap().unwrap()
}

fn stories() -> Tokenizer {
    Tokenizer::from_llama2c(&bytes("tokenizers/tok512.bin"), Some(512)).unwrap()
}

/// The byte-level tokenizer that the models in the fixtures share.
fn small() -> Value {
    serde_json::from_slice(&bytes("models/tokenizer.json")).unwrap()
}

fn json(value: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json(value.to_string().as_bytes())
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Tokens {
    tokenizer.encode(text, Some(false), &Task::default()).unwrap()
}

/// Texts and the ids that llama.cpp gives them.
fn published(name: &str) -> Vec<(String, Vec<u32>)> {
    let texts = String::from_utf8(bytes(&format!("tokenizers/ggml-vocab-{name}.gguf.inp"))).unwrap();
    let lines = String::from_utf8(bytes(&format!("tokenizers/ggml-vocab-{name}.gguf.out"))).unwrap();
    let texts = texts.strip_suffix("\n__ggml_vocab_test__\n").unwrap().split("\n__ggml_vocab_test__\n");
    let ids = lines.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
    let pairs: Vec<_> = texts.map(String::from).zip(ids).collect();
    assert_eq!(pairs.len(), lines.lines().count());
    pairs
}

/// The ranges are contiguous from the beginning of the text to its end.
fn assert_places(tokens: &Tokens) {
    let mut end = 0;
    for range in &tokens.offsets {
        assert!(range.start == end && range.end >= end, "{:?} in {:?}", tokens.offsets, tokens.text);
        end = range.end;
    }
    assert_eq!(end, tokens.text.len());
}

fn known_ids(name: &str) {
    let tokenizer = gguf(name);
    for (text, ids) in published(name) {
        let tokens = encode(&tokenizer, &text);
        assert_eq!(tokens.ids, ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        assert_places(&tokens);
    }
}

#[test]
fn llama_cpps_ids_of_sentencepiece() {
    known_ids("llama-spm");
}

#[test]
fn llama_cpps_ids_of_gpt_2() {
    known_ids("gpt-2");
}

/// With a vocabulary that shows where a text is cut (`tests/fixtures/tokenizers/pre.py`).
#[test]
fn llama_cpps_ids_by_each_pre_tokenizer() {
    let made: Value = serde_json::from_slice(&bytes("tokenizers/pre.json")).unwrap();
    let list = |key: &str| -> Vec<String> { serde_json::from_value(made[key].clone()).unwrap() };
    let texts = list("texts");
    let parts = Gguf { model: "gpt2".into(), tokens: list("tokens"), merges: list("merges"), ..Gguf::default() };
    let mut count = 0;
    for group in made["groups"].as_array().unwrap() {
        let ids: Vec<Vec<u32>> = serde_json::from_value(group["ids"].clone()).unwrap();
        for name in group["names"].as_array().unwrap() {
            let pre = name.as_str().map(String::from);
            let tokenizer = Tokenizer::from_gguf(Gguf { pre, bos_token_id: Some(0), ..parts.clone() }).unwrap();
            for (text, ids) in texts.iter().zip(&ids) {
                let tokens = encode(&tokenizer, text);
                assert_eq!(tokens.ids, *ids, "{name}: {text:?}");
                assert_places(&tokens);
                count += 1;
            }
        }
    }
    assert_eq!(count, 8 * 64);
}

#[test]
fn a_vocabulary_is_refused_with_the_name_of_a_pre_tokenizer_that_it_does_not_fit() {
    let file = gguf::GgufFile::new(bytes("tokenizers/ggml-vocab-gpt-2.gguf")).unwrap();
    let made = |pre: &str| {
        let mut metadata = file.metadata.clone();
        metadata.insert("tokenizer.ggml.pre".into(), gguf_value::Value::Text(pre.into()));
        Tokenizer::from_metadata(&metadata, &Task::default())
    };
    assert!(made("phi-2").unwrap().is_some());
    for pre in ["llama-bpe", "qwen2"] {
        let error = made(pre).unwrap_err();
        assert!(error.message.contains(&format!("merges join, found `{pre}`, which cuts ")), "{error}");
        assert!(error.message.ends_with("; `gpt-2` cuts none") && error.hint.is_some(), "{error}");
    }
}

#[test]
fn what_is_added_is_said() {
    let tokenizer = gguf("llama-spm");
    let tokens = tokenizer.encode("Hello", None, &Task::default()).unwrap();
    assert_eq!((tokens.ids.as_slice(), tokens.front, tokens.back), ([1, 15043].as_slice(), 1, 0));
    assert_eq!(tokens.strings().unwrap(), ["<s>", " Hello"]);
    assert_eq!(tokens.positions("Hello").unwrap(), [(1, 1)]);
    let plain = gguf("gpt-2").encode("Hello", None, &Task::default()).unwrap();
    assert_eq!((plain.ids.as_slice(), plain.front), ([15496].as_slice(), 0));
    let asked = gguf("gpt-2").encode("Hello", Some(true), &Task::default()).unwrap();
    assert_eq!(asked.strings().unwrap(), ["<|endoftext|>", "Hello"]);
}

#[test]
fn words_and_token_sets_of_a_real_vocabulary() {
    let tokenizer = gguf("gpt-2");
    let tokens = encode(&tokenizer, "The 🦙 eats 🦙grass");
    assert_eq!(
        tokens.strings().unwrap(),
        ["The", " <0xF0><0x9F>", "<0xA6>", "<0x99>", " eats", " <0xF0><0x9F>", "<0xA6>", "<0x99>", "grass"]
    );
    assert_eq!(tokens.positions("🦙").unwrap(), [(1, 3), (5, 7)]);
    assert_eq!(tokens.positions("🦙grass").unwrap(), [(5, 8)]);
    let bracket = tokenizer.token_set(")").unwrap();
    assert!(
        bracket.contains(&tokenizer.token(")", &Task::default()).unwrap())
            && bracket.contains(&tokenizer.token(" )", &Task::default()).unwrap())
    );
    assert!(bracket.iter().all(|id| tokenizer.text_of(*id).unwrap().trim_start_matches(' ').starts_with(')')));
    let several = tokenizer.token("antidisestablish", &Task::default()).unwrap_err();
    assert!(several.message.ends_with("\"ant\" \"idis\" \"establish\""), "{}", several.message);
}

#[test]
fn the_stories_tokenizer() {
    let tokenizer = stories();
    let text = "Once upon a time, Zoë\tsaid: \"I saw a 🦙!\"\n";
    let tokens = tokenizer.encode(text, Some(true), &Task::default()).unwrap();
    // The ids of llama2.c's algorithm, best pair first, computed in Python.
    let ids = [
        1, 403, 407, 261, 378, 432, 410, 469, 414, 198, 174, 12, 419, 412, 292, 467, 313, 442, 394, 261, 410, 243, 162,
        169, 156, 443, 436, 13,
    ];
    assert_eq!(tokens.ids, ids);
    assert_eq!(tokenizer.decode(&tokens.ids).unwrap(), format!("<s>{text}"));
    assert_places(&tokens);
    let mut stream = tokenizer.stream_after(&tokens.ids[..3]).unwrap();
    let mut streamed = tokenizer.decode(&tokens.ids[1..3]).unwrap();
    streamed.extend(tokens.ids[3..].iter().map(|id| stream.push(*id).unwrap()));
    streamed.push_str(&stream.finish());
    assert_eq!(streamed, text);
}

#[test]
fn a_long_text_is_split_in_no_time_and_its_end_is_not_forgotten() {
    let tokenizer = gguf("llama-spm");
    let text = "the cat ".repeat(1 << 12) + "sat";
    let tokens = encode(&tokenizer, &text);
    assert_places(&tokens);
    assert_eq!(tokenizer.decode(&tokens.ids).unwrap(), text);
    let bytes = gguf("gpt-2");
    let text = format!("a{}b", " ".repeat(1 << 17));
    let tokens = encode(&bytes, &text);
    assert_eq!(bytes.decode(&tokens.ids).unwrap(), text);
    assert_eq!(tokens.strings().unwrap().last().unwrap(), " b");
    // The crate's expressions would leave the text after this many blanks in one piece.
    let refused = |letter: &str| bytes.encode(&letter.repeat(500_002), None, &Task::default()).unwrap_err().message;
    assert_eq!(refused(" "), "expected at most 500000 bytes of white space in a row, found more at byte 0");
    assert_eq!(refused("a"), "expected at most 500000 bytes without white space in a row, found more at byte 0");
}

/// A `tokenizer.json` such as llama's: SentencePiece's tokens, bytes, and a template that adds BOS.
fn llama() -> Value {
    let names = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let names = names.chain((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let names = names.chain(["▁", "a", "b", "▁a", "ab", "▁ab"].map(String::from));
    let vocab: serde_json::Map<_, _> = names.enumerate().map(|(id, name)| (name, json!(id))).collect();
    let special = |id: u32, content: &str| json!({ "id": id, "content": content, "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false });
    json!({ "version": "1.0", "truncation": { "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 },
        "padding": null, "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" } ] },
        "pre_tokenizer": null,
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" },
            { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 } ] },
        "model": { "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": ["▁ a", "a b", "▁a b"] } })
}

#[test]
fn a_template_adds_bos_and_nothing_is_cut_short() {
    let tokenizer = json(&llama()).unwrap();
    let tokens = tokenizer.encode("ab aé b", None, &Task::default()).unwrap();
    assert_eq!(tokens.ids, [1, 264, 262, 3 + 0xc3, 3 + 0xa9, 259, 261]);
    assert_eq!(tokens.offsets, [0..0, 0..2, 2..4, 4..5, 5..6, 6..7, 7..8]);
    assert_eq!((tokens.front, tokens.back), (1, 0));
    assert_eq!(tokenizer.decode(&tokens.ids).unwrap(), "<s>ab aé b");
    assert_eq!(encode(&tokenizer, "").ids, [0; 0]);
    assert_eq!(encode(&tokenizer, "<s>").ids, [1], "this kind of file reads the names of its tokens");
}

#[test]
fn jsons_that_mean_harm_are_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = llama();
        change(&mut value);
        json(&value).unwrap_err().message
    };
    let wrong_merge = refused(&|value| value["model"]["merges"] = json!([["ab", "ab"]]));
    assert_eq!(wrong_merge, "merge 0: expected tokens of the vocabulary, found `abab`");
    assert!(refused(&|value| value["model"]["merges"] = json!(["ab"])).contains("a merge of one token"));
    assert!(refused(&|value| value["model"]["dropout"] = json!(0.1)).contains("dropout"));
    let unknown = refused(&|value| {
        value["model"]["unk_token"] = Value::Null;
        value["model"]["byte_fallback"] = json!(false);
    });
    assert!(unknown.contains("`unk_token`, or a token for every byte"), "{unknown}");
    assert!(refused(&|value| value["added_tokens"][1]["id"] = json!(300)).contains("`<s>`"));
    assert!(refused(&|value| value["model"]["vocab"]["zz"] = json!(5)).contains("one token of id 5"));
    assert!(refused(&|value| value["model"]["vocab"]["zz"] = json!(u32::MAX)).contains("found 4294967295"));
    assert!(refused(&|value| value["post_processor"]["special_tokens"] = json!({})).contains("post_processor"));
    let beyond = refused(&|value| value["post_processor"]["special_tokens"]["<s>"]["ids"] = json!([999]));
    assert_eq!(beyond, "post_processor: expected a token below 265, found 999");
    assert!(refused(&|value| value["decoder"] = json!({ "type": "CTC" })).ends_with("found CTC"));
    assert!(refused(&|value| value["normalizer"] = json!({ "type": "Precompiled" })).ends_with("found Precompiled"));
    assert!(refused(&|value| value["normalizer"]["normalizers"][0]["prepend"] = json!("")).contains("text to prepend"));
    assert!(
        refused(&|value| value["normalizer"]["normalizers"][1]["pattern"] = json!({ "Regex": "b|" })).contains("b|")
    );
    assert!(refused(&|value| value["pre_tokenizer"] = json!({ "type": "FixedLength" })).ends_with("found FixedLength"));
    assert!(refused(&|value| value["version"] = json!("2.0")).contains("tokenizer that can be used"));
    assert!(refused(&|value| value["model"] = json!({ "type": "BPE" })).contains("missing field `vocab`"));
    let whole = llama().to_string();
    for length in (0..whole.len()).step_by(97) {
        let _refused = Tokenizer::from_json(&whole.as_bytes()[..length]).unwrap_err();
    }
}

#[test]
fn a_byte_without_a_token_is_refused_and_not_left_out() {
    let mut value = small();
    let vocab = value["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove("~").unwrap();
    vocab.insert("~~~".into(), id);
    let tokenizer = json(&value).unwrap();
    let refused = tokenizer.encode("a~", None, &Task::default()).unwrap_err();
    assert_eq!(refused.message, "the tokenizer has no token for the byte 0x7E at byte 1");
}

/// A folder with these files, and the access of a run.
fn folder(content: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in content {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let files = Files::unrecorded(&folder.path().join("out")).unwrap();
    (folder, files)
}

fn from_folder(content: &[(&str, Vec<u8>)]) -> Result<Option<Tokenizer>, Error> {
    let (folder, files) = folder(content);
    Tokenizer::from_folder(&files, folder.path())
}

#[test]
fn a_folder_says_what_is_added() {
    let ids = |name: &str, content: Value, config: Value| {
        let content = [(name, content.to_string().into_bytes()), ("tokenizer_config.json", config.to_string().into())];
        let tokenizer = from_folder(&content).unwrap().unwrap();
        tokenizer.encode("a", None, &Task::default()).unwrap().ids
    };
    let json = "tokenizer.json";
    assert_eq!(ids(json, llama(), json!({})), [1, 262]);
    assert_eq!(ids(json, llama(), json!({ "add_bos_token": false })), [262; 1]);
    let both =
        json!({ "bos_token": "<s>", "eos_token": { "content": "</s>" }, "add_bos_token": true, "add_eos_token": true });
    assert_eq!(ids(json, llama(), both), [1, 262, 2]);
    let markers = json!({ "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": null });
    let content = [(json, llama().to_string().into_bytes()), ("tokenizer_config.json", markers.to_string().into())];
    let tokenizer = from_folder(&content).unwrap().unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.rule(), ([1].as_slice(), [].as_slice()));
    let told = self::json(&llama()).unwrap().or_marks(Some(264), Some(50_256));
    assert_eq!((told.bos(), told.eos()), (Some(264), None), "the config of a model may name a token that is none");
    assert_eq!(told.rule(), ([1].as_slice(), [].as_slice()));
}

#[test]
fn the_oldest_files_make_the_same_ids_as_the_newest() {
    let value = small();
    let merges = value["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let merges = std::iter::once("#version: 0.2".to_string()).chain(merges).collect::<Vec<_>>().join("\n");
    let config = json!({ "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "add_bos_token": true });
    let content = [
        ("vocab.json", value["model"]["vocab"].to_string().into_bytes()),
        ("merges.txt", merges.into_bytes()),
        ("tokenizer_config.json", config.to_string().into_bytes()),
    ];
    let tokenizer = from_folder(&content).unwrap().unwrap();
    let text = "He said (in the street): <|endoftext|> the house, 123!\n\n  ";
    let tokens = tokenizer.encode(text, None, &Task::default()).unwrap();
    assert_eq!(tokens.ids[0], 0);
    assert_eq!(tokens.ids[1..], encode(&json(&value).unwrap(), text).ids);
    let other = json!({ "tokenizer_class": "Qwen2Tokenizer" }).to_string().into_bytes();
    let refused = from_folder(&[content[0].clone(), content[1].clone(), ("tokenizer_config.json", other)]).unwrap_err();
    assert!(refused.message.ends_with("found Qwen2Tokenizer"), "{}", refused.message);
}

#[test]
fn a_folder_without_a_tokenizer_has_none_and_a_foreign_one_is_refused() {
    assert!(from_folder(&[]).unwrap().is_none());
    assert!(from_folder(&[("tokenizer.model", vec![0])]).unwrap_err().message.contains("found a tokenizer.model"));
    assert!(from_folder(&[("tokenizer.json", vec![0])]).unwrap_err().message.contains("tokenizer.json: expected"));
    assert!(from_folder(&[("tokenizer.microtome.json", b"{}".into())]).is_err());
}

#[test]
fn what_is_saved_is_the_same_tokenizer_again() {
    let text = "ab é b";
    let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let characters = Tokenizer::characters(list(&["a", "b", " ", "?", "<s>"]), Some("<s>"), Some("?")).unwrap();
    let words = Tokenizer::words(list(&["ab", "b", "<unk>"]), None, Some("<unk>")).unwrap();
    for tokenizer in [json(&llama()).unwrap(), json(&small()).unwrap(), stories(), gguf("llama-spm"), characters, words]
    {
        let (folder, files) = folder(&[]);
        let places = tokenizer.save(&files, Path::new("saved")).unwrap();
        let again = Tokenizer::from_folder(&files, places[0].parent().unwrap()).unwrap().unwrap();
        let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, None, &Task::default()).unwrap().ids;
        assert_eq!(ids(&again), ids(&tokenizer));
        assert_eq!((again.bos(), again.eos(), again.rule()), (tokenizer.bos(), tokenizer.eos(), tokenizer.rule()));
        drop(folder);
    }
}

/// Built once, since every case needs it.
static SMALL: LazyLock<Tokenizer> = LazyLock::new(|| json(&small()).unwrap());

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_text_comes_back_at_once_and_token_by_token(text in "\\PC{0,20}|[a-c \n]{0,30}|(?s:.){0,20}") {
        let tokens = encode(&SMALL, &text);
        prop_assert_eq!(SMALL.decode(&tokens.ids).unwrap(), text.as_str());
        let mut stream = SMALL.stream_after(&[]).unwrap();
        let mut streamed: String = tokens.ids.iter().map(|id| stream.push(*id).unwrap()).collect();
        streamed.push_str(&stream.finish());
        prop_assert_eq!(streamed, text);
        assert_places(&tokens);
    }

    #[test]
    fn ids_make_the_text_that_the_library_makes(ids in proptest::collection::vec(0_u32..318, 0..20)) {
        let library = tokenizers::Tokenizer::from_bytes(small().to_string()).unwrap();
        prop_assert_eq!(SMALL.decode(&ids).unwrap(), library.decode(&ids, false).unwrap());
    }

    #[test]
    fn a_damaged_file_is_no_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut whole = llama().to_string().into_bytes();
        let index = place.index(whole.len());
        whole[index] = byte;
        if let Ok(tokenizer) = Tokenizer::from_json(&whole) {
            let _nor_in_use = tokenizer.encode("ab é <s>", None, &Task::default());
        }
        let mut whole = bytes("tokenizers/tok512.bin");
        let index = place.index(whole.len());
        whole[index] = byte;
        if let Ok(tokenizer) = Tokenizer::from_llama2c(&whole, None) {
            let _nor_in_use = tokenizer.encode("ab é <s>", None, &Task::default());
        }
    }
}

#[test]
fn steps_that_multiply_and_tables_that_fill_the_memory_are_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = llama();
        change(&mut value);
        json(&value).unwrap_err().message
    };
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let nine: Vec<Value> = (0..9).map(|_| replace("a", "aaaaaaaaaa")).collect();
    let multiplied = "expected steps that make a text at most 32 times as long, found more";
    let steps = refused(&|value| value["normalizer"]["normalizers"] = json!(nine));
    assert_eq!(steps, format!("normalizer: {multiplied}"));
    let decoders = refused(&|value| value["decoder"]["decoders"] = json!(nine));
    assert_eq!(decoders, format!("decoder: {multiplied}"));
    let everywhere = refused(&|value| value["decoder"]["decoders"] = json!([replace("", "x")]));
    assert_eq!(everywhere, "decoder: expected a text to replace, found an empty one");
    let long = "x".repeat(50 << 20);
    let prepended = refused(&|value| value["normalizer"]["normalizers"][0]["prepend"] = json!(long));
    assert!(prepended.ends_with("expected at most 1024 bytes as `prepend`, found 52428800"), "{prepended}");
    assert!(refused(&|value| value["model"]["end_of_word_suffix"] = json!("x".repeat(2000))).contains("suffix"));
    let template = refused(&|value| {
        value["post_processor"]["special_tokens"]["<s>"]["ids"] = json!(vec![1; 1000]);
        let special = value["post_processor"]["single"][0].clone();
        value["post_processor"]["single"] = json!(vec![special; 1000]);
    });
    assert_eq!(template, "post_processor: expected at most 1024 tokens at an end of a text, found more");
    let added = refused(&|value| {
        let mut token = value["added_tokens"][2].clone();
        token["content"] = json!("x".repeat(5 << 20));
        token["id"] = json!(265);
        value["added_tokens"].as_array_mut().unwrap().push(token);
    });
    assert!(added.contains("expected the added tokens to take at most 1.0 GiB"), "{added}");
}

/// A Unigram model of runs of one letter, up to this length.
fn unigram(longest: usize) -> Value {
    let runs = (1..=longest).map(|length| json!(["a".repeat(length), -1.0]));
    let vocab: Vec<Value> = std::iter::once(json!(["<unk>", 0.0])).chain(runs).collect();
    json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false } })
}

#[test]
fn whatever_a_file_makes_of_a_text_an_interruption_is_heard() {
    // It backtracks over the rest of the text from every letter.
    let mut backtracking = small();
    let ahead = "(?=[^b]*c)|".repeat(8);
    backtracking["pre_tokenizer"] = json!({ "type": "Split", "pattern": { "Regex": format!("a(?:{ahead}(?=[^b]*d))") },
        "behavior": "Isolated", "invert": false });
    for file in [backtracking, unigram(300)] {
        let tokenizer = json(&file).unwrap();
        let text = "a".repeat(1 << 15);
        let task = Task::default();
        kit::raise_after(task.flag(), 50);
        assert_eq!(tokenizer.encode(&text, Some(false), &task).err(), Some(Error::interrupted()));
        let task = Task::default();
        kit::raise_after(task.flag(), 50);
        assert_eq!(tokenizer.token(&text, &task).err(), Some(Error::interrupted()));
    }
    let refused = json(&unigram(3000)).unwrap_err().message;
    assert_eq!(refused, "model: expected tokens of at most 1024 bytes, found one of 3000");
}

#[test]
fn what_is_published_is_split_where_it_is_asked_for() {
    // On another thread, the interruption would come first.
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    for tokenizer in [json(&llama()).unwrap(), json(&small()).unwrap(), gguf("gpt-2"), json(&unigram(16)).unwrap()] {
        assert!(tokenizer.encode("aaa", Some(false), &task).is_ok());
    }
}
