//! `features::score_answers`, `features::read_answers` and `features::marked`: scores of explanations from answers that
//! were recorded, here or by another program.

use crate::features::explain::recorded::{self, Exchange};
use crate::script::engine::value::json;
use crate::script::prelude::*;

/// Reads the exchanges of a file, or of an array of maps.
fn exchanges(given: &GivenValue, env: &Env) -> Result<Vec<Exchange>> {
    if let Ok(path) = given.text() {
        return Exchange::load(&env.files, Path::new(&path), &env.task);
    }
    let list = given.list().map_err(|_| given.refuse("the name of a file, or an array of maps"))?;
    let values = list.iter().map(|element| json(element, &env.task)).collect::<Result<Vec<_>>>()?;
    Exchange::of(&values)
}

/// Computes a table of exchanges: on a thread of its own, since a file may have very many.
fn of_exchanges(
    ctx: &NativeCallContext,
    given_ones: &Any,
    options: Options,
    work: fn(&[Exchange], &recorded::AnswerOptions, &crate::base::Task) -> Result<Table>,
) -> Fallible<Table> {
    let env = env(ctx)?;
    let options = taken(options)?;
    let found = exchanges(&given("exchanges", given_ones), &env).and_then(|exchanges| {
        let task = env.task.clone();
        env.task.apart(move || work(&exchanges, &options, &task))
    });
    Ok(found.map_err(|e| e.about("exchanges"))?)
}

#[export_module(manifest)]
pub mod functions {
    /// Scores how well explanations say where features are active, by answers that were recorded: the scores of
    /// `features::score`, without a model, a text, or anybody who is asked.
    ///
    /// `exchanges` is an array of maps, or the name of a file that has them as a list in JSON or as JSON lines. An
    /// exchange is an answer to one question, and what is true of what was asked about:
    ///
    /// - for "detection" and "fuzzing" `active`, true or false for each text of the question, and the `answer`, such as
    ///   "[1, 0, 1]", where they are known with its `logprobs`, as chat completions have them in
    ///   `choices[0].logprobs.content`. In place of an answer there may be what was read of it: `said`, which is true,
    ///   false or () for each text, and `chances` that the feature is active.
    /// - for "simulation" the real `codes` at the tokens of a fragment, and the `answer` in JSON, with the `tokens`
    ///   that it repeats and its `logprobs`. In place of an answer there may be `simulated`, a number for each token,
    ///   or `top_logprobs`: for each token the likeliest ones where its number is due, as completions have them, a map
    ///   of log probabilities or an array of pairs.
    ///
    /// An exchange may name its `feature` and the `explanation`; the table has a row for each feature. Other fields are
    /// not looked at. `by another's` is the score of the same answers in another order. Codes below 0 count as 0.
    ///
    /// With `read_as: "delphi"` the results are those of delphi 0.1.3 (EleutherAI). It wants as many entries of each
    /// list as the longest question has texts, and leaves out what is too many; takes "10", and any token with a 0 in
    /// it, for a 0, and all tokens of the answer with a 0 or a 1 for entries; of "3" and " 3" counts the last one,
    /// where we add both up; reads an answer in JSON that is cut, too short, or has words around it as zeros, where we
    /// count a failure; and has no correlation where codes or predictions are the same everywhere, where ours is 0.
    /// What it calls accuracy is `score`.
    ///
    /// # Options
    /// - [feature_answers]
    ///
    /// # Example
    /// ```
    /// let asked = [
    ///     #{ active: [true, false, true], answer: "[1, 0, 0]" },
    ///     #{ active: [true, true, false], said: [true, true, false], chances: [0.9, 0.6, 0.2] },
    /// ];
    /// let found = features::score_answers(asked, #{ method: "detection" });
    /// [found["score"][0], found["recall"][0]]  //=> [0.875, 0.75]
    /// features::score_answers([#{ codes: [0, 2, 0, 4], simulated: [0, 5, 0, 10] }])["score"]  //=> [1.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn score_answers(ctx: NativeCallContext, exchanges: Any, options: Options) -> Fallible<Table> {
        super::of_exchanges(&ctx, &exchanges, options, super::recorded::scores)
    }

    /// Reads recorded answers as they are before they are scored: a row for each text that was judged, or for each
    /// token that was simulated. `exchanges` are those of `features::score_answers`.
    ///
    /// `said` and `chance`, or `simulated`, are empty where an answer cannot be read, and `failure` says why.
    ///
    /// # Options
    /// - [feature_answers]
    ///
    /// # Example
    /// ```
    /// let asked = [#{ active: [true, false], answer: "I say [1, 1]." }, #{ active: [true], answer: "No idea." }];
    /// let found = features::read_answers(asked, #{ method: "fuzzing" });
    /// found["said"]  //=> [true, true, ()]
    /// found["failure"][2]  //=> "expected a list of 1 numbers, found none in the answer"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn read_answers(ctx: NativeCallContext, exchanges: Any, options: Options) -> Fallible<Table> {
        super::of_exchanges(&ctx, &exchanges, options, super::recorded::read)
    }

    /// Marks the tokens of a context as fuzzing shows them to a judge: those whose activation is at least 0.3 of the
    /// largest stand between << and >>, several in a row together (Paulo et al. 2024).
    ///
    /// # Example
    /// ```
    /// features::marked(["a", " b", " c", " d"], [0, 3, 2, 0.5])  //=> "a<< b c>> d"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn marked(_ctx: NativeCallContext, tokens: Any, codes: Any) -> Fallible<String> {
        let tokens = given("tokens", &tokens).texts()?;
        let codes = given("codes", &codes).numbers()?;
        Ok(super::recorded::marked(&tokens, &codes)?)
    }
}
