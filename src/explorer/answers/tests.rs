//! Answers beside the plain functions of the library.

use kit::close;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tokens::spots;
use super::{Question, answer};
use crate::base::files::Files;
use crate::base::{Kind, Result, Task};
use crate::checkpoint::load::{INSIDE, LoadSettings};
use crate::circuit::tree::{TreeOptions, causal_tree};
use crate::data::pack::gathered;
use crate::explorer::Explorer;
use crate::explorer::samples::{explorer, of_one};
use crate::features::card::{CardPlan, SurveyedDictionary, card};
use crate::features::heads::HeadsOptions;
use crate::features::overview::OverviewOptions;
use crate::features::{Feature, HeadCards, Overview};
use crate::intervene::{FeatureHook, FeatureHookOptions};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::hooks::Action;
use crate::model::predict::likeliest;
use crate::model::reading::compare::kl;
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::model::run::Ask;
use crate::report::dashboard;
use crate::report::items::Item;
use crate::sae::site_of;
use crate::tensor::DType;

const TEXT: &str = "(ab)c(xyz)q";

fn task() -> Task {
    Task::default()
}

/// Returns the lines that were said, and the last one.
fn ask(explorer: &Explorer, ask: &str, question: Value) -> (Vec<Value>, Result<Value>) {
    let mut said = Vec::new();
    let last = Question::parse(ask, question)
        .and_then(|question| answer(explorer, question, &mut |line| said.push(line), &task()));
    (said, last)
}

fn found(explorer: &Explorer, name: &str, question: Value) -> Value {
    ask(explorer, name, question).1.unwrap()
}

fn ids(explorer: &Explorer, text: &str) -> Vec<u32> {
    explorer.model.tokenizer().unwrap().encode(text, None, &task()).unwrap().ids
}

/// Returns the codes of a text by one run and a dense encoding.
fn codes(explorer: &Explorer, dictionary: usize, text: &str) -> Vec<Vec<f32>> {
    let of = &explorer.dictionaries[dictionary];
    let ask = Ask { places: vec![of.place], ..Ask::default() };
    let batch = Batch::new(vec![ids(explorer, text)]).unwrap();
    let cache = explorer.model.decoder.cache(&batch, ask, &task()).unwrap();
    of.sae.encode(&cache.at(of.place).unwrap()).unwrap().get(0).unwrap().to_vec2().unwrap()
}

#[test]
fn a_text_is_read_as_the_plain_functions_do() {
    let explorer = explorer();
    let read = found(&explorer, "read", json!({ "text": TEXT, "dictionary": 1, "top": 2 }));
    let batch = Batch::new(vec![ids(&explorer, TEXT)]).unwrap();
    let losses = explorer.model.decoder.losses(&batch, vec![], &task()).unwrap()[0].to_vec1::<f32>().unwrap();
    assert!(read["loss"][0].is_null() && read["loss"].as_array().unwrap().len() == TEXT.len());
    for (at, loss) in losses.iter().enumerate() {
        assert!(close(&read["loss"][at + 1], *loss, 1e-4));
    }
    let logits = explorer.model.decoder.logits(&batch, vec![], &task()).unwrap().get(0).unwrap();
    for (at, expected) in likeliest(&logits, -1, 10).unwrap().iter().enumerate() {
        assert!(close(&read["next"][at][1], expected.probability, 1e-4));
    }
    let codes = codes(&explorer, 1, TEXT);
    for (at, row) in codes.iter().enumerate() {
        let mut all: Vec<(usize, f32)> = row.iter().copied().enumerate().filter(|(_, code)| *code != 0.0).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let listed = read["features"][at].as_array().unwrap();
        assert_eq!(listed.len(), 2);
        for (found, (feature, code)) in listed.iter().zip(all) {
            assert_eq!(found[0], feature);
            assert!(close(&found[1], code, 1e-4));
        }
        assert_eq!(read["tokens"][at], json!({ "text": &TEXT[at..=at], "start": at, "end": at + 1 }));
    }
    assert!(read.get("codes").is_none());
    let chosen = found(&explorer, "read", json!({ "text": TEXT, "dictionary": 1, "chosen": 5 }));
    assert!((0..TEXT.len()).all(|at| close(&chosen["codes"][at], codes[at][5], 1e-4)));
    let active = read["active"].as_array().unwrap();
    assert!(active.windows(2).all(|pair| pair[0][1].as_f64() >= pair[1][1].as_f64()));
    for row in active {
        let of: Vec<f32> = codes.iter().map(|codes| codes[row[0].as_u64().unwrap() as usize]).collect();
        assert!(close(&row[1], of.iter().copied().fold(0.0, f32::max), 1e-4));
        assert_eq!(row[2].as_u64().unwrap() as usize, of.iter().filter(|code| **code != 0.0).count());
        assert!(close(&row[3], of.iter().map(|code| f64::from(*code)).sum::<f64>(), 1e-4));
        assert!(close(of[row[4].as_u64().unwrap() as usize], &row[1], 1e-4));
    }
}

