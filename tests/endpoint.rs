//! A judge behind an address, played by a small server on loopback: AxBench's score, scores of explanations, and what goes
//! wrong.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kit::http::{self, Request};
use microtome::base::access::Rules;

use crate::support;

/// What a judge says to a question.
type Judge = fn(&str) -> String;

/// A server that answers every question, and the questions so far.
fn server(judge: Judge) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://127.0.0.1:{}/v1", listener.local_addr().unwrap().port());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, judge, &heard).unwrap();
        }
    });
    (address, asked)
}

fn answer(stream: TcpStream, judge: Judge, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let asked = Request::read(&mut BufReader::new(&stream)).unwrap().json();
    let question = asked["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string();
    let said = serde_json::json!({ "choices": [{ "message": { "content": judge(&question) } }] }).to_string();
    heard.lock().unwrap().push(question);
    (&stream).write_all(&http::answer("200 OK", &[], said.as_bytes()))
}

/// The outcome of a sweep that a judge grades: the table's rows as text, or the failure's message.
fn graded(address: String, rules: Rules) -> Result<String, String> {
    support::on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        let code = format!(
            r#"let t = data::tokenizer("to be or not to be", #{{ kind: "characters", min_frequency: 1 }});
            let m = model::init(#{{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 32 }}, #{{ tokenizer: t, seed: 1 }});
            let v = m.weight("unembed.weight")[m.token("o")];
            let judge = model::endpoint("{address}");
            let asked = #{{ judge: judge, concept: "the letter o", strengths: [9], unit: "median", random: 1, tokens: 4, seed: 1 }};
            let found = intervene::axbench(m, #{{ "resid_post.0": v }}, ["to", "be"], data::texts(["to be or not"]), asked);
            `${{found["score"]}} ${{found["concept"]}} ${{found["failed"]}}`"#
        );
        let mut session = support::session_with(folder.path(), rules);
        let outcome = session.eval("graded", &code);
        outcome.map(|value| microtome::script::engine::value::repr(&value)).map_err(|failure| failure.message)
    })
}

fn allowed() -> Rules {
    Rules { allow_net: vec!["127.0.0.1".into()], ..Rules::default() }
}

#[test]
fn a_judge_grades_what_is_written() {
    let (address, asked) = server(|question| {
        if question.contains("[Concept]") {
            format!("Rating: {}", u8::from(written(question).contains('o')) * 2)
        } else {
            "Rating: [[1]]".into()
        }
    });
    let found = graded(address, allowed()).unwrap();
    let questions = asked.lock().unwrap();
    // Two directions, two prompts, three questions.
    assert_eq!(questions.len(), 12, "{found}");
    assert!(questions[0].contains("the letter o") && questions[1].contains("[Text]\nto"), "{questions:?}");
    assert!(questions[0..3].iter().all(|question| written(question) == written(&questions[0])));
    // The harmonic mean of 2, 1 and 1 is 1.2, and 0 where the concept is missing.
    let share =
        |from: usize| [0, 3].iter().filter(|at| written(&questions[from + **at]).contains('o')).count() as f64 / 2.0;
    let own = share(0);
    let random = share(6);
    assert!(own > 0.0 && found.ends_with("[0, 0]\""), "{found}");
    assert_eq!(
        found,
        format!("\"[{:.1}, {:.1}] [{:.1}, {:.1}] [0, 0]\"", 1.2 * own, 1.2 * random, 2.0 * own, 2.0 * random)
    );
}

/// What the model wrote.
fn written(question: &str) -> &str {
    question.split("[Continuation]\n").nth(1).unwrap().split("\n\n[Grades]").next().unwrap()
}

#[test]
fn answers_without_a_grade_are_counted_and_a_judge_without_any_is_refused() {
    let (address, _) = server(|question| {
        let answer = if question.contains("[Text]\nbe") { "I would rather not." } else { "rating: 2" };
        answer.into()
    });
    let found = graded(address, allowed()).unwrap();
    assert_eq!(found, "\"[2.0, 2.0] [2.0, 2.0] [1, 1]\"");
    let (address, _) = server(|_| "Hm.".into());
    let said = graded(address, allowed()).unwrap_err();
    assert_eq!(said, "expected answers that end with \"Rating: \" and 0, 1 or 2, found \"Hm.\"");
}

#[test]
fn a_judge_that_may_not_be_asked_is_not() {
    let (address, asked) = server(|_| "2".into());
    assert!(graded(address, Rules::default()).unwrap_err().starts_with("this script may not connect to 127.0.0.1"));
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn a_judge_scores_traits_and_sees_no_instruction_and_pairs_that_it_tells_apart_are_kept() {
    let (address, asked) = server(|question| {
        let asked: serde_json::Value = serde_json::from_str(question).unwrap();
        let answer = asked["answer"].as_str().unwrap();
        match asked.get("trait") {
            Some(_) if answer.contains('o') => "90".into(),
            Some(_) => "10".into(),
            None if answer.contains('?') => "I cannot tell.".into(),
            None => "75".into(),
        }
    });
    let found = support::on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        let code = format!(
            r#"import "std/traits" as traits;
            let judge = model::endpoint("{address}");
            let said = |told, answer| #{{ prompt: `say ${{told}}: to?`, answer: answer }};
            let pair = |with, without| #{{ question: "to?", with: said.call("o", with), without: said.call("e", without) }};
            let pairs = [pair.call("oo", "el"), pair.call("ee", "em"), pair.call("o?", "en"), pair.call("bo", "be")];
            let questions = pairs.map(|one| one.question);
            let judged = |side| intervene::judge_trait(judge, "says o", questions, pairs.map(|one| one[side].answer));
            let with = judged.call("with");
            let kept = traits::told_apart(pairs, with, judged.call("without"), 50);
            `${{with["trait"]}} ${{with["coherence"]}} ${{kept["with"].map(|one| one.answer)}} ${{kept.without.len()}}`"#
        );
        let mut session = support::session_with(folder.path(), allowed());
        let outcome = session.eval("judged", &code);
        outcome.map(|value| microtome::script::engine::value::repr(&value)).map_err(|failure| failure.message)
    });
    assert_eq!(found.unwrap(), "\"[90.0, 10.0, 90.0, 90.0] [75.0, 75.0, (), 75.0] [\\\"oo\\\", \\\"bo\\\"] 2\"");
    let asked = asked.lock().unwrap();
    // Of each answer the trait and the coherence.
    assert_eq!(asked.len(), 2 * 8, "{asked:?}");
    assert!(asked.iter().all(|question| !question.contains("say ")), "{asked:?}");
}

