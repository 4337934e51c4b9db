//! The attention heads of the model: their scores, and the card of each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::state::Explorer;
use super::HeadQuestion;
use crate::base::{Result, Task};
use crate::data::pack::gathered;
use crate::features::HeadCards;
use crate::features::heads::{HeadsOptions, check_dictionary};
use crate::report::dashboard;
use crate::sae::Sae;

/// Name of the kept answers.
pub const HEADS: &str = "heads.json";

/// Answers about all heads, as an exported explorer keeps them.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeadAnswers {
    heads: Value,
    /// Cards by layer and head.
    cards: Vec<(usize, usize, Value)>,
}

/// Returns the scores of all heads.
pub fn heads(explorer: &Explorer, task: &Task) -> Result<Value> {
    match kept(explorer)? {
        Some(answers) => Ok(answers.heads),
        None => Ok(dashboard::heads(&*cards(explorer, task)?)),
    }
}

/// Returns the card of one head.
pub fn head(explorer: &Explorer, of: HeadQuestion, task: &Task) -> Result<Value> {
    let is_asked = |(layer, head, _): &(usize, usize, Value)| (*layer, *head) == (of.layer, of.head);
    let known = kept(explorer)?.and_then(|answers| answers.cards.into_iter().find(is_asked));
    if let Some((.., card)) = known {
        return Ok(json!({ "card": card }));
    }
    let cards = cards(explorer, task)?;
    Ok(json!({ "card": dashboard::card(&cards.head(of.layer, of.head)?.card) }))
}

/// Computes the answers about all heads.
pub fn head_answers(explorer: &Explorer, task: &Task) -> Result<HeadAnswers> {
    let found = cards(explorer, task)?;
    let cards = found.cards.iter().map(|one| (one.layer, one.head, dashboard::card(&one.card))).collect();
    Ok(HeadAnswers { heads: dashboard::heads(&found), cards })
}

fn kept(explorer: &Explorer) -> Result<Option<HeadAnswers>> {
    explorer.kept(HEADS)?.map(|answers| answers.read()).transpose()
}

/// Lists the dictionaries that heads read or write.
pub fn dictionaries(explorer: &Explorer) -> Vec<usize> {
    let is_of_stream = |at: &usize| check_dictionary(&explorer.model, &explorer.dictionaries[*at].sae).is_ok();
    (0..explorer.dictionaries.len()).filter(is_of_stream).collect()
}

/// Makes the cards from the first rows of the explorer's text, with the features of the dictionaries that heads read and
/// write. The first question reads the text for all heads.
fn cards(explorer: &Explorer, task: &Task) -> Result<Arc<HeadCards>> {
    let model = explorer.model.clone();
    let text = explorer.text.clone();
    let saes: Vec<Sae> = dictionaries(explorer).iter().map(|at| explorer.dictionaries[*at].sae.clone()).collect();
    let make = move |task: &Task| {
        let options = HeadsOptions::default();
        let context = options.context(&model)?;
        let rows = gathered(&text, model.tokenizer()?, context, Some(options.rows), task, |row| Ok(row.ids))?;
        HeadCards::of(&model, text.name(), rows, &saes, &options, task)
    };
    explorer.heads.get(make, task)
}