#[test]
fn heads_have_the_scores_and_cards_of_the_plain_function() {
    let explorer = explorer();
    let options = HeadsOptions::default();
    let model = &explorer.model;
    let tokenizer = model.tokenizer().unwrap();
    let rows = gathered(&explorer.text, tokenizer, 12, Some(options.rows), &task(), |row| Ok(row.ids)).unwrap();
    let saes: Vec<_> = explorer.dictionaries.iter().map(|of| of.sae.clone()).collect();
    let expected = HeadCards::of(model, explorer.text.name(), rows, &saes, &options, &task()).unwrap();
    let all = found(&explorer, "heads", json!({}));
    for (row, card) in all["rows"].as_array().unwrap().iter().zip(&expected.cards) {
        assert_eq!(row, &json!([card.layer, card.head, card.scores.all()]));
    }
    let one = found(&explorer, "head", json!({ "layer": 1, "head": 2 }));
    let card = &expected.head(1, 2).unwrap().card;
    assert_eq!(one["card"], dashboard::card(card));
    // Two tables of tokens, and of the dictionary before the head what it reads, of that behind it what it writes.
    assert_eq!(card.tables.len(), 4);
    let (_, missing) = ask(&explorer, "head", json!({ "layer": 7, "head": 0 }));
    assert!(missing.unwrap_err().message.contains("no head 7.0"));
}

#[test]
fn a_text_is_read_by_all_lenses_as_the_plain_function_does() {
    let explorer = explorer();
    let model = &explorer.model;
    let fitted: Vec<_> = explorer.lenses.iter().map(|(_, lens)| lens).collect();
    let page = |text: &str| {
        let batch = Batch::new(vec![ids(&explorer, text)]).unwrap();
        let name = |id: u32| model.tokenizer().unwrap().text_of(id).unwrap();
        LensPage::of(model, &batch, &fitted, &LensPageOptions::default(), Vec::new(), &name, &task()).unwrap()
    };
    let shown = found(&explorer, "lenses", json!({ "text": TEXT }));
    let names: Vec<String> = page(TEXT).lenses.into_iter().map(|lens| lens.name).collect();
    assert_eq!(names, ["logit lens", "Jacobian lens"]);
    assert_eq!(shown["html"], page(TEXT).html().unwrap());
    assert_eq!((&shown["read"], &shown["tokens"]), (&json!(TEXT.len()), &json!(TEXT.len())));
    // Beyond the context nothing is read, and of nothing there are no maps.
    let cut = found(&explorer, "lenses", json!({ "text": "abc".repeat(20) }));
    assert_eq!(cut["html"], page(&"abc".repeat(4)).html().unwrap());
    assert_eq!(found(&explorer, "lenses", json!({ "text": "" })), json!({ "html": "", "read": 0, "tokens": 0 }));
}

