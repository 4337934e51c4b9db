//! Tests of chats: what transformers makes of them, and what is refused.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::base::Kind;
use crate::base::files::Files;
use crate::model::fixtures::{config, decoder};
use crate::tensor::DType;
use crate::tokenizer::Tokenizer;

/// Loads a model with this tokenizer_config.json.
fn model(config_json: &Value) -> (Model, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(kit::fixture("models/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config_json.to_string()).unwrap();
    (of_folder(folder.path()), folder)
}

fn of_folder(folder: &Path) -> Model {
    let tokenizer = Tokenizer::from_folder(&Files::unrecorded(folder).unwrap(), folder).unwrap();
    Model::new(decoder(config(), DType::F32), tokenizer, "here")
}

fn said(model: &Model, messages: Value, options: &ChatOptions) -> Result<String> {
    model.chat(messages, options, &Task::default()).map(|tokens| tokens.text)
}

#[test]
fn chats_are_those_of_transformers() {
    let expected = kit::json("chat/expected.json");
    let mut made = 0;
    let mut refused = 0;
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
    of_files.tokenizer().unwrap().save(&Files::unrecorded(out.path()).unwrap(), out.path()).unwrap();
    let again = of_folder(out.path());
    for name in ["default", "tool_use", "rag"] {
        let a = said(&again, messages.clone(), &named(name));
        let b = said(&of_files, messages.clone(), &named(name));
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
    let syntax = said(&plain, messages.clone(), &with("{% for %}")).unwrap_err();
    assert!(syntax.message.starts_with("the chat template cannot be read: syntax error"), "{syntax}");
    let undefined = said(&plain, messages.clone(), &with("{{ tools[0].name }}")).unwrap_err();
    assert!(undefined.message.starts_with("the chat template cannot be filled in"), "{undefined}");
    let wrong = json!({ "chat_template": 3 });
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(kit::fixture("models/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), wrong.to_string()).unwrap();
    assert!(Tokenizer::from_folder(&Files::unrecorded(folder.path()).unwrap(), folder.path()).is_err());
}

#[test]
fn tags_around_answers_vanish_and_keep_the_spaces_around_them() {
    let found = without_marks_of_answers("a {%- generation -%} b {% endgeneration %}{% if x %}{%");
    assert_eq!(found, "a {%- if true -%} b {% endif %}{% if x %}{%");
}

/// Renders a template that has the namespace `n`, with few steps to take.
fn made(template: &str) -> Result<String> {
    let template = format!("{{% set n = namespace(x='x', y=[1]) %}}{template}");
    Task::default().apart(move || rendered(&template, &Map::new(), None, 100_000))
}

#[test]
fn all_that_a_template_makes_is_counted() {
    let often = |body: &str| format!("{{% for i in range(999) %}}{body}{{% endfor %}}");
    let attacks = [
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}".into(),
        "{{ ('h' * 999).replace('h', 'h' * 9999).replace('h', 'h' * 99999) }}".into(),
        "{{ ('h' * 999) | replace('h', 'h' * 9999) }}".into(),
        "{{ ([0] * 99999999) | tojson }}".into(),
        "{{ ([[[['']]]] * 20000) | tojson(indent=16) }}".into(),
        often("{% set n.x = n.x ~ n.x %}"),
        often("{% set n.x = n.x + n.x %}"),
        often("{% set n.x = n.x * 9 %}"),
        often("{% set n.y = n.y + n.y %}"),
        often("{% set n.y = n.y * 9 %}"),
        often("{% set n.y = [n.y, n.y] %}"),
        often("{% set n.y = (n.y, n.y) %}"),
        often("{% set n.y = {'a': n.y, 'b': n.y} %}"),
        often("{% set n.y = namespace(a=n.y, b=n.y) %}"),
        often("{% set t %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = t %}"),
        ["{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}", &often("{% set n.x = m(n.x) %}")].concat(),
        "{{ '' ~ [0] * 99999999 }}".into(),
        "{{ [0] * 99999999 }}".into(),
        "{{ [0] * 99999999 == [0] * 99999998 }}".into(),
        "{{ 1 in [0] * 99999999 }}".into(),
        "{{ ([0] * 99999999) | string }}".into(),
        "{{ ([0] * 99999999) | join('and') }}".into(),
        "{{ 'and'.join([0] * 99999999) }}".into(),
        "{{ (['x'] * 999) | join('h' * 99999) }}".into(),
        "{{ ('h' * 99999).join(['x'] * 999) }}".into(),
        "{{ ('a,' * 999999).split(',') | length }}".into(),
        "{{ '%999999999d' | format(1) }}".into(),
        "{{ '%*d' | format(999999999, 1) }}".into(),
        "{{ ('%(a)s' * 9999) | format(a='h' * 9999) }}".into(),
        "{{ '{:999999999}'.format(1) }}".into(),
        "{{ ('{0}' * 9999).format('h' * 9999) }}".into(),
        "{{ [1] | batch(999999999, 'x') }}".into(),
        "{{ [1] | slice(999999999) }}".into(),
        "{{ 'x' | indent(999999999, true) }}".into(),
        "{{ raise_exception([0] * 99999999) }}".into(),
    ];
    for attack in attacks {
        let error = made(&attack).unwrap_err();
        assert!(error.message.contains("at most 100000 steps, of which 64 bytes of text are one"), "{attack}: {error}");
    }
    let nested = [often("{% set n.y = [n.y] %}"), "{% set n.x = n %}{{ n.x == n }}".into()];
    for attack in nested {
        let error = made(&attack).unwrap_err();
        assert_eq!(
            error.message, "expected a chat template that nests values at most 100 deep, found more",
            "{attack}"
        );
    }
    let chain = |what: &str| made(&format!("{{{{ n{} }}}}", what.repeat(999))).unwrap_err().message;
    for what in [" + 1", "|int", ".a", "[0]"] {
        assert!(chain(what).contains("more than 500 operators or branches in a chain"), "{what}: {}", chain(what));
    }
    let long = [
        format!("{{{{ {}1 }}}}", "-".repeat(9999)),
        format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(999)),
    ];
    for what in long {
        let error = made(&what).unwrap_err();
        assert!(error.message.contains("at most 5000 words and signs in a tag, and 500 branches"), "{error}");
    }
    let held = made("{% for a in n.y %}{% set n.x = [loop] %}{% endfor %}").unwrap_err();
    assert!(held.message.contains("`loop` can be asked and called"), "{held}");
    assert!(made(&" ".repeat(300_000)).unwrap_err().message.contains("at most 262144 bytes, found"));
    // Slices of slices are lists, however often, and what is counted is what it was.
    let slices = "{% set n.y = n.y[0:] %}{% set n.x = n.x[0:] %}";
    assert_eq!(made(&(often(slices) + "{{ n.y }}{{ n.x ~ 1 }}")).unwrap(), "[1]x1");
    let loops =
        "{% for a in [1, 2] %}{{ loop.index }}{{ loop.cycle('a', 'b') }}{% if not loop.last %},{% endif %}{% endfor %}";
    assert_eq!(made(loops).unwrap(), "1a,2b");
    let branch = "{% if a is sequence %}{{ loop(a) }}{% else %}{{ a }}{% endif %}";
    let tree = format!("{{% for a in [[1, [2]]] recursive %}}{branch}{{% endfor %}}");
    assert_eq!(made(&tree).unwrap(), "12");
    let caller = "{% macro m(x='c') %}{{ x }}{{ caller(1) }}{% endmacro %}{% call(a) m() %}{{ a }}{% endcall %}";
    assert_eq!(made(caller).unwrap(), "c1");
    assert_eq!(made("{% filter upper %}{{ n.x }}{% endfilter %}{% with a = 2 %}{{ a }}{% endwith %}").unwrap(), "X2");
    assert_eq!(made("{% set a, b = [1, 2] %}{{ a < b <= 2 }}{{ -a }}{{ b if c is defined }}").unwrap(), "True-1");
}
