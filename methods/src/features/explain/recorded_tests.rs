//! Tests of exchanges in files, and of answers read as delphi reads them: the call itself is compared with delphi's
//! results in tests/suite/recorded.rhai.

use serde_json::{Value, json};

use super::delphi;
use super::recorded::{AnswerOptions, Exchange, ReadAs, read, scores};
use super::score::Method;
use crate::base::files::Files;
use crate::base::{Cell, Table, Task};
use crate::questions::{Reply, TokenChances};

fn options(method: Method, read_as: ReadAs) -> AnswerOptions {
    AnswerOptions { method, read_as }
}

/// Loads exchanges from a file with this text.
fn loaded(text: &str) -> crate::base::Result<Vec<Exchange>> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("exchanges.json");
    std::fs::write(&place, text).unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    Exchange::load(&files, &place, &Task::default())
}

fn column(table: &Table, name: &str) -> Vec<Cell> {
    table.column(name).unwrap().into_iter().cloned().collect()
}

fn fixture(name: &str) -> Value {
    kit::json(format!("scores/{name}.json"))
}

#[test]
fn a_file_keeps_the_order_of_likely_tokens_by_which_delphi_decides() {
    let of = fixture("simulation");
    let exchange = |sequence: &Value| {
        let quantile = sequence["quantile"].as_i64().unwrap();
        json!({ "feature": quantile, "codes": sequence["true"], "top_logprobs": sequence["top_logprobs"] })
    };
    let sequences = of["sequences"].as_array().unwrap();
    let exchanges: Vec<Value> = sequences.iter().map(exchange).collect();
    let lines: Vec<String> = exchanges.iter().map(Value::to_string).collect();
    let list = loaded(&json!(exchanges).to_string()).unwrap();
    let lines = loaded(&lines.join("\n\n")).unwrap();
    let asked = options(Method::Simulation, ReadAs::Delphi);
    let simulated = column(&read(&list, &asked, &Task::default()).unwrap(), "simulated");
    let expected = sequences.iter().flat_map(|sequence| sequence["expected"].as_array().unwrap());
    for (found, expected) in simulated.iter().zip(expected) {
        let Cell::Float(found) = found else { panic!("{found:?}") };
        assert!((found - expected.as_f64().unwrap()).abs() < 1e-9, "{found} {expected}");
    }
    let table = scores(&lines, &asked, &Task::default()).unwrap();
    let names = column(&table, "feature");
    assert_eq!(names, ["1", "2", "3", "-1"].map(Cell::from));
    for (found, group) in column(&table, "score").iter().zip(["2", "3", "4"]) {
        let Cell::Float(found) = found else { panic!("{found:?}") };
        assert!((found - of["groups"][group]["correlation"].as_f64().unwrap()).abs() < 1e-9);
    }
    // Silent fragments have no correlation there, and 0 here.
    assert_eq!(column(&table, "score")[3], Cell::Missing);
    let ours = scores(&lines, &options(Method::Simulation, ReadAs::Ours), &Task::default()).unwrap();
    assert_eq!(column(&ours, "score")[3], Cell::Float(0.0));
}

#[test]
fn what_is_no_exchange_is_named_with_its_place() {
    let refused = |text: &str| loaded(text).unwrap_err().message;
    assert!(refused("").ends_with("expected at least one exchange, found none"));
    assert!(refused("[1]").ends_with("expected exchange 0 to be a map, found 1"));
    assert!(refused("{\"active\": [true]}\n\n{\"active\": 1}\n").contains("exchange 1: invalid type"));
    assert!(refused("{\"active\": [true]}\n{").contains("expected an exchange as JSON in line 2: "));
    assert!(refused("[{\"top_logprobs\": [3]}]").contains("expected log probabilities by token, or pairs of both"));
    let scored = |value: Value, method| {
        let exchanges = Exchange::of(&[value]).unwrap();
        scores(&exchanges, &options(method, ReadAs::Ours), &Task::default()).unwrap_err().message
    };
    let simulation = Method::Simulation;
    let detection = Method::Detection;
    let codes = || json!({ "codes": [1, 2] });
    assert_eq!(scored(codes(), detection), "exchange 0: expected `active`, true or false for each text, found none");
    assert!(scored(codes(), simulation).contains("one of `answer`, `top_logprobs` and `simulated`, found none"));
    let short = json!({ "codes": [1, 2], "simulated": [1] });
    assert_eq!(scored(short, simulation), "exchange 0: expected as many `simulated` as `codes`, 2, found 1");
    let short = json!({ "active": [true], "said": [true], "chances": [] });
    assert_eq!(scored(short, detection), "exchange 0: expected as many `chances` as `said`, 1, found 0");
}

#[test]
fn delphi_reads_what_ours_refuses_and_the_other_way_round() {
    let named = |text: &str, tokens: &[&str]| {
        let chances = |token: &&str| TokenChances { token: token.to_string(), top: vec![(token.to_string(), -0.5)] };
        Reply { text: text.into(), chances: tokens.iter().map(chances).collect() }
    };
    let said = |reply: Reply, shown: usize| {
        let found = delphi::verdicts(&reply, shown);
        found.ok().map(|found| found.iter().map(|one| (one.is_active, one.chance)).collect::<Vec<_>>())
    };
    assert_eq!(said(named("[true, 0]", &[]), 2), Some(vec![(true, None), (false, None)]));
    // The first list that ends in its line, and only with as many entries.
    assert_eq!(said(named("[1,\n0] or [0]", &[]), 1), Some(vec![(false, None)]));
    assert_eq!(said(named("[1, 0]", &[]), 3), None);
    assert_eq!(said(named("[yes]", &[]), 1), None);
    // A token with a 0 in it is one, and where none of the likeliest says either the probability is 0.
    assert_eq!(said(named("[1]", &["10"]), 1), Some(vec![(true, Some(0.0))]));
    assert_eq!(said(named("[1]", &["[1]"]), 1), Some(vec![(true, Some(1.0))]));
    assert_eq!(said(named("[1]", &["1", "0"]), 1), None);
    let last = delphi::expected(&[("3".into(), -1.0), (" 3".into(), -2.0), ("0".into(), -2.0)]);
    assert!((last - 1.5).abs() < 1e-12, "{last}");
    assert_eq!(delphi::expected(&[("no".into(), -1.0), ("11".into(), -1.0), ("-1".into(), -1.0)]), 0.0);
    let one = |answer: &str| delphi::simulated(answer, 1)[0];
    assert_eq!(one("{\"activations\": [{\"token\": \"a\", \"activation\": \" 4 \"}]}"), 4.0);
    assert_eq!(one("{\"activations\": [{\"activation\": 4}]}"), 0.0);
    assert_eq!(one("Here: {\"activations\": [{\"token\": \"a\", \"activation\": 4}]}"), 0.0);
}
