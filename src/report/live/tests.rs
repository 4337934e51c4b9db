//! Tests of live reports: what is written is read again and answers as the model itself does; pages hold texts as texts.

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::part::LiveItem;
use super::*;
use crate::base::Task;
use crate::base::files::Files;
use crate::checkpoint::load::LoadSettings;
use crate::circuit::{Circuit, Edge, Graph, Node, Part};
use crate::features::card::FeatureCard;
use crate::features::{HeadCards, contexts};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::hooks::{Action, BoundHook};
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::model::run::{Ask, token_losses};
use crate::model::site::select;
use crate::report::items::{Item, MarkdownText};
use crate::report::page_engine::{PageEngine, packed};
use crate::sae::Sae;
use crate::sae::load::LoadOptions;
use crate::samples::{dictionary, model};
use crate::tensor::{DType, normalise};

const TEXT: &str = "ab(c)d";

/// Builds a circuit of a feature, one before it, a head, and all features of the first dictionary, of a model with this name.
fn circuit(model: &str) -> Circuit {
    let node = |layer: usize, feature: usize| Node::new(format!("resid_post.{layer}"), layer, Part::Feature(feature));
    let every: Vec<Node> = (0..24).map(|feature| node(0, feature)).collect();
    let graph = Graph {
        model: model.into(),
        sites: ["resid_post.0", "resid_post.1"].map(String::from).to_vec(),
        nodes: [vec![node(1, 3), node(0, 5), Node::new("z.1", 1, Part::Head(1))], every].concat(),
        edges: vec![Edge::new(1, 0, 0.5)],
        is_whole: true,
        ..Graph::default()
    };
    let saes = vec![dictionary("resid_post.0", 1), dictionary("resid_post.1", 2)];
    Circuit { saes, promotes: Some(vec![27].into()), ..Circuit::without_dictionaries(graph) }
}

/// Lists an item of each kind, text before them.
fn items() -> Vec<Rc<dyn Item>> {
    let name = |id: u32| id.to_string();
    let batch = Batch::new(vec![vec![1, 2, 3]]).unwrap();
    let options = LensPageOptions { k: 2, ..LensPageOptions::default() };
    let lenses = LensPage::of(&model(), &batch, &[], &options, Vec::new(), &name, &Task::default()).unwrap();
    let card = FeatureCard { site: "resid_post.1".into(), feature: 7, ..FeatureCard::default() };
    let heads = HeadCards { title: "heads".into(), layers: 2, heads: 2, cards: Vec::new() };
    vec![
        Rc::new(MarkdownText("</script><b>".into())),
        Rc::new(circuit("sample")),
        Rc::new(lenses),
        Rc::new(heads),
        Rc::new(card),
    ]
}

fn plan() -> LivePlan {
    let find = |name: Option<&str>| {
        assert_eq!(name, Some("sample"));
        Ok(model())
    };
    LivePlan::of(&items(), find, Vec::new()).unwrap()
}

fn run(folder: &Path) -> Files {
    Files::unrecorded(folder).unwrap()
}

/// Writes the files of the plan, as a page has them, below a folder.
fn unpacked(folder: &Path) -> Vec<LiveFile> {
    let found = files(&plan(), &run(folder), &Task::default()).unwrap();
    for LiveFile { path, size, packed } in &found {
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), *size, "{path}");
        kit::write(folder.join(path.trim_start_matches('/')), bytes);
    }
    found
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
}

fn assert_near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    let apart = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-6, "{found:?}\n{wanted:?}");
}