#[test]
fn position_0_counts_for_nothing_where_it_is_left_out() {
    let explorer = explorer();
    let ask = |name: &str, more: Value| {
        let mut question = json!({ "text": TEXT, "texts": [TEXT, "x"], "dictionary": 1, "without_first": true });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        found(&explorer, name, question)
    };
    let codes = codes(&explorer, 1, TEXT);
    let of = |feature: &Value| codes[1..].iter().map(|row| row[feature.as_u64().unwrap() as usize]).collect::<Vec<_>>();
    let read = ask("read", json!({}));
    let active = read["active"].as_array().unwrap();
    let is_active = |feature: &usize| codes[1..].iter().any(|row| row[*feature] != 0.0);
    assert_eq!(active.len(), (0..24).filter(is_active).count());
    for row in active {
        let of = of(&row[0]);
        assert!(close(&row[1], of.iter().copied().fold(0.0, f32::max), 1e-4), "{row}");
        assert_eq!(row[2].as_u64().unwrap() as usize, of.iter().filter(|code| **code != 0.0).count());
        assert!(row[4].as_u64().unwrap() > 0, "{row}");
    }
    // What stands at position 0 is said all the same.
    let whole = found(&explorer, "read", json!({ "text": TEXT, "dictionary": 1 }));
    assert_eq!(read["features"][0], whole["features"][0]);
    // Nothing is left of a text of one token.
    for row in ask("compare", json!({}))["features"].as_array().unwrap() {
        let of = of(&row[0]);
        assert_eq!((row[2].as_f64(), row[4].as_f64()), (Some(0.0), Some(0.0)));
        assert!(close(&row[3], of.iter().map(|code| f64::from(*code)).sum::<f64>() / of.len() as f64, 1e-4));
    }
    assert_eq!(ask("read", json!({ "text": "x" }))["active"], json!([]));
}

#[test]
fn what_the_model_does_not_read_is_cut_and_nothing_is_nothing() {
    let explorer = explorer();
    let read = found(&explorer, "read", json!({ "text": "abc".repeat(20), "dictionary": 0 }));
    assert_eq!((read["tokens"].as_array().unwrap().len(), read["cut"].as_u64()), (12, Some(48)));
    let none = found(&explorer, "read", json!({ "text": "", "dictionary": 0 }));
    assert_eq!((&none["tokens"], &none["active"]), (&json!([]), &json!([])));
    let apart = found(&explorer, "compare", json!({ "texts": ["", ""], "dictionary": 0 }));
    assert_eq!(apart["features"], json!([]));
}

#[test]
fn a_token_that_is_a_part_of_a_character_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let model = Model::load(&files, INSIDE, &LoadSettings::default(), &task()).unwrap();
    for text in ["aé😀b", "😀", "שלום\u{202e}", "\u{0}\u{7}", "e\u{301}…"] {
        let tokens = model.tokenizer().unwrap().encode(text, None, &task()).unwrap();
        let spots = spots(&tokens).unwrap();
        let units: Vec<u16> = text.encode_utf16().collect();
        assert_eq!(spots.len(), tokens.len());
        for (spot, range) in spots.iter().zip(&tokens.offsets) {
            // What JavaScript slices there is whole characters, with all that the token stands for.
            let slice = String::from_utf16(&units[spot.start..spot.end]).unwrap();
            assert!(range.is_empty() || text.get(range.clone()).is_none_or(|own| own == slice), "{spot:?} {slice}");
            assert!(range.is_empty() == slice.is_empty(), "{spot:?}");
        }
    }
}

/// Checks that a changed text is read as by an explorer that knows no other: each text but the first has a beginning in
/// common with the one before it, or is longer, shorter, or another.
#[test]
fn a_text_that_was_changed_is_read_as_by_an_explorer_that_knows_no_other() {
    let used = explorer();
    for text in ["(ab)c", "(ab)c(x", "(ab)c(xyz)q", "(ab)c(xyz)q", "(ab", "q", "q", "(ab)c(xyz)q", "(ab)c(zyz)q"] {
        for dictionary in [0, 1, 0] {
            let question = json!({ "text": text, "dictionary": dictionary, "top": 3 });
            let [read, expected] = [&used, &explorer()].map(|of| found(of, "read", question.clone()));
            assert_eq!(read["tokens"], expected["tokens"]);
            let numbers = |read: &Value| {
                let mut all = Vec::new();
                flat(read, &mut all);
                all
            };
            let read = numbers(&read);
            let expected = numbers(&expected);
            assert!(close(&read, &expected, 1e-4), "{text}: {read:?}, {expected:?}");
        }
    }
}

/// Collects all numbers of a value, in their order.
fn flat(value: &Value, to: &mut Vec<f64>) {
    match value {
        Value::Number(number) => to.extend(number.as_f64()),
        Value::Array(all) => all.iter().for_each(|one| flat(one, to)),
        Value::Object(all) => all.values().for_each(|one| flat(one, to)),
        _ => (),
    }
}

