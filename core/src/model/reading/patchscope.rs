//! Patchscopes (Ghandeharioun et al. 2024): what a model says of a vector of its stream that stands in another prompt in the
//! place of a token.

use crate::base::{Cell, Result, Table, Task};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::inject::{InjectOptions, InjectedVectors, Injection, InjectionRule};
use crate::model::run::Ask;
use crate::model::site::{Place, select};
use crate::tensor::{Tensor, Values, floats};
use crate::tokenizer::tokens::TokenName;

crate::options! {
    /// Options of a patchscope.
    pub struct PatchscopeOptions {
        /// The position of each text that is read; negative ones count from the end.
        pos: i64 = -1;
        /// The sites that are read.
        sites: String = "resid_post.*".into();
        /// The site that gets the vector in the prompt.
        into: Option<String> = None => usually("the one that was read");
        /// The token of the prompt that the vector replaces, as its text or its id.
        at: Option<TokenName> = None => usually("the prompt's last token");
        /// Number of tokens that the model says.
        tokens: usize = 10 => at_least(1.0);
        with rule: InjectionRule;
    }
}

/// The answer of a model about one vector.
#[derive(Debug, Clone)]
pub struct PatchscopeAnswer {
    /// Number of the text.
    pub text: usize,
    /// The place that was read.
    pub place: Place,
    /// Text that the model says; ids of tokens, if it has no tokenizer.
    pub says: String,
    /// Probability of the first token that it says.
    pub probability: f64,
}

/// Reads sites of each text, and continues the prompt with each vector in the place of a token; text by text.
pub fn patchscope(
    model: &Model,
    texts: &Batch,
    prompt: &[u32],
    options: &PatchscopeOptions,
    task: &Task,
) -> Result<Vec<PatchscopeAnswer>> {
    let decoder = &model.decoder;
    let places = select(decoder.config(), &options.sites).map_err(|e| e.about("sites"))?;
    let ask = Ask { places: places.clone(), positions: Some(vec![options.pos]), ..Ask::default() };
    let read = decoder.cache(texts, ask, task)?;
    let bar = task.begin("patchscope", Some(places.len() as u64));
    let mut answers = Vec::new();
    for place in places {
        let vectors = read.at(place)?;
        answers.extend(of_place(model, place, &vectors, prompt, options, task)?);
        bar.advance(1);
    }
    // The order within a text is that of the computation.
    answers.sort_by_key(|answer| answer.text);
    Ok(answers)
}

/// Continues the prompt once for each text, with its vector of a place, `[batch, 1, width]`.
fn of_place(
    model: &Model,
    place: Place,
    vectors: &Tensor,
    prompt: &[u32],
    options: &PatchscopeOptions,
    task: &Task,
) -> Result<Vec<PatchscopeAnswer>> {
    let texts = vectors.dim(0)?;
    let prompts = Batch::new(vec![prompt.to_vec(); texts])?;
    let vector = |row| Ok(Values::Tensor(vectors.get(row)?.detach()));
    let injection = Injection {
        vector: InjectedVectors::Each((0..texts).map(vector).collect::<Result<_>>()?),
        at: options.at.clone(),
        pos: if options.at.is_none() { Some(vec![-1]) } else { None },
        site: options.into.clone().unwrap_or_else(|| place.to_string()),
        rule: options.rule.clone(),
    };
    let inject = InjectOptions { inject: vec![injection] };
    let ask = Ask { hooks: inject.bound(model, &prompts, task)?, ..Ask::default() };
    let (_, end) = model.decoder.run_to_end(&prompts, ask, &prompts.last_points(), task)?;
    let generate = GenerateOptions { tokens: options.tokens, inject, ..GenerateOptions::default() };
    let drawn = Drawn { seed: 0, in_words: model.tokenizer.is_some() };
    let said = model.generate(&prompts, &generate, drawn, Vec::new(), &mut |_| {}, task)?;
    // Where nothing is said any token stands for the first, and its loss is left out.
    let firsts: Vec<u32> = said.ids.iter().map(|ids| ids.first().copied().unwrap_or_default()).collect();
    let losses = floats(&model.decoder.losses_of(&end, &firsts, task)?)?;
    let mut words = said.texts.into_iter();
    let answer = |(text, ids): (usize, Vec<u32>)| {
        let probability = if ids.is_empty() { f64::NAN } else { (-losses[text]).exp() };
        let listed = || ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let says = words.next().unwrap_or_else(listed);
        PatchscopeAnswer { text, place, says, probability }
    };
    Ok(said.ids.into_iter().enumerate().map(answer).collect())
}

/// Tabulates answers; `several` says whether there is a column for the number of the text.
pub fn table(answers: Vec<PatchscopeAnswer>, several: bool) -> Table {
    let mut columns: Vec<String> = ["site", "says", "probability"].map(String::from).into();
    if several {
        columns.insert(0, "text".into());
    }
    let row = |answer: PatchscopeAnswer| -> Vec<Cell> {
        let text = several.then(|| answer.text.into());
        let cells = [answer.place.to_string().into(), answer.says.into(), answer.probability.into()];
        text.into_iter().chain(cells).collect()
    };
    Table::new("patchscope", columns, answers.into_iter().map(row))
}