#[test]
fn what_a_page_holds_answers_as_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let found = unpacked(folder.path());
    // Nothing but what the test wrote is left.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["live"]);
    assert!(found.iter().any(|file| file.path == "/live/model/model.safetensors"));
    let files = run(folder.path());
    let task = Task::default();
    let root = folder.path().join("live");
    let report = LiveReport::load(&files, &root, &task).unwrap();
    let ask = |question: Value| report.answer(&question, &task).unwrap();
    let model =
        Model::load(&files, &root.join("model").display().to_string(), &LoadSettings::default(), &task).unwrap();
    let ids = model.tokenizer().unwrap().encode(TEXT, None, &task).unwrap().ids;
    let codes = |number: usize, site: &str, feature: usize| -> Vec<f64> {
        let source = root.join(format!("dictionary-{number}")).display().to_string();
        let sae = Sae::load(&files, &source, &LoadOptions::default(), &task).unwrap();
        let place = select(model.decoder.config(), site).unwrap()[0];
        let found = contexts::codes(&model, &sae, place, std::slice::from_ref(&ids), &task).unwrap();
        (0..ids.len()).map(|row| f64::from(found.code(row, feature))).collect()
    };

    // The dictionary of the target is the first that a node names.
    let clean = ask(json!({ "item": 1, "text": TEXT }));
    assert_eq!(clean["tokens"], json!(["a", "b", "(", "c", ")", "d"]));
    assert_eq!(clean["after"], Value::Null);
    assert_near(&numbers(&clean["before"]["codes"][0]), &codes(0, "resid_post.1", 3));
    assert_near(&numbers(&clean["before"]["codes"][1]), &codes(1, "resid_post.0", 5));
    assert_eq!(clean["before"]["codes"][2], Value::Null);
    assert_eq!(clean["targets"], json!([")"]));

    // A head that is ablated.
    let ablated = ask(json!({ "item": 1, "text": TEXT, "changes": [{ "node": 2, "factor": 0 }] }));
    let hook = BoundHook::new(model.decoder.config(), "z.1.1", None, None, Box::new(Action::Zero.begin())).unwrap();
    let batch = Batch::new(vec![ids.clone()]).unwrap();
    let run = model.decoder.run(&batch, Ask { hooks: vec![hook], ..Ask::default() }, &task).unwrap();
    let logits = run.logits.get(0).unwrap();
    let losses = token_losses(&logits, &ids).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    assert_near(&numbers(&json!(&ablated["after"]["loss"].as_array().unwrap()[1..])), &losses);
    let shares = normalise::softmax(&logits.to_dtype(DType::F64).unwrap(), 1).unwrap().to_vec2::<f64>().unwrap();
    let of_target: Vec<f64> = shares.iter().map(|row| row[27]).collect();
    assert_near(&numbers(&ablated["after"]["targets"][0]), &of_target);
    assert_eq!(ablated["before"], clean["before"]);

    // A feature that is scaled by 1 changes nothing, and all that are ablated change what follows.
    let same = ask(json!({ "item": 1, "text": TEXT, "changes": [{ "node": 1, "factor": 1 }] }));
    assert_near(&numbers(&same["after"]["codes"][0]), &codes(0, "resid_post.1", 3));
    let all: Vec<Value> = (3..27).map(|node| json!({ "node": node, "factor": 0 })).collect();
    let without = ask(json!({ "item": 1, "text": TEXT, "changes": all }));
    assert_ne!(without["after"]["loss"], clean["before"]["loss"]);

    // A first question is kept with its answer, with which the page compares its own.
    let mut items = plan().items;
    if let Some(LiveItem::Circuit(circuit)) = &mut items[1] {
        circuit.text = TEXT.into();
    }
    let first = serde_json::to_value(checks::of(&report, &items, &task).unwrap()).unwrap();
    let question = json!({ "item": 1, "text": TEXT, "changes": [{ "node": 0, "factor": 0 }] });
    assert_eq!(first[0], json!({ "question": question, "answer": ask(question.clone()) }));

    let lenses = ask(json!({ "item": 2, "text": TEXT }));
    assert!(lenses["html"].as_str().unwrap().starts_with("<section class=\"lenses\""));
    let head = ask(json!({ "item": 3, "text": TEXT, "head": [1, 0] }));
    for (row, shares) in head["pattern"].as_array().unwrap().iter().enumerate() {
        let shares = numbers(shares);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5 && shares[row + 1..].iter().all(|share| *share == 0.0));
    }
    let card = ask(json!({ "item": 4, "text": TEXT }));
    assert_near(&numbers(&card["codes"]), &codes(0, "resid_post.1", 7));
}