#[test]
fn two_texts_are_compared_by_mean_codes() {
    let explorer = explorer();
    let a = "(abc)";
    let b = "xyz(q)r";
    let rows = found(&explorer, "compare", json!({ "texts": [a, b], "dictionary": 0 }))["features"].clone();
    let [of_a, of_b] = [a, b].map(|text| codes(&explorer, 0, text));
    let of = |codes: &[Vec<f32>], feature: usize| {
        let all: Vec<f32> = codes.iter().map(|row| row[feature]).collect();
        let mean = all.iter().map(|code| f64::from(*code)).sum::<f64>() / all.len() as f64;
        (f64::from(all.into_iter().fold(0.0, f32::max)), mean)
    };
    let active = (0..24).filter(|feature| of(&of_a, *feature).0 > 0.0 || of(&of_b, *feature).0 > 0.0).count();
    assert_eq!(rows.as_array().unwrap().len(), active);
    let mut last = f64::INFINITY;
    for row in rows.as_array().unwrap() {
        let feature = row[0].as_u64().unwrap() as usize;
        let (most_a, mean_a) = of(&of_a, feature);
        let (most_b, mean_b) = of(&of_b, feature);
        for (found, expected) in [(1, most_a), (2, most_b), (3, mean_a), (4, mean_b)] {
            assert!(close(&row[found], expected, 1e-4), "{row} {expected}");
        }
        let apart = (row[3].as_f64().unwrap() - row[4].as_f64().unwrap()).abs();
        assert!(apart <= last);
        last = apart;
    }
}

