//! The engine of pages, as `page/build` makes it. In Node logits of every family are compared with those of transformers, other numbers,
//! those of three experiments among them, with the program's, and a dictionary is fitted; the page is opened in headless Chromium, from
//! a file.
//!
//! `MICROTOME_PAGE_ENGINE` names the folder that it was built into; without it the tests say that they are skipped.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rhai::{Array, Dynamic};
use serde_json::{Value, json};

use crate::families::files::{FAMILIES, fixture};
use crate::page::chromium;
use crate::support::browser::Browser;
use crate::support::{on_large_stack, page_engine, session};

const MODEL: &str = "let m = model::load(\"tiny\"); let text = \"The committee (which had met in March\";";

/// Numbers that both compute, as lists.
const NUMBERS: [&str; 4] = [
    "m.logits(text).flatten().to_array()",
    "m.logits(text, #{ hooks: hooks::zero(\"z.3.5\") }).flatten().to_array()",
    "sae::load(\"dictionary\").encode(m.cache(text, \"resid_post.3\")[\"resid_post.3\"]).flatten().to_array()",
    "{ let a = m.attribution(text, \")\"); [a.logit, a.sum, a.rest] }",
];

/// A dictionary of a few steps: its codes follow from its file.
const DICTIONARY: &str = "sae::fit(m, \"resid_post.3\", data::text(\"sample\", #{ tokens: 1000 }), \
                          #{ k: 16, d_sae: 384, steps: 5, batch: 128 }).save(\"dictionary\");";

/// Experiments of some seconds, and the numbers that each ends with.
const EXPERIMENTS: [(&str, &str); 3] = [
    (
        "ioi_heads",
        "[heads, direct, received].map(|grid| grid.tensor.flatten().to_array()).reduce(|all, one| all + one, [])",
    ),
    ("induction_heads", "scores.flatten().to_array() + clean.flatten().to_array()"),
    ("qk_attributions", "gain.flatten().to_array()"),
];

/// A fit of a dictionary on 20,000 tokens, and one that no page has the time for.
const FIT: &str =
    "let s = sae::fit(m, \"resid_post.3\", data::text(\"sample\", #{ tokens: 20_000 }), #{ k: 8, ratio: 2, seed: 1 });";
const ENDLESS_FIT: &str =
    "sae::fit(m, \"resid_post.3\", data::text(\"sample\", #{ tokens: 2_000 }), #{ k: 8, ratio: 2, steps: 10_000_000 })";

/// The files of the model, by their names in the page.
fn model_files() -> Value {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    json!({
        "model.safetensors": own.join("core/assets/tiny/model.safetensors"),
        "config.json": own.join("core/assets/tiny/config.json"),
        "tokenizer.json": own.join("core/assets/tiny/tokenizer.json"),
        "sample.bin": own.join("methods/assets/tiny/sample.bin"),
    })
}

