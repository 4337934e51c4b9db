//! The questions of `benches/agents`: one of each kind is made, and answered by the solver through calls; what it may not
//! read, what a wrong answer is, and a language model that a small server plays.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kit::http::{self, Request};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use calls::{Calls, Program, Served};
use questions::{Field, KINDS, Question, question};

#[path = "../benches/agents/calls.rs"]
mod calls;
#[path = "../benches/agents/chat.rs"]
mod chat;
#[path = "../benches/agents/questions.rs"]
#[allow(dead_code, reason = "the bench draws seeds and answers")]
mod questions;
#[path = "../benches/agents/solver.rs"]
mod solver;

/// A seed that is neither of those that the solver was tuned on nor of those that it was tested on.
const SEED: u64 = 51;

fn program() -> Program {
    Program { path: env!("CARGO_BIN_EXE_microtome").into(), readable: Vec::new() }
}

fn made(place: &Path, kind: &'static str, seed: u64) -> Question {
    question(&program(), &place.canonicalize().unwrap(), kind, seed, &[])
}

fn calls(given: &Path) -> Served {
    program().served(given).unwrap()
}

/// Has the solver answer a question of each of these kinds.
fn answered(kinds: &[&'static str]) {
    let place = tempfile::tempdir().unwrap();
    for kind in kinds {
        let question = made(place.path(), kind, SEED);
        let answer = solver::solve(&question.asked, &mut calls(&question.given())).unwrap();
        assert!(question.is_right(&answer), "{kind}: {answer}");
        // An answer at random is right in one of four cases at most.
        let chance = question.chance();
        assert!(chance > 0.0 && chance <= 0.25, "{kind}: {chance}");
        assert!(!question.is_right(&json!({})), "{kind}: no answer is right");
    }
}

/// The kinds about models come before those about dictionaries and numbers, which take as long.
const MODELS: usize = 7;

#[test]
fn the_solver_answers_a_question_of_each_kind_about_models() {
    answered(&KINDS[..MODELS]);
}

#[test]
fn the_solver_answers_a_question_of_each_kind_about_dictionaries_and_numbers() {
    answered(&KINDS[MODELS..]);
}

#[test]
fn a_solver_in_the_folder_of_another_question_fails() {
    let place = tempfile::tempdir().unwrap();
    let own = made(place.path(), "subspace", SEED);
    let answer = solver::solve(&own.asked, &mut calls(&own.given())).unwrap();
    // Questions of one kind have other truths.
    let other = (SEED + 1..SEED + 20).map(|seed| made(place.path(), "subspace", seed));
    let other = other.into_iter().find(|other| !other.is_right(&answer)).unwrap();
    let wrong = solver::solve(&own.asked, &mut calls(&other.given())).unwrap();
    assert!(own.is_right(&answer) && !own.is_right(&wrong), "{answer} and {wrong}");
}

#[test]
fn a_seed_makes_the_same_question_again() {
    let places = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let made = places.each_ref().map(|place| {
        let question = made(place.path(), "edge", SEED);
        let files = ["given/question.json", "given/pairs.json", "given/model/model.safetensors", "truth.json"];
        files.map(|file| std::fs::read(question.folder.join(file)).unwrap())
    });
    assert!(made[0] == made[1]);
}

#[test]
fn calls_read_what_is_given_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let question = made(place.path(), "subspace", SEED);
    let mut own = calls(&question.given());
    assert!(!own.run("run::load_json(\"question.json\")").is_error);
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/agents/generate/subspace.rhai");
    let forbidden = [PathBuf::from("../truth.json"), question.folder.join("truth.json"), generator];
    for path in forbidden {
        let reply = own.run(&format!("run::load_text({:?})", path.display().to_string()));
        assert!(reply.is_error && reply.text.contains("may not read"), "{}: {}", path.display(), reply.text);
    }
    assert_eq!(own.count(), 4);
}