/// Returns the strongest feature of the last token.
fn strongest(explorer: &Explorer, dictionary: usize, text: &str) -> usize {
    let last = codes(explorer, dictionary, text).pop().unwrap();
    (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap()
}

#[test]
fn a_text_goes_on_as_with_plain_hooks() {
    let explorer = explorer();
    let feature = strongest(&explorer, 0, TEXT);
    let changes = json!([{ "dictionary": 0, "feature": feature, "action": "scale", "value": 9.0 }]);
    let question = json!({ "text": TEXT, "changes": changes, "tokens": 6, "temperature": 0.7, "seed": 5 });
    let (said, last) = ask(&explorer, "continue", question);
    last.unwrap();
    let model = &explorer.model;
    let hooks = |is_changed: bool| {
        let sae = &explorer.dictionaries[0].sae;
        let hook = FeatureHook::new(sae.clone(), vec![feature], &FeatureHookOptions::default(), site_of).unwrap();
        let edit = Box::new(Action::Scale(9.0).begin());
        if is_changed { vec![hook.bound(model, edit, None).unwrap()] } else { vec![] }
    };
    let batch = Batch::new(vec![ids(&explorer, TEXT)]).unwrap();
    let logits = [false, true].map(|is_changed| {
        let logits = model.decoder.logits(&batch, hooks(is_changed), &task()).unwrap().get(0).unwrap();
        logits.get(TEXT.len() - 1).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
    });
    let expected = kl(&logits[0], &logits[1]);
    assert!(expected > 1e-6 && close(&said[0]["kl"], expected, 1e-4), "{} {expected}", said[0]["kl"]);
    assert_eq!(said[0]["next"].as_array().unwrap().len(), 12);
    for (side, is_changed) in [("before", false), ("after", true)] {
        let options =
            GenerateOptions { tokens: 6, temperature: Some(0.7), windowed: true, ..GenerateOptions::default() };
        let heard: String = said.iter().filter_map(|line| line[side].as_str()).collect();
        let plain = model
            .generate(&batch, &options, Drawn { seed: 5, in_words: true }, hooks(is_changed), &mut |_| {}, &task())
            .unwrap();
        assert_eq!(heard, plain.texts[0]);
    }
}

#[test]
fn changes_do_what_they_say() {
    let explorer = explorer();
    let feature = strongest(&explorer, 0, TEXT);
    let kl = |action: &str, value: Option<f64>| {
        let change = json!({ "dictionary": 0, "feature": feature, "action": action, "value": value });
        let (said, last) = ask(&explorer, "continue", json!({ "text": TEXT, "changes": [change], "tokens": 0 }));
        last.map(|_| said[0]["kl"].as_f64().unwrap())
    };
    assert!(kl("scale", Some(1.0)).unwrap().abs() < 1e-9);
    let ablated = kl("ablate", None).unwrap();
    assert!(ablated > 1e-7);
    assert!(
        close(kl("scale", Some(0.0)).unwrap(), ablated, 1e-4) && close(kl("clamp", Some(0.0)).unwrap(), ablated, 1e-4)
    );
    assert_eq!(kl("clamp", None).unwrap_err().message, "expected a code as the `value` of a change, found none");
    assert!(kl("scale", Some(1e300)).is_err() || kl("scale", Some(1e300)).unwrap() > 0.0);
}

#[test]
fn a_card_is_that_of_a_dashboard() {
    let explorer = explorer();
    let of = &explorer.dictionaries[1];
    let overview =
        Overview::of(&explorer.model, vec![of.sae.clone()], &explorer.text, OverviewOptions::default(), &task())
            .unwrap();
    let surveyed = SurveyedDictionary { survey: &overview.survey, dictionary: 0 };
    let read = |without_first: bool| {
        let of = json!({ "dictionary": 1, "feature": 7, "without_first": without_first });
        let facts = found(&explorer, "card", of)["card"]["facts"].clone();
        facts.as_array().unwrap().iter().find(|fact| fact[0] == "positions read").unwrap()[1].as_u64().unwrap()
    };
    assert!(read(true) < read(false) && read(false) as usize == overview.survey.positions as usize);
    for feature in [0, 7, 23] {
        let plain =
            card(&of.sae, feature, Some(&explorer.model), Some(surveyed), &CardPlan::default(), &task()).unwrap();
        let found = found(&explorer, "card", json!({ "dictionary": 1, "feature": feature }));
        assert_eq!(found["card"], dashboard::card(&plain));
    }
    let (_, refused) = ask(&explorer, "card", json!({ "dictionary": 1, "feature": 24 }));
    assert_eq!(refused.unwrap_err().message, "expected a feature below 24 of resid_post.1, found 24");
}

#[test]
fn a_tree_is_that_of_the_library() {
    let explorer = explorer();
    let feature = strongest(&explorer, 1, TEXT);
    let saes: Vec<_> = explorer.dictionaries.iter().map(|of| of.sae.clone()).collect();
    let options = TreeOptions { tokens: explorer.plan.tokens as usize, ..TreeOptions::default() };
    let target = Feature::new(&saes[1], feature);
    let plain = causal_tree(&explorer.model, &saes, &target, &explorer.text, &options, &task()).unwrap().graph;
    let tree = found(&explorer, "tree", json!({ "dictionary": 1, "feature": feature }))["tree"].clone();
    assert!(!plain.edges.is_empty());
    let edges: Vec<Value> = plain.edges.iter().map(|edge| json!([edge.from, edge.to, edge.effect])).collect();
    assert_eq!(tree["edges"], Value::from(edges));
    let svg = tree["svg"].as_str().unwrap();
    for (node, known) in tree["nodes"].as_array().unwrap().iter().zip(&plain.nodes) {
        assert_eq!(
            (node["dictionary"].as_u64(), node["feature"].as_u64()),
            (Some(known.level as u64), known.feature().map(|f| f as u64))
        );
        assert!(svg.contains(&format!("href=\"#{}/{}\"", node["dictionary"], node["feature"])), "{node}");
    }
    let (_, alone) = ask(&of_one(), "tree", json!({ "dictionary": 0, "feature": 0 }));
    let alone = alone.unwrap_err();
    assert_eq!(alone.message, "a tree needs a dictionary of an earlier site than resid_post.1, and there is none");
    assert!(alone.hint.unwrap().contains("--dictionary"));
}

#[test]
fn a_cancelled_question_ends_as_interrupted() {
    let explorer = explorer();
    let task = task();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let of = json!({ "dictionary": 1, "feature": 1 });
    let going = json!({ "text": TEXT, "dictionary": 0, "texts": [TEXT, TEXT] });
    let texts = ["read", "continue", "compare", "lenses"].map(|name| (name, &going));
    for (name, question) in [("card", &of), ("tree", &of)].into_iter().chain(texts) {
        let question = Question::parse(name, question.clone()).unwrap();
        let found = answer(&explorer, question, &mut |_| {}, &task);
        assert_eq!(found.unwrap_err().kind, Kind::Interrupted, "{name}");
    }
}

/// Builds any JSON, with the fields of questions among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..30u64).prop_map(Value::from),
    ];
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, "\\PC{0,12}".prop_map(Value::from)];
    let key = prop_oneof![
        "text|dictionary|feature|top|texts|changes|tokens|temperature|seed|steps|ask|action|value",
        "\\PC{0,4}",
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_question_panics(value in any_json(), name in "read|card|continue|compare|tree|lenses|save|other") {
        let _either = Question::parse(&name, value);
    }

    #[test]
    fn no_text_and_no_number_panics(
        text in "\\PC{0,30}|[a-z()]{0,30}",
        dictionary in prop_oneof![0..3usize, any::<usize>()],
        feature in prop_oneof![0..26usize, any::<usize>()],
        value in any::<f64>(),
        tokens in prop_oneof![0..4usize, any::<usize>()],
        temperature in prop_oneof![Just(0.0), any::<f64>()],
        seed in any::<i64>(),
        top in any::<usize>(),
    ) {
        thread_local!(static EXPLORER: Explorer = explorer());
        EXPLORER.with(|explorer| {
            let changes = ["scale", "clamp", "ablate"].map(|action| {
                json!({ "dictionary": dictionary, "feature": feature, "action": action, "value": value })
            });
            let all = json!({
                "text": text, "texts": [text, TEXT], "dictionary": dictionary, "feature": feature, "top": top,
                "changes": changes, "tokens": tokens, "temperature": temperature, "seed": seed,
            });
            for name in ["read", "compare", "continue", "lenses"] {
                let _either = ask(explorer, name, all.clone());
            }
        });
    }
}