#[test]
fn texts_that_are_none_or_too_long_and_questions_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    unpacked(folder.path());
    let report = LiveReport::load(&run(folder.path()), &folder.path().join("live"), &Task::default()).unwrap();
    let ask = |question: Value| report.answer(&question, &Task::default());
    assert_eq!(ask(json!({ "item": 4, "text": "" })).unwrap(), json!({ "tokens": [], "cut": 0 }));
    let long = ask(json!({ "item": 4, "text": "ab".repeat(20) })).unwrap();
    assert_eq!((long["cut"].as_u64(), long["codes"].as_array().map(Vec::len)), (Some(28), Some(12)));
    let one = ask(json!({ "item": 1, "text": "a" })).unwrap();
    assert_eq!(one["before"]["mean_loss"], Value::Null);
    for (wrong, said) in [
        (json!({ "item": 0, "text": "a" }), "expected an item that answers, found item 0"),
        (json!({ "item": 3, "text": "a" }), "expected a layer and a head, found none"),
        (
            json!({ "item": 1, "text": "a", "changes": [{ "node": 99, "factor": 0 }] }),
            "expected a node that can be changed, found node 99",
        ),
    ] {
        assert_eq!(ask(wrong).unwrap_err().message, said);
    }
    assert!(ask(json!({ "text": "a" })).unwrap_err().message.starts_with("expected the fields of a question"));
}

#[test]
fn a_report_that_cannot_answer_says_why() {
    let find = |_: Option<&str>| Ok(model());
    let text: Vec<Rc<dyn Item>> = vec![Rc::new(MarkdownText("a".into()))];
    let error = LivePlan::of(&text, find, Vec::new()).unwrap_err();
    assert_eq!(error.message, "expected an item that answers, found none among 1 items");
    let two: Vec<Rc<dyn Item>> = vec![Rc::new(circuit("sample")), Rc::new(circuit("other"))];
    let error = LivePlan::of(&two, find, Vec::new()).unwrap_err();
    assert_eq!(error.message, "expected items of one model, found those of `other` and `sample`");
    let card: Vec<Rc<dyn Item>> = vec![Rc::new(FeatureCard { site: "resid_post.0".into(), ..FeatureCard::default() })];
    assert!(LivePlan::of(&card, find, Vec::new()).unwrap_err().hint.unwrap().contains("`dictionaries`"));
    let plan = LivePlan::of(&card, find, vec![dictionary("resid_post.0", 1)]).unwrap();
    assert_eq!((plan.dictionaries.len(), plan.items.len()), (1, 1));
}

#[test]
fn a_page_holds_all_of_it_and_may_connect_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let engine = PageEngine { module: packed(b"\0asm").unwrap(), worker: packed(b"onmessage = null").unwrap() };
    let files = files(&plan(), &run(folder.path()), &Task::default()).unwrap();
    let written = |engine: &PageEngine| page("a <b>", &items(), &plan(), &files, engine, &Task::default());
    let html = written(&engine).unwrap();
    assert_eq!(html, written(&engine).unwrap());
    for number in 1..=4 {
        assert_eq!(html.matches(&format!("<section class=\"live\" data-item=\"{number}\">")).count(), 1);
    }
    assert_eq!(html.matches("<section class=\"live\"").count(), 4);
    let policy = html.split("http-equiv=\"Content-Security-Policy\" content=\"").nth(1).unwrap();
    let policy = policy.split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.ends_with("blob: 'wasm-unsafe-eval'; worker-src blob:"));
    assert!(!policy.contains("connect-src") && !policy.contains("http") && !policy.contains("unsafe-inline' "));
    assert!(html.contains("a &lt;b&gt;") && !html.contains("</script><b>"));
    // Each file has an element, which the list of files names.
    let list = html.split("id=\"live-files\">").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
    let list: Value = serde_json::from_str(list).unwrap();
    for file in &files {
        let id = list[&file.path].as_str().unwrap();
        assert!(html.contains(&format!("<script type=\"text/plain\" id=\"{id}\">")), "{}", file.path);
    }
    let large = PageEngine { module: vec![0; 12_000_000], ..engine };
    let error = written(&large).unwrap_err();
    assert!(error.message.starts_with("expected an engine and weights of at most 12"), "{error}");
}
