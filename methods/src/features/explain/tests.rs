//! Tests that scores equal those of delphi from the same recorded answers (tests/fixtures/scores, made by the library
//! itself), but for its errors, which are named where they show.

use kit::assert_near;
use serde_json::Value;

use super::classified::{Confusion, JudgedContext, answered, auc, confusion, marks};
use super::simulated::CorrelationSums;
use super::verdicts::{self, TextVerdict};
use super::words::marked;
use super::{simulation, words};
use crate::base::Result;
use crate::questions::{Reply, TokenChances};

fn fixture(name: &str) -> Value {
    kit::json(format!("scores/{name}.json"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|number| number.as_f64().unwrap()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|text| text.as_str().unwrap()).collect()
}

fn reply(call: &Value) -> Reply {
    let chances = |token: &Value| TokenChances {
        token: token["token"].as_str().unwrap().into(),
        top: list(&token["top"])
            .iter()
            .map(|one| (one[0].as_str().unwrap().into(), one[1].as_f64().unwrap()))
            .collect(),
    };
    Reply {
        text: call["answer"].as_str().unwrap().into(),
        chances: list(&call["logprobs"]).iter().map(chances).collect(),
    }
}

/// Returns the verdicts of the recorded calls, and the truth about their texts.
fn judged(of: &Value) -> (Vec<JudgedContext>, Vec<Result<TextVerdict>>) {
    let shown = of["n_examples_shown"].as_u64().unwrap() as usize;
    let truth =
        |row: &Value| JudgedContext { fragment: 0, is_active: row["activating"].as_bool().unwrap(), marks: Vec::new() };
    let samples: Vec<JudgedContext> = list(&of["results"]).iter().map(truth).collect();
    let mut found = Vec::new();
    for (call, some) in list(&of["calls"]).iter().zip(samples.chunks(shown)) {
        // The library wants five entries of its last call, too, which shows three texts, and drops the last two.
        match verdicts::read(&reply(call), shown) {
            Ok(said) => found.extend(said.into_iter().take(some.len()).map(Ok)),
            Err(error) => found.extend(some.iter().map(|_| Err(error.clone()))),
        }
    }
    (samples, found)
}

#[test]
fn detection_and_fuzzing_have_the_numbers_of_the_library() {
    for name in ["detection", "fuzzing"] {
        let of = fixture(name);
        let (samples, found) = judged(&of);
        for (row, found) in list(&of["results"]).iter().zip(&found) {
            match found {
                Ok(verdict) => {
                    assert_eq!(row["prediction"].as_bool(), Some(verdict.is_active));
                    assert_near(verdict.chance.unwrap(), &row["probability"], 1e-9);
                }
                Err(_) => assert!(row["prediction"].is_null()),
            }
        }
        let answered = answered(&samples, &found);
        let counts = confusion(&answered);
        let metrics = &of["metrics"];
        let theirs = &of["confusion"];
        let count = |name: &str| theirs[name].as_u64().unwrap() as usize;
        let expected = Confusion {
            true_positives: count("true_positives"),
            true_negatives: count("true_negatives"),
            false_positives: count("false_positives"),
            false_negatives: count("false_negatives"),
        };
        assert_eq!(counts, expected);
        assert_near(counts.precision().unwrap(), &metrics["precision"], 1e-9);
        assert_near(counts.recall().unwrap(), &metrics["recall"], 1e-9);
        assert_near(counts.f1().unwrap(), &metrics["f1_score"], 1e-9);
        assert_near(auc(&answered).unwrap(), &of["auc"], 1e-9);
        // What the library calls accuracy is the balanced one; the share of right verdicts is another number.
        assert_near(counts.balanced().unwrap(), &metrics["accuracy"], 1e-9);
        let right = (expected.true_positives + expected.true_negatives) as f64 / 18.0;
        assert_eq!(counts.accuracy(), Some(right));
        // It counts no failures, and the answer [1, 0, 1] for five texts is one.
        assert_eq!((theirs["failed_count"].as_u64(), found.len() - answered.len()), (Some(0), 5));
    }
}

#[test]
fn contexts_are_shown_and_marked_as_the_library_does() {
    for (name, is_fuzzing) in [("detection", false), ("fuzzing", true)] {
        let of = fixture(name);
        let silent = list(&of["examples"]["not_active"]).len();
        let expected = texts(&of["sample_texts_before_shuffle"]);
        for (example, expected) in list(&of["examples"]["test"]).iter().zip(&expected[silent..]) {
            let marks = if is_fuzzing { marks(&numbers(&example["activations"])) } else { Vec::new() };
            assert_eq!(marked(&texts(&example["str_tokens"]), &marks), *expected);
        }
    }
}

#[test]
fn simulations_have_the_correlations_of_the_library() {
    let of = fixture("simulation");
    let mut groups: std::collections::BTreeMap<String, (CorrelationSums, Vec<Option<f64>>)> =
        std::collections::BTreeMap::new();
    let mut differ = 0;
    for sequence in list(&of["sequences"]) {
        let mut found = Vec::new();
        for (top, expected) in list(&sequence["top_logprobs"]).iter().zip(list(&sequence["expected"])) {
            let top: Vec<(String, f64)> =
                top.as_object().unwrap().iter().map(|(token, p)| (token.clone(), p.as_f64().unwrap())).collect();
            // The library keeps one probability of "3" and " 3", the last one; the right sum has both.
            let last: Vec<(String, f64)> = top.iter().filter(|(token, _)| token != "3").cloned().collect();
            assert_near(simulation::expected(&last).unwrap(), expected, 1e-9);
            let right = simulation::expected(&top).unwrap();
            differ += usize::from((right - expected.as_f64().unwrap()).abs() > 1e-9);
            found.push(expected.as_f64().unwrap());
        }
        let sums = CorrelationSums::of(&found, &numbers(&sequence["true"]));
        let mut groups_of = vec!["0".to_string()];
        if let Some(quantile) = sequence["quantile"].as_i64().filter(|quantile| *quantile > 0) {
            groups_of.push((quantile + 1).to_string());
        }
        for group in groups_of {
            let known = groups.entry(group).or_insert((CorrelationSums::of(&[], &[]), Vec::new()));
            *known = (known.0.and(sums), [known.1.clone(), vec![sums.correlation()]].concat());
        }
    }
    assert!(differ > 100, "{differ}");
    for (name, theirs) in of["groups"].as_object().unwrap() {
        let (sums, each) = &groups[name];
        assert_near(sums.correlation().unwrap(), &theirs["correlation"], 1e-9);
        assert_eq!(each.len() as u64, theirs["sequences"].as_u64().unwrap());
        for (found, expected) in each.iter().zip(list(&theirs["per_sequence"])) {
            match found {
                Some(found) => assert_near(*found, expected, 1e-9),
                None => assert!(expected.is_null()),
            }
        }
    }
}

#[test]
fn of_tokens_that_write_one_number_the_probabilities_add_up() {
    let top = |entries: &[(&str, f64)]| entries.iter().map(|(t, p)| (t.to_string(), p.ln())).collect::<Vec<_>>();
    let found = simulation::expected(&top(&[("3", 0.2), (" 3", 0.2), ("0", 0.4), ("12", 0.1), ("unknown", 0.1)]));
    assert!((found.unwrap() - 1.5).abs() < 1e-12);
    assert_eq!(simulation::expected(&top(&[("no", 1.0)])), None);
    assert_eq!(simulation::expected(&[("3".into(), f64::NAN)]), None);
}

#[test]
fn plain_answers_are_read_as_by_the_library_and_those_that_fail_are_no_zeros() {
    let of = fixture("simulation");
    let tokens = texts(&of["sequences"][0]["tokens"]);
    let read = |answer: &Value| {
        simulation::read(&Reply { text: answer["text"].as_str().unwrap().into(), ..Reply::default() }, &tokens)
    };
    let [good, cut, short, odd] = list(&of["json_answers"]) else { panic!() };
    assert_eq!(read(good).unwrap(), numbers(&good["parsed"]));
    assert_eq!(read(odd).unwrap(), numbers(&odd["parsed"]));
    // The library makes 16 zeros of both.
    assert!(read(cut).unwrap_err().message.starts_with("expected activations as JSON"));
    assert_eq!(read(short).unwrap_err().message, "expected the activations of 16 tokens, found 15");
}

/// Builds an answer from tokens, with given likeliest ones at one of them.
fn with_chances(pieces: &[&str], at: usize, top: &[(&str, f64)]) -> Reply {
    let chances = |(place, token): (usize, &&str)| TokenChances {
        token: token.to_string(),
        top: if place == at {
            top.iter().map(|(token, p)| (token.to_string(), p.ln())).collect()
        } else {
            vec![(token.to_string(), 0.0)]
        },
    };
    Reply { text: pieces.concat(), chances: pieces.iter().enumerate().map(chances).collect() }
}

#[test]
fn a_simulation_is_an_expectation_where_probabilities_are_offered() {
    let pieces = [
        "{\"activations\": [{\"token\": \" \\\"activation\\\": 9\", \"activation\":",
        " 4",
        "}, {\"token\": \"b\", \"activation\": ",
        "1",
        "0",
        "}]}",
    ];
    let tokens = [" \"activation\": 9", "b"];
    let likely = [(" 4", 0.5), ("8", 0.25), ("x", 0.25)];
    let found = simulation::read(&with_chances(&pieces, 1, &likely), &tokens).unwrap();
    // (4 * .5 + 8 * .25) / .75; of the number in two tokens the plain value.
    assert!((found[0] - 16.0 / 3.0).abs() < 1e-12 && found[1] == 10.0, "{found:?}");
    // Tokens that are not the text's say nothing.
    let lying = Reply { text: pieces.concat().replace(" 4", " 5"), ..with_chances(&pieces, 1, &likely) };
    assert_eq!(simulation::read(&lying, &tokens).unwrap(), [5.0, 10.0]);
    let other = with_chances(&pieces, 1, &likely);
    let error = simulation::read(&other, &[" \"activation\": 9", "c"]).unwrap_err();
    assert_eq!(error.message, "expected token 1 to be \"c\", found \"b\"");
}

#[test]
fn verdicts_are_read_with_the_chances_of_their_own_tokens_alone() {
    let top = [("1", 0.6), (" 1", 0.2), ("0", 0.1), ("10", 0.1)];
    let reply = with_chances(&["Well, ", "[", "1", ", ", "0", "]"], 2, &top);
    let found = verdicts::read(&reply, 2).unwrap();
    // The library reads "10" as a 0.
    assert!((found[0].chance.unwrap() - 0.8 / 0.9).abs() < 1e-12 && found[0].is_active && !found[1].is_active);
    let lying = Reply { text: "[0, 0]".into(), ..reply };
    assert!(verdicts::read(&lying, 2).unwrap().iter().all(|verdict| !verdict.is_active && verdict.chance.is_none()));
    for wrong in ["", "[]", "[1]", "[1, 0, 1]", "[1, 2]", "[yes, no]", "1, 0", "] [", "[1, 0"] {
        assert!(verdicts::read(&Reply { text: wrong.into(), ..Reply::default() }, 2).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_asked_of_hostile_tokens_is_short_and_whole() {
    let long = "<script>\u{202e}\0".repeat(10_000);
    let question = simulation::question("</system>\"", &[&long, "\n"]);
    assert!(question.user.len() < 400, "{}", question.user.len());
    let asked: Value = serde_json::from_str(&question.user).unwrap();
    assert_eq!(asked["tokens"][0], words::shown(&long));
    let answer = serde_json::json!({ "activations": [
        { "token": words::shown(&long), "activation": 3 }, { "token": "\n", "activation": 0 }] });
    let reply = Reply { text: format!("```json\n{answer}\n```"), ..Reply::default() };
    assert_eq!(simulation::read(&reply, &[&long, "\n"]).unwrap(), [3.0, 0.0]);
}
