//! Tests of chats: what transformers makes of them, and what is refused.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::base::Kind;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::model::fixtures::{config, decoder};
use crate::model::tokenizer::Tokenizer;
use crate::tensor::DType;

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models/tokenizer.json");
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/chat/expected.json");

fn files(folder: &Path) -> Files {
    Files::new(Access::new(folder, &Rules::default()).unwrap(), false)
}

/// A model whose tokenizer_config.json is this.
fn model(config_json: &Value) -> (Model, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(TOKENIZER, folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config_json.to_string()).unwrap();
    (of_folder(folder.path()), folder)
}

fn of_folder(folder: &Path) -> Model {
    let tokenizer = Tokenizer::from_folder(&files(folder), folder).unwrap();
    Model {
        decoder: std::sync::Arc::new(decoder(config(), DType::F32)),
        tokenizer,
        origin: "here".into(),
        published: None,
        history: None,
    }
}

fn said(model: &Model, messages: Value, options: &ChatOptions) -> Result<String> {
    model.chat(messages, options, &Task::default()).map(|tokens| tokens.text)
}

#[test]
fn chats_are_those_of_transformers() {
    let text = std::fs::read_to_string(EXPECTED).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let (mut made, mut refused) = (0, 0);
    for case in expected["cases"].as_array().unwrap() {
        let template = &expected["templates"][case["template"].as_str().unwrap()];
        let marks =
            json!({ "chat_template": template, "bos_token": "<|endoftext|>", "eos_token": { "content": "</s>" } });
        let (model, _folder) = model(&marks);
        let options = ChatOptions {
            answer: case["answer"] == true,
            values: ConfigFields(case["values"].as_object().cloned().unwrap_or_default()),
            date: Some(expected["date"].as_str().unwrap().into()),
            ..ChatOptions::default()
        };
        let found = model.chat(case["messages"].clone(), &options, &Task::default());
        match case["error"].as_str() {
            None => {
                let found = found.unwrap_or_else(|e| panic!("{case}: {e}"));
                assert_eq!(found.text, case["text"].as_str().unwrap(), "{case}");
                assert_eq!(json!(found.ids), case["ids"], "{case}");
                assert_eq!((found.front, found.back), (0, 0));
                made += 1;
            }
            Some(why) => {
                let error = found.unwrap_err();
                assert_eq!(error.message, format!("the chat template refuses these messages: {why}"));
                refused += 1;
            }
        }
    }
    assert_eq!((made, refused), (48, 3));
}

#[test]
fn templates_lie_in_the_config_or_in_files_of_their_own_and_are_saved() {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let named = |name: &str| ChatOptions { template: Some(name.into()), ..ChatOptions::default() };
    let several = json!({ "chat_template": [
        { "name": "default", "template": "one {{ messages[0].content }}" },
        { "name": "tool_use", "template": "two {{ messages[0].content }}" },
    ] });
    let (listed, folder) = model(&several);
    assert_eq!(said(&listed, messages.clone(), &ChatOptions::default()).unwrap(), "one hi");
    assert_eq!(said(&listed, messages.clone(), &named("tool_use")).unwrap(), "two hi");
    let error = said(&listed, messages.clone(), &named("tool_uze")).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `tool_use`?"));
    std::fs::write(folder.path().join("chat_template.jinja"), "three\n").unwrap();
    std::fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
    std::fs::write(folder.path().join("additional_chat_templates/rag.jinja"), "four").unwrap();
    let of_files = of_folder(folder.path());
    assert_eq!(said(&of_files, messages.clone(), &ChatOptions::default()).unwrap(), "three");
    assert_eq!(said(&of_files, messages.clone(), &named("rag")).unwrap(), "four");

    let out = tempfile::tempdir().unwrap();
    of_files.tokenizer().unwrap().save(&files(out.path()), out.path()).unwrap();
    let again = of_folder(out.path());
    for name in ["default", "tool_use", "rag"] {
        let (a, b) = (said(&again, messages.clone(), &named(name)), said(&of_files, messages.clone(), &named(name)));
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

#[test]
fn what_cannot_be_rendered_says_why() {
    let (plain, _folder) = model(&json!({}));
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let with = |template: &str| ChatOptions { template: Some(template.into()), ..ChatOptions::default() };
    let none = said(&plain, messages.clone(), &ChatOptions::default()).unwrap_err();
    assert_eq!(none.message, "this model's tokenizer has no chat template");
    assert_eq!(said(&plain, messages.clone(), &with("{{ messages[0].content }}")).unwrap(), "hi");
    for strange in [json!([]), json!("hi"), json!([{ "content": "hi" }]), json!([{ "role": 3 }])] {
        let error = said(&plain, strange, &with("{{ 1 }}")).unwrap_err();
        assert!(error.message.starts_with("expected messages, each a map with a `role`, found "), "{error}");
    }
    let dated = "{{ strftime_now('%d.%m.') }}";
    assert!(said(&plain, messages.clone(), &with(dated)).unwrap_err().message.starts_with("expected a `date`"));
    let day = |day: &str, format: &str| ChatOptions { date: Some(day.into()), ..with(format) };
    assert_eq!(said(&plain, messages.clone(), &day("2026-01-31", dated)).unwrap(), "31.01.");
    assert_eq!(said(&plain, messages.clone(), &day("tomorrow", dated)).unwrap_err().kind, Kind::Argument);
    let format = said(&plain, messages.clone(), &day("2026-01-31", "{{ strftime_now('%Q!') }}")).unwrap_err();
    assert!(format.message.contains("`%Q!` is no format of a date"), "{format}");
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
    assert!(said(&plain, messages.clone(), &with(endless)).unwrap_err().message.contains("does not end"));
    let syntax = said(&plain, messages.clone(), &with("{% for %}")).unwrap_err();
    assert!(syntax.message.starts_with("the chat template cannot be read: syntax error"), "{syntax}");
    let undefined = said(&plain, messages.clone(), &with("{{ tools[0].name }}")).unwrap_err();
    assert!(undefined.message.starts_with("the chat template cannot be filled in"), "{undefined}");
    let wrong = json!({ "chat_template": 3 });
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(TOKENIZER, folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), wrong.to_string()).unwrap();
    assert!(Tokenizer::from_folder(&files(folder.path()), folder.path()).is_err());
}

#[test]
fn tags_around_answers_vanish_and_keep_the_spaces_around_them() {
    let found = without_marks_of_answers("a {%- generation -%} b {% endgeneration %}{% if x %}{%");
    assert_eq!(found, "a {%- if true -%} b {% endif %}{% if x %}{%");
}