/// Returns the answers of the worker in Node.
fn answers(page: &Path, questions: &Value) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page_engine/drive.js");
    let mut node = Command::new("node")
        .arg(script)
        .arg(page)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node, which .ci/run installs");
    node.stdin.take().unwrap().write_all(questions.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(text: &str) -> Value {
    json!({ "ask": "run", "text": text })
}

/// Returns what was printed before an answer, which is no error.
fn printed(answer: &Value) -> String {
    assert!(answer["answer"]["error"].is_null(), "{}", answer["answer"]["error"]["text"].as_str().unwrap_or("broken"));
    let told = answer["told"].as_array().unwrap();
    let text: String =
        told.iter().filter(|told| told["kind"] == "print").map(|told| told["text"].as_str().unwrap()).collect();
    text.trim_end().into()
}

/// Computes the numbers natively, and saves the dictionary that the page loads.
fn native(folder: &Path) -> Vec<Vec<f64>> {
    let folder = folder.to_path_buf();
    on_large_stack(move || {
        let mut session = session(&folder);
        let mut eval = |text: &str| session.eval("line", text).unwrap_or_else(|failure| panic!("{}", failure.message));
        let _nothing = eval(MODEL);
        let _saved = eval(DICTIONARY);
        let list = |value: Dynamic| value.cast::<Array>().iter().map(|one| one.as_float().unwrap()).collect();
        NUMBERS.into_iter().map(|text| list(eval(text))).collect()
    })
}

#[test]
fn the_engine_of_a_page_computes_what_the_program_does() {
    let Some(page) = page_engine() else { return };
    let folder = tempfile::tempdir().unwrap();
    let expected = native(folder.path());
    let saved = folder.path().join("out/dictionary");
    let mut files = model_files();
    for entry in std::fs::read_dir(&saved).unwrap().flatten() {
        files[format!("/dictionary/{}", entry.file_name().display())] = json!(entry.path());
    }
    let mut questions = vec![json!({ "ask": "begin", "files": files, "width": 80 }), run(MODEL)];
    questions.extend(NUMBERS.map(|text| run(&format!("print({text})"))));
    questions.push(run("plot::line([1, 2, 4])"));
    questions.push(run("fn f(x) { m.logits(x + 1) } f(\"a\")\n + nothing"));
    questions.push(run("fn deep(n) { if n == 0 { 0 } else { 1 + deep(n - 1) } } deep(40)"));
    questions.push(run("fn endless(n) { endless(n + 1) } endless(0)"));
    questions.push(json!({ "ask": "complete", "text": "let é = m.log", "cursor": 13 }));
    questions.push(run("table([#{ a: 1 }]).save(\"t.csv\"); data::table(\"t.csv\").rows.len"));
    let answers = answers(&page, &json!(questions));
    let [begun, loaded, rest @ ..] = &answers[..] else { panic!("no answers") };
    let seconds = |answer: &Value| answer["seconds"].as_f64().unwrap();
    println!("the engine began in {:.3} s; {MODEL} took {:.3} s", seconds(begun), seconds(loaded));
    for ((text, expected), answer) in NUMBERS.iter().zip(&expected).zip(rest) {
        let found: Vec<f64> = serde_json::from_str(&printed(answer)).unwrap();
        assert_eq!(found.len(), expected.len(), "{text}");
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{text}: {apart:e} apart, in {:.3} s", seconds(answer));
        assert!(apart < 1e-5, "{text}: {apart:e}");
    }
    let [chart, wrong, deep, endless, completed, table] = &rest[NUMBERS.len()..] else { panic!("{rest:?}") };
    assert!(chart["told"][0]["html"].as_str().unwrap().contains("<svg"));
    let drawn = wrong["answer"]["error"]["text"].as_str().unwrap();
    assert!(drawn.starts_with("error: ") && drawn.contains("nothing"), "{drawn}");
    assert_eq!(deep["told"][0]["text"], "40");
    assert!(endless["answer"]["error"]["message"].as_str().unwrap().contains("too deep"), "{endless}");
    let candidates = completed["answer"]["candidates"].as_array().unwrap();
    assert_eq!(completed["answer"]["start"], 10);
    assert!(candidates.iter().any(|one| one["text"].as_str().unwrap().starts_with("logits")), "{candidates:?}");
    assert_eq!(table["told"][0]["text"], "1");
}

#[test]
fn every_family_has_the_logits_of_transformers_in_a_page() {
    let Some(page) = page_engine() else { return };
    let mut files = model_files();
    for family in FAMILIES {
        for entry in std::fs::read_dir(fixture(family)).unwrap().flatten() {
            files[format!("/models/{family}/{}", entry.file_name().display())] = json!(entry.path());
        }
    }
    let apart = |family: &str| {
        run(&format!(
            "let e = tensor::load(\"/models/{family}/expected.safetensors\"); \
             print((model::load(\"/models/{family}\").logits(e[\"input_ids\"]) - e[\"logits\"]).abs().max().item())"
        ))
    };
    let begun = json!({ "ask": "begin", "files": files, "width": 80 });
    let questions: Vec<Value> = std::iter::once(begun).chain(FAMILIES.into_iter().map(apart)).collect();
    for (family, answer) in FAMILIES.iter().zip(&answers(&page, &json!(questions))[1..]) {
        let apart: f64 = printed(answer).parse().unwrap();
        println!("{family}: {apart:e} from transformers");
        assert!(apart < 1e-4, "{family}: {apart:e}");
    }
}

/// Returns the text of an experiment.
fn experiment(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name).with_extension("rhai");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn experiments_end_with_the_numbers_that_they_have_in_the_program() {
    let Some(page) = page_engine() else { return };
    for (name, numbers) in EXPERIMENTS {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_path_buf();
        let expected: Vec<f64> = on_large_stack(move || {
            let mut session = session(&out);
            let mut eval =
                |text: &str| session.eval(name, text).unwrap_or_else(|failure| panic!("{}", failure.message));
            let _value = eval(&experiment(name));
            eval(numbers).cast::<Array>().iter().map(|one| one.as_float().unwrap()).collect()
        });
        let begun = json!({ "ask": "begin", "files": model_files(), "width": 80 });
        let answers = answers(&page, &json!([begun, run(&experiment(name)), run(&format!("print({numbers})"))]));
        let [_begun, ran, told] = &answers[..] else { panic!("{answers:?}") };
        printed(ran);
        let found: Vec<f64> = serde_json::from_str(&printed(told)).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        println!("{name}: {} numbers, {apart:e} apart, in {:.1} s", found.len(), ran["seconds"].as_f64().unwrap());
        assert!(apart < 1e-5, "{name}: {apart:e}");
    }
}

#[test]
fn a_page_fits_a_dictionary_and_refuses_what_takes_hours() {
    let Some(page) = page_engine() else { return };
    let begun = json!({ "ask": "begin", "files": model_files(), "width": 80 });
    let fit = run(&format!("{FIT} print(s.d_sae)"));
    let answers = answers(&page, &json!([begun, run(MODEL), fit, run(ENDLESS_FIT), run("print(s.d_sae)")]));
    let [_begun, _loaded, fitted, refused, after] = &answers[..] else { panic!("{answers:?}") };
    println!("20,000 tokens: {:.1} s", fitted["seconds"].as_f64().unwrap());
    assert_eq!(printed(fitted), "384");
    let stages = |told: &Value| told["stages"].as_array().cloned().unwrap_or_default();
    let is_measured = |stage: &Value| stage["total"].as_u64() > stage["done"].as_u64();
    assert!(fitted["told"].as_array().unwrap().iter().flat_map(stages).any(|stage| is_measured(&stage)), "{fitted}");
    let error = &refused["answer"]["error"];
    assert!(error["message"].as_str().unwrap().starts_with("this would take a page more than an hour: "), "{refused}");
    assert!(error["text"].as_str().unwrap().contains("`microtome run FILE`"), "{refused}");
    // What was there before stays.
    assert_eq!(printed(after), "384");
}

#[test]
fn the_page_opens_from_a_file_and_connects_nowhere() {
    let (Some(page), Some(chromium)) = (page_engine(), chromium()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(chromium, &folder.path().join("profile"));
    browser.open(&format!("file://{}", page.join("demo.html").display()));
    let state = "document.getElementById('state').textContent";
    browser.until(&format!("{state}.startsWith('ready')"));
    println!("{}", browser.text(state));
    let ask = |browser: &mut Browser, text: &str| {
        browser.js(&format!("document.getElementById('text').value = {text:?}"));
        browser.click("#run");
        browser.until(&format!("{state}.endsWith(' ms') && !{state}.startsWith('ready')"));
        println!("{text}: {}", browser.text(state));
    };
    ask(&mut browser, &format!("{MODEL}\nm.predict(text, 1)"));
    browser.until("document.querySelector('#out iframe').contentDocument.body.innerText.includes(')')");
    ask(&mut browser, "plot::line([1, 2, 4])");
    assert!(browser.is("document.querySelector('#out svg')"));
    ask(&mut browser, "1 + nothing");
    assert!(browser.text("document.querySelector('#out .error').textContent").contains("nothing"));
    // Stop ends what would never end, and a fit whose progress is shown; the next session begins anew.
    let fit = format!("{MODEL} {FIT}");
    for (text, begun) in [("loop {}", "'computing …'"), (fit.as_str(), "document.querySelector('#state progress').max")]
    {
        browser.js(&format!("document.getElementById('text').value = {text:?}"));
        browser.click("#run");
        browser.until(begun);
        browser.click("#stop");
        browser.until(&format!("{state}.startsWith('stopped')"));
    }
    ask(&mut browser, "1 + 1");
    assert_eq!(browser.text("document.getElementById('out').innerText").trim(), "2");
    assert!(browser.problems.is_empty(), "{:#?}", browser.problems);
    let refused = "fetch('https://example.org').then(() => false, () => true)";
    assert_eq!(browser.js(refused), true, "the page may connect");
}
