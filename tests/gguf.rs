//! GGUF files that cannot be used: each is one error in a session, which goes on as it was.

use std::path::Path;

use microtome::tensor::files::gguf_value::Value;

use crate::support::{on_large_stack, session};
use crate::torture::samples::{gguf, gguf_with};

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

#[test]
fn each_file_that_cannot_be_used_is_one_error_and_the_session_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let load = "model::load(place)";
    let whole = gguf();
    let cases: [(&str, Vec<u8>, &str, &str); 8] = [
        (
            "cut.gguf",
            whole[..whole.len() - 32].to_vec(),
            load,
            "cut.gguf: token_embd.weight: expected 544 bytes at offset",
        ),
        ("head.gguf", whole[..600].to_vec(), load, "head.gguf: "),
        (
            "kind.gguf",
            of_kind(16),
            load,
            "kind.gguf: token_embd.weight: expected a type of tensor that is read here, found type 16 (IQ2_XXS)",
        ),
        (
            "newer.gguf",
            of_kind(77),
            load,
            "newer.gguf: token_embd.weight: expected a type of tensor that is read here, found type 77",
        ),
        (
            "m-00001-of-00002.gguf",
            gguf_with(&[
                ("split.no", Value::Unsigned(0)),
                ("split.count", Value::Unsigned(2)),
                ("split.tensors.count", Value::Unsigned(24)),
            ]),
            load,
            "m-00001-of-00002.gguf: expected part 2 of 2 of this model as m-00002-of-00002.gguf beside it, found none",
        ),
        (
            "cuts.gguf",
            gguf_with(&[("tokenizer.ggml.pre", text("llama-bpe"))]),
            load,
            "cuts.gguf: tokenizer.ggml: expected `default` as `pre` of a SentencePiece tokenizer, found `llama-bpe`",
        ),
        (
            "other.gguf",
            gguf_with(&[("general.architecture", text("lama"))]),
            load,
            "other.gguf: the architecture `lama` of GGUF files is not known here: no meaning here have the keys `llama.",
        ),
        (
            "long.gguf",
            gguf(),
            "model::load(place).generate([1, 2, 3, 4, 5, 6, 7, 8, 9], #{ tokens: 4 })",
            "the text has 9 tokens",
        ),
    ];
    for (name, bytes, line, message) in cases {
        let place = folder.path().to_path_buf();
        let (found, hint) = on_large_stack(move || refused(&place, name, &bytes, line));
        assert!(found.starts_with(message), "{name}: {found}");
        assert!(hint.is_some(), "{name}: {found}");
    }
}
