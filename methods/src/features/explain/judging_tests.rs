//! Tests of scores by judges whose answers are known: one that is always right, one that often gives no answer, and
//! rules.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fragments::{FragmentOptions, Fragments, Half};
use super::score::Details;
use super::{Answerer, ExplainOptions, Explanation, ExplanationScore, Method, ScoreOptions, explain, score};
use crate::base::random::{Caller, Randomness, Seed};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::err;
use crate::features::feature::{Feature, FeatureList};
use crate::features::text_codes::tests::{WORDS, model};
use crate::model::Model;
use crate::questions::{Answers, Question, Reply};
use crate::sae::{About, Activation, Parts, Sae};

/// Builds a model of words, 120 documents of 14 words, and two features that are active in some of them.
fn sample() -> (Model, FeatureList, Text) {
    let (model, sae) = model();
    let about = About { sites: vec!["embed".into()], ..sae.parts().about.clone() };
    let sae = Sae::new(Parts { activation: Activation::TopK(3), about, ..sae.parts().clone() }).unwrap();
    let document = |row: usize| {
        let word = |at: usize| WORDS[(row * 31 + at * at * 7 + row * at) % 12];
        (0..14).map(word).collect::<Vec<_>>().join(" ")
    };
    let text = Text::given((0..120).map(document).collect(), TextOptions::default()).unwrap();
    let all = FeatureList::of(&(0..16).map(|index| Feature::new(&sae, index)).collect::<Vec<_>>());
    let read = fragments(&model, &all, &text);
    let is_some = |index: &usize| {
        let (active, silent) = read.sorted(*index, Half::Judge);
        let explained = read.sorted(*index, Half::Explainer).0.len();
        active.len() >= 12 && silent.len() >= 12 && explained >= 5
    };
    let chosen: Vec<Feature> = (0..16).filter(is_some).take(2).map(|index| Feature::new(&sae, index)).collect();
    assert_eq!(chosen.len(), 2);
    (model, FeatureList::of(&chosen), text)
}

fn fragments(model: &Model, list: &FeatureList, text: &Text) -> Fragments {
    let options = options(Method::Detection);
    Fragments::of(model, list, text, &options.fragments, 6, options.seed, &Task::default()).unwrap()
}

fn options(method: Method) -> ScoreOptions {
    let fragments = FragmentOptions { fragments: 120, length: Some(6), ..FragmentOptions::default() };
    ScoreOptions { method, contexts: 20, fragments, ..ScoreOptions::default() }
}

/// A judge that answers by the question's list of texts or tokens.
struct ListJudge<'a> {
    answer: &'a dyn Fn(&Value) -> Result<String>,
    asked: Cell<usize>,
}

impl Answers for ListJudge<'_> {
    fn name(&self) -> String {
        "a judge".into()
    }

    fn answers(&self, questions: &[Question], _: &Task) -> Result<Vec<Result<Reply>>> {
        self.asked.set(self.asked.get() + questions.len());
        let answer = |question: &Question| {
            let text = (self.answer)(&serde_json::from_str(&question.user).unwrap())?;
            Ok(Reply { text, chances: Vec::new() })
        };
        Ok(questions.iter().map(answer).collect())
    }
}

fn scored(method: Method, answer: &dyn Fn(&Value) -> Result<String>) -> (Vec<ExplanationScore>, usize) {
    let (model, list, text) = sample();
    let judge = ListJudge { answer, asked: Cell::new(0) };
    let words = ["one", "another"].map(Explanation::in_words);
    let found =
        score(&model, &list, &words, &text, Answerer::Words(&judge), &options(method), &Task::default()).unwrap();
    (found, judge.asked.get())
}

/// Returns what a judge knows of every fragment: its tokens, and the first feature's activations from 0 to 10.
fn known() -> BTreeMap<String, Vec<f64>> {
    let (model, list, text) = sample();
    let fragments = fragments(&model, &list, &text);
    let most = fragments.half(Half::Judge).flat_map(|one| fragments.codes(0, one)).fold(0.0, f64::max);
    let of = |one: usize| {
        (fragments.tokens(one).concat(), fragments.codes(0, one).iter().map(|code| 10.0 * code / most).collect())
    };
    (0..fragments.count()).map(of).collect()
}

