//! GGUF files that cannot be used: each is one error in a session, which goes on as it was.

use std::path::Path;
use std::sync::atomic::Ordering;

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::{Kind, Task};
use microtome::checkpoint::load::LoadSettings;
use microtome::model::Model;
use microtome::tensor::files::gguf_value::Value;

use crate::support::{on_large_stack, session};
use crate::torture::samples::{gguf, gguf_with};
use crate::watch::Watch;

/// A file with another kind of blocks for the embedding.
fn of_kind(kind: u32) -> Vec<u8> {
    const NAME: &[u8] = b"token_embd.weight";
    let mut bytes = gguf();
    // Behind the name: the number of axes, two sizes, the kind.
    let place = bytes.windows(NAME.len()).position(|window| window == NAME).unwrap() + NAME.len() + 4 + 2 * 8;
    bytes[place..place + 4].copy_from_slice(&kind.to_le_bytes());
    bytes
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// What a line fails with while a model of a good file is at hand, which computes the same afterwards.
fn refused(folder: &Path, name: &str, bytes: &[u8], line: &str) -> (String, Option<String>) {
    std::fs::write(folder.join("good.gguf"), gguf()).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
    let mut session = session(folder);
    let shown = folder.display();
    let before = format!(
        "let place = \"{shown}/{name}\"; let m = model::load(\"{shown}/good.gguf\"); let logits = m.logits([1, 2, 3]);"
    );
    let _ = session.eval("before", &before).unwrap();
    let failure = session.eval("line", line).unwrap_err();
    let _ = session.eval("after", "if !m.logits([1, 2, 3]).equal(logits) { throw \"the model is another\" }").unwrap();
    (failure.message.replace(&format!("{shown}/"), ""), failure.hint)
}

/// A file that cannot be used: its name and bytes, what it is asked, and how the message begins.
type BadFile = (&'static str, Vec<u8>, &'static str, &'static str);

const LOAD: &str = "model::load(place)";

fn bad_files() -> Vec<BadFile> {
    let whole = gguf();
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::Text).collect());
    let years = (1990..2010).map(|year| format!("\u{120} {year}")).collect();
    vec![
        (
            "cut.gguf",
            whole[..whole.len() - 32].to_vec(),
            LOAD,
            "cut.gguf: token_embd.weight: expected 544 bytes at offset",
        ),
        ("head.gguf", whole[..600].to_vec(), LOAD, "head.gguf: "),
        (
            "kind.gguf",
            of_kind(16),
            LOAD,
            "kind.gguf: token_embd.weight: expected a type of tensor that is read here, found type 16 (IQ2_XXS)",
        ),
        (
            "newer.gguf",
            of_kind(77),
            LOAD,
            "newer.gguf: token_embd.weight: expected a type of tensor that is read here, found type 77",
        ),
        (
            "m-00001-of-00002.gguf",
            gguf_with(&[
                ("split.no", Value::Unsigned(0)),
                ("split.count", Value::Unsigned(2)),
                ("split.tensors.count", Value::Unsigned(24)),
            ]),
            LOAD,
            "m-00001-of-00002.gguf: expected part 2 of 2 of this model as m-00002-of-00002.gguf beside it, found none",
        ),
        (
            "cuts.gguf",
            gguf_with(&[("tokenizer.ggml.pre", text("llama-bpe"))]),
            LOAD,
            "cuts.gguf: tokenizer.ggml: expected `default` as `pre` of a SentencePiece tokenizer, found `llama-bpe`",
        ),
        (
            "years.gguf",
            gguf_with(&[
                ("tokenizer.ggml.model", text("gpt2")),
                ("tokenizer.ggml.pre", text("llama-bpe")),
                ("tokenizer.ggml.merges", texts(years)),
            ]),
            LOAD,
            "years.gguf: tokenizer.ggml: expected a pre-tokenizer in `pre` that leaves in one piece what merges join, \
             found `llama-bpe`, which cuts 20 of 20 such texts",
        ),
        (
            "strange.gguf",
            gguf_with(&[("tokenizer.ggml.model", text("gpt2")), ("tokenizer.ggml.pre", text("lama-bpe"))]),
            LOAD,
            "strange.gguf: tokenizer.ggml: expected a pre-tokenizer that is known, found `lama-bpe`",
        ),
        (
            "other.gguf",
            gguf_with(&[("general.architecture", text("lama"))]),
            LOAD,
            "other.gguf: the architecture `lama` of GGUF files is not known here: no meaning here have the keys `llama.",
        ),
        (
            "wide.gguf",
            gguf_with(&[("llama.feed_forward_length", Value::Unsigned(128))]),
            LOAD,
            "wide.gguf: tensor `blk.0.ffn_",
        ),
        (
            "long.gguf",
            whole,
            "model::load(place).generate([1, 2, 3, 4, 5, 6, 7, 8, 9], #{ tokens: 4 })",
            "the text has 9 tokens",
        ),
    ]
}

#[test]
fn each_file_that_cannot_be_used_is_one_error_and_the_session_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, line, message) in bad_files() {
        let place = folder.path().to_path_buf();
        let (found, hint) = on_large_stack(move || refused(&place, name, &bytes, line));
        assert!(found.starts_with(message), "{name}: {found}");
        assert!(hint.is_some(), "{name}: {found}");
    }
}

/// A file is read twice as a whole: for its hash in the record of a run, which ends at once here, and for its weights.
#[test]
fn what_cannot_be_used_is_refused_by_the_header_before_its_file_is_hashed_or_its_weights_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let hashing = Task::default();
    hashing.flag().store(true, Ordering::Relaxed);
    let load = |name: &str, bytes: &[u8], is_recorded: bool| {
        let place = folder.path().join(name);
        std::fs::write(&place, bytes).unwrap();
        let access = Access::new(&folder.path().join("out"), &Rules::default()).unwrap();
        let files = Files::new(access, is_recorded).heeding(&hashing);
        let (task, watch) = Watch::task();
        let loaded = Model::load(&files, &place.display().to_string(), &LoadSettings::default(), &task);
        let is_read = watch.begun().iter().any(|label| label.starts_with("loading "));
        (loaded.err(), is_read)
    };
    let (hashed, is_read) = load("good.gguf", &gguf(), true);
    assert_eq!((hashed.unwrap().kind, is_read), (Kind::Interrupted, false));
    let (error, is_read) = load("good.gguf", &gguf(), false);
    assert!(error.is_none() && is_read);
    for (name, bytes, _, message) in bad_files().into_iter().filter(|(_, _, line, _)| *line == LOAD) {
        for is_recorded in [true, false] {
            let (error, is_read) = load(name, &bytes, is_recorded);
            let error = error.unwrap();
            assert!(error.kind != Kind::Interrupted && error.message.contains(message), "{name}: {error}");
            assert!(!is_read, "{name}");
        }
    }
}