#[test]
fn uniform_draws_are_right_as_often_as_the_chance_says() {
    let fields = [
        (Field::Head { layers: 3, heads: 2 }, json!("1.1")),
        (Field::Choice(vec!["a".into(), "b".into(), "c".into()]), json!("c")),
        (Field::Integer { from: -1, to: 3 }, json!(0)),
        (Field::Number { from: 0.0, to: 1.0, within: 0.1 }, json!(0.95)),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (field, truth) in &fields {
        let draws = 20_000;
        let right = (0..draws).filter(|_| field.is_right(&field.drawn(&mut random), truth)).count();
        let chance = field.chance(truth);
        let error = (chance * (1.0 - chance) / f64::from(draws)).sqrt();
        let share = right as f64 / f64::from(draws);
        assert!((share - chance).abs() < 4.0 * error, "{field:?}: {share}, expected {chance}");
    }
    assert!((fields[3].0.chance(&fields[3].1) - 0.15).abs() < 1e-9);
    // Language models write integers as text, and heads as sites.
    assert!(fields[2].0.is_right(&json!("0"), &fields[2].1) && fields[0].0.is_right(&json!("z.1.1"), &fields[0].1));
    assert!(!fields[1].0.is_right(&Value::Null, &fields[1].1) && !fields[3].0.is_right(&json!(0.84), &fields[3].1));
}

#[test]
fn a_language_model_writes_scripts_and_answers() {
    const SAID: [&str; 5] = [
        "I do not know yet.",
        "```help\nsubspace::das\n```",
        "First I look.\n```rhai\nrun::list(\".\")\n```",
        "```\nnot_known()\n```",
        "Now I know.\nANSWER: {\"subspace\": \"a\"} and nothing else",
    ];
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let heard = asked.clone();
    let port = http::serve(move |stream: TcpStream| {
        let request = Request::read(&mut BufReader::new(&stream)).unwrap();
        let mut heard = heard.lock().unwrap();
        let said = SAID[heard.len()];
        heard.push(request.json());
        let usage = json!({ "prompt_tokens": 100, "completion_tokens": 7 });
        let body = json!({ "choices": [{ "message": { "content": said } }], "usage": usage }).to_string();
        (&stream).write_all(&http::answer("200 OK", &[], body.as_bytes())).unwrap();
    });
    let place = tempfile::tempdir().unwrap();
    let question = made(place.path(), "subspace", SEED);
    let mut own = calls(&question.given());
    let found = chat::Chat::new(&format!("http://127.0.0.1:{port}/v1"), "played", 6, 50)
        .and_then(|chat| chat.converse(&question.asked, &mut own))
        .unwrap();
    assert_eq!(found.answer, Some(json!({ "subspace": "a" })));
    assert_eq!((found.turns, own.count(), found.sent, found.written), (5, 3, 500, 35));
    let asked = asked.lock().unwrap();
    let last =
        |body: &Value| body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string();
    let replies: Vec<String> = asked.iter().map(last).collect();
    assert!(replies[0].contains(&question.asked.text) && replies[0].contains("\"choice\""), "{}", replies[0]);
    assert!(replies[1].starts_with("Write a script"), "{}", replies[1]);
    assert!(replies[2].contains("boundless"), "{}", replies[2]);
    assert!(replies[3].contains("subspaces.safetensors") && replies[3].contains("3 turns are left"), "{}", replies[3]);
    assert!(replies[4].contains("not_known"), "{}", replies[4]);
}

#[test]
fn answers_and_scripts_are_read_from_what_models_write() {
    assert_eq!(chat::answer("ANSWER: {\"a\": 1}\nANSWER: {\"a\": 2}."), Some(json!({ "a": 2 })));
    assert_eq!(chat::answer("ANSWER: `{\"a\": 1}`"), Some(json!({ "a": 1 })));
    assert_eq!(chat::answer("ANSWER: 3"), None);
    assert_eq!(chat::answer("The answer is 3."), None);
    assert_eq!(chat::block("a\n```rhai\n1 + 1\n```\n```\n2\n```"), Some(("rhai", "1 + 1\n")));
    assert_eq!(chat::block("```\nnever closed"), Some(("", "never closed")));
    assert_eq!(chat::block("no block"), None);
    let long = "a".repeat(10_000);
    assert!(chat::cut(&long).len() < 6100 && chat::cut(&long).contains("[.. 4000 characters ..]"));
    assert_eq!(chat::cut("short"), "short");
}