/// Finds texts with a "b", and refuses one question in some.
fn finds_b(question: &str) -> String {
    let asked: serde_json::Value = serde_json::from_str(question).unwrap();
    let texts: Vec<&str> = asked["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    if texts[0].starts_with('a') {
        "<b>no</b>\u{1b}[2J".into()
    } else {
        serde_json::json!(texts.iter().map(|text| u8::from(text.contains('b'))).collect::<Vec<_>>()).to_string()
    }
}

#[test]
fn a_score_repeats_offline_from_what_was_kept() {
    let (address, asked) = server(finds_b);
    let folder = tempfile::tempdir().unwrap();
    let code = format!(
        r#"let t = data::tokenizer("abcd", #{{ kind: "characters", min_frequency: 1 }});
        let m = model::init(#{{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }}, #{{ tokenizer: t, seed: 1 }});
        let texts = [];
        for i in 0..90 {{ let text = ""; for j in 0..10 {{ text += ["a", "b", "c", "d"][(i * 7 + j * j * 3 + i * j) % 4]; }} texts.push(text); }}
        let text = data::texts(texts);
        let f = sae::neurons(8, #{{ relu: true, k: 2 }}).features(0..8);
        let words = f.map(|one| `the letter b <script>${{one.index}}`);
        let judge = model::endpoint("{address}", #{{ model: "finder" }});
        let asked = #{{ site: "embed", contexts: 20, length: 3, fragments: 90, seed: 0 }};
        let found = features::score(m, f, words, text, asked + #{{ judge: judge, method: "detection" }});
        found.to_map()"#
    );
    let run = |net: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_microtome"))
            .args(net)
            .args(["--json", "-e", &code])
            .current_dir(folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("MICROTOME_CACHE", folder.path().join("cache"))
            .env_remove("MICROTOME_ENDPOINT_KEY")
            .output()
            .unwrap();
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (read(&output.stdout), read(&output.stderr))
    };
    let refused = run(&[]);
    assert!(refused.1.contains("may not connect to 127.0.0.1") && asked.lock().unwrap().is_empty(), "{refused:?}");
    let (first, said) = run(&["--allow-net", "127.0.0.1"]);
    let count = asked.lock().unwrap().len();
    let table: serde_json::Value = serde_json::from_str(&first).expect(&said);
    assert!(count > 8 && table["title"] == "explanations judged by finder: balanced accuracy of detection", "{first}");
    let column = |name: &str| table["columns"].as_array().unwrap().iter().position(|column| column == name).unwrap();
    let rows: Vec<&serde_json::Value> = table["rows"].as_array().unwrap().iter().collect();
    let sum = |name: &str| rows.iter().map(|row| row[column(name)].as_u64().unwrap()).sum::<u64>();
    assert!(sum("contexts") > 20 && sum("failed") > 0, "{first}");
    // Nobody may be asked now, and the numbers are the same.
    assert_eq!(run(&[]).0, first);
    assert_eq!(asked.lock().unwrap().len(), count);
}
