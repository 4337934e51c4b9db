//! Explanations of features, from fragments of the explainer's half.

use super::explanation::{Answerer, Explanation};
use super::fragments::{FragmentOptions, Fragments, Half};
use super::simulation::MOST;
use super::words::{marked, one_line, shown};
use crate::features::describe;
use crate::features::feature::FeatureList;
use crate::questions::Question;
use crate::sae::prelude::*;

/// The number of fragments that an explainer is shown, every second one of the ten strongest: the same share of them as
/// is judged.
pub const SHOWN: usize = 5;

/// The length of fragments (Cunningham et al. 2023).
pub const LENGTH: usize = 64;

const SYSTEM: &str = "A feature of a neural network is active at some tokens of a text. You are given texts in which it is \
    active: the tokens where it is stand between << and >>, and each is listed with its strength from 0 to 10. Say in one \
    short phrase at which tokens the feature is active, so that somebody who has only the phrase finds them in other texts. \
    Answer with nothing but the phrase.";

crate::options! {
    pub struct ExplainOptions {
        /// Seed of the fragments.
        seed: i64 = 0;
        with fragments: FragmentOptions;
    }
}

/// Explains features by where they are active in a text; the explanation is empty for a feature that is active in less
/// than five fragments.
pub fn explain(
    model: &Model,
    list: &FeatureList,
    text: &Text,
    by: Answerer,
    options: &ExplainOptions,
    task: &Task,
) -> Result<Vec<Explanation>> {
    let fragments = Fragments::of(model, list, text, &options.fragments, LENGTH, Seed::of(options.seed), task)?;
    of_fragments(&fragments, by, task)
}

/// Explains features by fragments that were read.
pub fn of_fragments(fragments: &Fragments, by: Answerer, task: &Task) -> Result<Vec<Explanation>> {
    let features = 0..fragments.read.codes.len();
    let strongest: Vec<Vec<usize>> =
        features.map(|feature| every_second(&fragments.sorted(feature, Half::Explainer).0, SHOWN)).collect();
    let is_enough = |feature: &usize| strongest.get(*feature).is_some_and(|of| of.len() == SHOWN);
    let mut found = vec![Explanation::in_words(""); strongest.len()];
    match by {
        Answerer::Rules => {
            let until = fragments.places(fragments.half(Half::Judge).start).start;
            let rules = describe::rules(&fragments.read, until, task)?;
            for (feature, rule) in rules.into_iter().enumerate().filter(|(feature, _)| is_enough(feature)) {
                found[feature] = Explanation { text: rule.as_ref().map_or_else(String::new, |r| r.text.clone()), rule };
            }
        }
        Answerer::Words(answers) => {
            let active: Vec<usize> = (0..strongest.len()).filter(is_enough).collect();
            let questions: Vec<Question> =
                active.iter().map(|feature| question(fragments, *feature, &strongest[*feature])).collect();
            for (feature, reply) in active.into_iter().zip(answers.answers(&questions, task)?) {
                match reply {
                    Ok(reply) => found[feature] = Explanation::in_words(&one_line(&reply.text)),
                    Err(error) => task.say(&format!("a feature was not explained: {}", error.message)),
                }
            }
        }
    }
    Ok(found)
}

/// Returns every second one of twice as many, or the first ones where there are fewer.
pub fn every_second(of: &[usize], count: usize) -> Vec<usize> {
    let step = if of.len() >= 2 * count { 2 } else { 1 };
    of.iter().step_by(step).take(count).copied().collect()
}

fn question(fragments: &Fragments, feature: usize, shown_ones: &[usize]) -> Question {
    let codes = |fragment: &usize| fragments.codes(feature, *fragment);
    let largest = shown_ones.iter().flat_map(&codes).fold(0.0, f64::max);
    let text = |fragment: &usize| {
        let tokens = fragments.tokens(*fragment);
        let codes = codes(fragment);
        // The strengths as Bills et al. write them: whole numbers up to 10, the largest that is shown.
        let strength = |code: f64| (MOST * code / largest).floor();
        let active = tokens.iter().zip(&codes).filter(|(_, code)| strength(**code) > 0.0);
        let listed: Vec<Value> = active.map(|(token, code)| json!([shown(token), strength(*code) as i64])).collect();
        let marks: Vec<bool> = codes.iter().map(|code| strength(*code) > 0.0).collect();
        json!({ "text": marked(&tokens, &marks), "active": listed })
    };
    let texts: Vec<Value> = shown_ones.iter().map(text).collect();
    Question { system: SYSTEM.into(), user: json!({ "texts": texts }).to_string(), tokens: 60, chances: false }
}
