//! `intervene::judge_trait`: how strongly answers show a trait, by a judge.

use crate::intervene::traits::{AnsweredQuestion, TraitScores, judge};
use crate::script::features::AnswerSource;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Judges how strongly answers show a trait, and how coherent they are, each from 0 to 100 (persona vectors; Chen et al. 2025).
    ///
    /// `judge` is a language model of `model::endpoint` or `model::load`, or "person", who sits at the prompt; `wanted` is the trait
    /// in words. `questions` and `answers` are texts, one answer to each question: what the model was told to be is not shown to
    /// the judge. Where the judge offers the probabilities of its tokens, a score is the mean of the numbers that are likely,
    /// and missing where these have less than a quarter of the probability; else it is the number that was said. A table with
    /// `trait` and `coherence`, a row for each answer; `traits::told_apart` keeps the pairs that make a vector. Answers of an
    /// endpoint are kept in the cache.
    ///
    /// # Example
    /// ```
    /// let judge = model::endpoint("http://127.0.0.1:8080/v1");
    /// intervene::judge_trait(judge, "speaks of the sea", ["Where do you live?"], ["On a ship."])
    /// // Error: this script may not connect to 127.0.0.1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn judge_trait(
        ctx: NativeCallContext,
        judge: Any,
        wanted: &str,
        questions: Any,
        answers: Any,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let by =
            AnswerSource::of(&plain(&judge)).ok_or_else(|| given("judge", &judge).refuse(&AnswerSource::wanted()))?;
        let questions = given("questions", &questions).texts()?;
        let answers = given("answers", &answers).texts()?;
        if questions.len() != answers.len() {
            let wanted = questions.len();
            let found = answers.len();
            return Err(err!(Argument, "expected an answer to each of {wanted} questions, found {found}")
                .about("answers")
                .into());
        }
        let answered = questions.into_iter().zip(answers);
        let answered: Vec<AnsweredQuestion> =
            answered.map(|(question, answer)| AnsweredQuestion { question, answer }).collect();
        let found = by.asked(&env, |by| super::judge(by, wanted, &answered, &env.task))?;
        let row = |one: &TraitScores| -> Vec<Cell> { vec![one.strength.into(), one.coherence.into()] };
        Ok(Table::new(format!("answers that show: {wanted}"), ["trait", "coherence"], found.iter().map(row)))
    }
}