#[test]
fn more_tokens_than_are_answered_are_not_saved() {
    let step =
        json!({ "ask": "continue", "text": "(a", "changes": [], "tokens": 1_u64 << 60, "temperature": 0, "seed": 1 });
    let of = explorer();
    let refused = [ask(&of, "continue", step.clone()), ask(&of, "save", json!({ "steps": [step] }))];
    for (_, answer) in refused {
        assert!(answer.unwrap_err().message.ends_with(&format!("new tokens, found {}", 1_u64 << 60)));
    }
}

#[test]
fn scripts_are_saved_under_the_next_free_name() {
    let explorer = explorer();
    let steps = json!({ "steps": [{ "ask": "card", "dictionary": 0, "feature": 3 }, { "ask": "save", "steps": [] }] });
    let refused = ask(&explorer, "save", steps).1.unwrap_err();
    assert_eq!(refused.message, "expected steps that show something, found `save`");
    let steps = json!({ "steps": [{ "ask": "card", "dictionary": 0, "feature": 3 }] });
    let [first, second] = [0, 1].map(|_| found(&explorer, "save", steps.clone()));
    assert!(first["path"].as_str().unwrap().ends_with("explore/explore-1.rhai"), "{first}");
    assert!(second["path"].as_str().unwrap().ends_with("explore/explore-2.rhai"), "{second}");
    let script = first["script"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(explorer.files.access().out().join("explore/explore-1.rhai")).unwrap(), script);
    assert!(script.contains("features::card(m, saes[0].feature(3), text)"), "{script}");
}

#[test]
fn a_saved_script_has_no_function_that_nothing_calls() {
    let explorer = explorer();
    let change = json!({ "dictionary": 0, "feature": 3, "action": "ablate" });
    let steps = [
        json!({ "ask": "read", "text": TEXT, "dictionary": 0 }),
        json!({ "ask": "compare", "texts": [TEXT, "(ab)"], "dictionary": 0 }),
        json!({ "ask": "continue", "text": TEXT, "changes": [change], "tokens": 2 }),
        json!({ "ask": "card", "dictionary": 0, "feature": 3 }),
        json!({ "ask": "tree", "dictionary": 0, "feature": 3 }),
        json!({ "ask": "lenses", "text": TEXT }),
    ];
    for step in steps {
        let saved = found(&explorer, "save", json!({ "steps": [step] }));
        let script = saved["script"].as_str().unwrap();
        let defined = script.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
        for name in defined {
            assert!(script.matches(&format!("{name}(")).count() > 1, "nothing calls `{name}`:\n{script}");
        }
    }
}