#[test]
fn a_judge_that_is_always_right_reaches_the_highest_scores() {
    let known = known();
    let simulate = |question: &Value| {
        let tokens: Vec<&str> = question["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        let codes = &known[&tokens.concat()];
        let each = tokens.iter().zip(codes).map(|(token, code)| json!({ "token": token, "activation": code }));
        Ok(json!({ "activations": each.collect::<Vec<_>>() }).to_string())
    };
    let (found, asked) = scored(Method::Simulation, &simulate);
    // Ten fragments of each of two features, by its own explanation and by the other's.
    assert_eq!((asked, found[0].count, found[0].failed), (40, 10, 0));
    assert!(found[0].score.unwrap() > 0.999_999 && found[0].interval.unwrap()[0] > 0.999_999, "{found:?}");
    assert!(
        matches!(found[0].details, Details::Simulation { top: Some(top), random: Some(random) } if top.min(random) > 0.999)
    );
    // What is right of one feature is not of another.
    assert!(found[1].score.unwrap() < 0.9, "{found:?}");
    let detect = |question: &Value| {
        let active = |text: &Value| u8::from(known[text.as_str().unwrap()].iter().any(|code| *code > 0.0));
        Ok(json!(question["texts"].as_array().unwrap().iter().map(active).collect::<Vec<_>>()).to_string())
    };
    let (found, _) = scored(Method::Detection, &detect);
    assert_eq!((found[0].score, found[0].failed), (Some(1.0), 0));
    assert!(matches!(found[0].details, Details::Verdicts { auc: Some(1.0), .. }) && found[1].score < Some(1.0));
}

#[test]
fn answers_that_fail_are_counted_and_change_no_other() {
    let count = Cell::new(0);
    let sometimes = |question: &Value| {
        count.set(count.get() + 1);
        let tokens = question["tokens"].as_array().unwrap();
        let each = tokens.iter().enumerate().map(|(at, token)| json!({ "token": token, "activation": at % 4 }));
        match count.get() % 3 {
            0 => Ok("I would rather not.".into()),
            1 => Err(err!(Format, "no answer at all")),
            _ => Ok(json!({ "activations": each.collect::<Vec<_>>() }).to_string()),
        }
    };
    let (found, _) = scored(Method::Simulation, &sometimes);
    assert_eq!((found[0].count, found[0].failed), (3, 7));
    assert_eq!(found[0].why.as_deref(), Some("no answer at all"));
    assert!(found[0].score.is_some());
    let (found, _) = scored(Method::Fuzzing, &|_| Ok("[1, 2]".into()));
    assert!(found.iter().all(|one| one.failed > 20 && one.count == 0 && one.score.is_none()), "{found:?}");
}

#[test]
fn nobody_sees_what_he_is_judged_on() {
    let (model, list, text) = sample();
    let read = |length: usize, seed: Seed| {
        let options = FragmentOptions { fragments: 120, length: Some(length), ..FragmentOptions::default() };
        Fragments::of(&model, &list, &text, &options, length, seed, &Task::default()).unwrap()
    };
    // Two calls that state no seed, each with its own.
    let run = Randomness::new(0);
    let calls = ["features::explain", "features::score"];
    let [long, short] = calls.map(Caller::from).map(|caller| {
        let length = if caller.function == "features::explain" { 8 } else { 3 };
        run.drawing(caller, Seed::default(), |seed| Ok::<_, ()>(read(length, seed))).unwrap()
    });
    assert_ne!(long.seed, short.seed);
    let texts = |of: &Fragments, half: Half| of.half(half).map(|one| of.tokens(one).concat()).collect::<Vec<_>>();
    assert_eq!((long.count(), long.half(Half::Judge).len(), short.half(Half::Judge).len()), (120, 60, 60));
    let documents: Vec<String> = text
        .documents(&Task::default())
        .map(|mut documents| {
            std::iter::from_fn(|| documents.next(&Task::default()).unwrap()).map(|d| d.text.replace(' ', "")).collect()
        })
        .unwrap();
    let plain = |text: &str| text.replace(' ', "");
    // Whatever the length, the two halves are of the same documents: one of each pair.
    for half in [Half::Explainer, Half::Judge] {
        for (a, b) in texts(&long, half).iter().zip(texts(&short, half)) {
            let of_both =
                documents.iter().any(|document| document.contains(&plain(a)) && document.contains(&plain(&b)));
            assert!(of_both, "{a} and {b}");
        }
    }
}

#[test]
fn rules_explain_and_judge_without_asking_anybody() {
    let (model, list, text) = sample();
    let options = options(Method::Simulation);
    let asked = ExplainOptions { fragments: options.fragments.clone(), ..ExplainOptions::default() };
    let words = explain(&model, &list, &text, Answerer::Rules, &asked, &Task::default()).unwrap();
    let found = score(&model, &list, &words, &text, Answerer::Rules, &options, &Task::default()).unwrap();
    assert!(found.iter().zip(&words).all(|(found, words)| found.score.is_some() != words.text.is_empty()), "{found:?}");
    let again = score(&model, &list, &words, &text, Answerer::Rules, &options, &Task::default()).unwrap();
    assert_eq!(again, found);
    let own = [Explanation::in_words("mine"), words[1].clone()];
    let error = score(&model, &list, &own, &text, Answerer::Rules, &options, &Task::default()).unwrap_err();
    assert_eq!(error.about.as_deref(), Some("explanation"));
}
