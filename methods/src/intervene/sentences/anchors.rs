//! Thought anchors: sentences without which the answer would be another one, found by writing them anew.
//!
//! Rollouts begin before each sentence, so that the model writes it and all that follows once more. Counterfactual
//! importance is KL(P || Q) of the answers' distributions: P is that of the rollouts whose first sentence is another one,
//! Q that of the rollouts from behind the sentence and of those that said the same again. Resampling importance is
//! KL(all rollouts from before || all from behind), which is small where the model says the same each time.

use rand::Rng;
use rand::seq::SliceRandom;

use super::cut::{cut, is_whole, sentences_of};
use crate::base::bootstrap::{RESAMPLES, bootstrap_groups};
use crate::common::*;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::tokenizer::tokens::Tokens;

/// Number of rollouts that are written together.
const TOGETHER: usize = 32;

crate::options! {
    /// Options of thought anchors.
    pub struct AnchorOptions {
        /// Number of rollouts from each place.
        rollouts: usize = 100 => at_least(2.0);
        /// Maximum number of new tokens of a rollout.
        tokens: usize = 100 => at_least(1.0);
        /// The sampling temperature.
        temperature: f64 = 0.6 => above(0.0);
        /// Total probability of the likeliest tokens among which one is sampled.
        top_p: f64 = 0.95 => above(0.0).at_most(1.0);
        /// A sentence that is written anew is another one if its similarity to the sentence, a cosine, is below this.
        similarity: f64 = 0.8 => above(-1.0).at_most(1.0);
        /// A text that is put behind each rollout, cut at its last whole sentence, so that the answer is what the model
        /// writes next.
        ending: Option<String> = None => usually("none: the answer stands in the rollout");
        /// Maximum number of tokens of an answer behind the ending.
        answer_tokens: usize = 8 => at_least(1.0);
        /// Numbers of the sentences that are written anew.
        only: Option<Vec<usize>> = None => usually("all that a token stands before");
        /// The seed of rollouts and of resamples.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// Ways to find the answer in what the model wrote.
pub enum Answers<'a> {
    /// The one of these texts that occurs first, as whole words.
    Among(&'a [String]),
    /// A function of what was written; none is no answer.
    By(&'a mut dyn FnMut(&str) -> Result<Option<String>>),
}

/// A function from a sentence to its embedding.
pub type Embedding<'a> = dyn FnMut(&str) -> Result<Vec<f64>> + 'a;

/// The functions that judge rollouts.
pub struct AnchorFunctions<'a> {
    pub answers: Answers<'a>,
    /// An embedding of a sentence; without one it is the number of times that each word occurs.
    pub embedding: Option<&'a mut Embedding<'a>>,
}

/// One continuation of the text from some place.
struct Rollout {
    /// The first sentence.
    sentence: String,
    answer: Option<String>,
}

/// The place in a text where rollouts begin.
struct Start<'a> {
    model: &'a Model,
    /// The tokens before.
    prefix: &'a [u32],
    /// The seed of what is drawn here.
    seed: u64,
}

/// Tabulates the sentences of a text by what becomes of the answer when they are written anew.
pub fn anchors(
    model: &Model,
    text: &Tokens,
    mut functions: AnchorFunctions,
    options: &AnchorOptions,
    task: &Task,
) -> Result<Table> {
    model.decoder.config().expect_next_token("writing sentences anew")?;
    let sentences = sentences_of(text)?;
    if let Answers::Among([]) = functions.answers {
        return Err(err!(Argument, "expected at least one answer, found none").about("answers"));
    }
    let chosen = match &options.only {
        Some(only) => only.clone(),
        None => (0..sentences.len()).filter(|number| sentences[*number].tokens.start > 0).collect(),
    };
    for number in &chosen {
        let Some(sentence) = sentences.get(*number) else {
            return Err(
                err!(Argument, "expected numbers of the {} sentences, found {number}", sentences.len()).about("only")
            );
        };
        if sentence.tokens.start == 0 {
            return Err(err!(Argument, "expected a sentence with a token before it, found the beginning of the text")
                .hint("a token that marks the beginning of the text is enough: `m.tokens(text, #{ bos: true })`")
                .about("only"));
        }
    }
    // Rollouts from behind a sentence are those from before the next one.
    let mut places: Vec<usize> = chosen.iter().flat_map(|number| [*number, number + 1]).collect();
    places.sort_unstable();
    places.dedup();
    let ending = match &options.ending {
        Some(ending) => Some(ids_of(model, ending, task)?),
        None => None,
    };
    let all = places.len() as u128 * options.rollouts as u128;
    let each = size_of::<Rollout>() as u128 + 4 * options.tokens as u128;
    memory::check(all.saturating_mul(each), || format!("{all} rollouts")).map_err(|e| e.about("rollouts"))?;
    let bar = task.begin("rollouts", Some(all as u64));
    let mut rollouts = BTreeMap::new();
    for place in places {
        let end = sentences.get(place).map_or(text.len() - text.back, |sentence| sentence.tokens.start);
        let seed = stream(options.seed.draws(), "rollouts", place as u64).next_u64();
        let start = Start { model, prefix: &text.ids[..end], seed };
        let mut found = Vec::with_capacity(options.rollouts);
        for first in (0..options.rollouts).step_by(TOGETHER) {
            let count = TOGETHER.min(options.rollouts - first);
            found.extend(start.rollouts(first, count, ending.as_deref(), &mut functions.answers, options, task)?);
            bar.advance(count as u64);
        }
        rollouts.insert(place, found);
    }
    let mut rows = Vec::new();
    for number in chosen {
        task.check()?;
        let sentence = &sentences[number].text;
        let before = &rollouts[&number];
        let behind = &rollouts[&(number + 1)];
        let differs = differing(sentence, before, options.similarity, &mut functions.embedding)?;
        let seed = stream(options.seed.draws(), "importance", number as u64).next_u64();
        let effect = Effect::of(before, &differs, behind);
        let mut row: Vec<Cell> = vec![number.into(), sentence.clone().into()];
        row.extend(effect.cells(seed));
        rows.push(row);
    }
    let columns = [
        "sentence",
        "text",
        "counterfactual",
        "low",
        "high",
        "chance",
        "p",
        "resampling",
        "differ",
        "n",
        "without",
        "with",
    ];
    Ok(Table::new("thought anchors", columns, rows))
}

/// Encodes a text that continues another one.
fn ids_of(model: &Model, text: &str, task: &Task) -> Result<Vec<u32>> {
    let tokens = model.tokenizer()?.encode(text, Some(false), task).map_err(|e| e.about("ending"))?;
    if tokens.ids.len() == tokens.front + tokens.back {
        return Err(err!(Argument, "expected an ending with tokens, found an empty text").about("ending"));
    }
    Ok(tokens.ids[tokens.front..tokens.ids.len() - tokens.back].to_vec())
}

impl Start<'_> {
    /// Writes some of the rollouts from here; `first` is the number of the first of them.
    fn rollouts(
        &self,
        first: usize,
        count: usize,
        ending: Option<&[u32]>,
        answers: &mut Answers,
        options: &AnchorOptions,
        task: &Task,
    ) -> Result<Vec<Rollout>> {
        let seed = stream(self.seed, "chunk", first as u64).next_u64();
        let new = self.continued(vec![self.prefix.to_vec(); count], options.tokens, seed, options, task)?;
        let written = new.iter().map(|ids| Written::new(self.model, self.prefix, ids)).collect::<Result<Vec<_>>>()?;
        let spoken: Vec<String> = match ending {
            None => written.iter().map(|written| written.text.clone()).collect(),
            Some(ending) => {
                let prompt = |(written, ids): (&Written, &Vec<u32>)| {
                    [self.prefix, &ids[..written.whole_tokens()], ending].concat()
                };
                let prompts: Vec<Vec<u32>> = written.iter().zip(&new).map(prompt).collect();
                let seed = stream(self.seed, "answers", first as u64).next_u64();
                let found = self.continued(prompts.clone(), options.answer_tokens, seed, options, task)?;
                let text = |(prompt, ids): (&Vec<u32>, &Vec<u32>)| Ok(Written::new(self.model, prompt, ids)?.text);
                prompts.iter().zip(&found).map(text).collect::<Result<_>>()?
            }
        };
        let mut found = Vec::with_capacity(count);
        for (written, spoken) in written.into_iter().zip(spoken) {
            task.check()?;
            found.push(Rollout { sentence: written.first_sentence(), answer: answers.of(&spoken)? });
        }
        Ok(found)
    }

    /// Continues texts, and returns the new tokens without the one that ends a text.
    fn continued(
        &self,
        prompts: Vec<Vec<u32>>,
        tokens: usize,
        seed: u64,
        options: &AnchorOptions,
        task: &Task,
    ) -> Result<Vec<Vec<u32>>> {
        let settings = GenerateOptions {
            tokens,
            temperature: Some(options.temperature),
            top_p: Some(options.top_p),
            ..GenerateOptions::default()
        };
        let drawn = Drawn { seed, in_words: false };
        let batch = Batch::new(prompts)?;
        let mut new = self.model.generate(&batch, &settings, drawn, Vec::new(), &mut |_| {}, task)?.ids;
        let ends = &self.model.decoder.config().eos;
        for ids in &mut new {
            ids.pop_if(|last| ends.contains(last));
        }
        Ok(new)
    }
}

/// A text that a model wrote.
struct Written {
    text: String,
    /// The end of the text behind each token.
    ends: Vec<usize>,
}

impl Written {
    fn new(model: &Model, before: &[u32], ids: &[u32]) -> Result<Self> {
        let mut stream = model.tokenizer()?.stream_after(before)?;
        let mut text = String::new();
        let mut ends = Vec::with_capacity(ids.len());
        for id in ids {
            text.push_str(&stream.push(*id)?);
            ends.push(text.len());
        }
        text.push_str(&stream.finish());
        Ok(Self { text, ends })
    }

    fn first_sentence(&self) -> String {
        cut(&self.text).first().map_or(String::new(), |first| self.text[first.clone()].trim().into())
    }

    /// Counts the tokens up to the end of the last whole sentence; all of them, where no sentence is whole.
    fn whole_tokens(&self) -> usize {
        let sentences = cut(&self.text);
        let last = sentences.iter().rev().find(|sentence| is_whole(&self.text[(*sentence).clone()]));
        match last {
            Some(last) => {
                let end = last.start + self.text[last.clone()].trim_end().len();
                self.ends.iter().filter(|reached| **reached <= end).count()
            }
            None => self.ends.len(),
        }
    }
}

impl Answers<'_> {
    fn of(&mut self, written: &str) -> Result<Option<String>> {
        match self {
            Self::Among(texts) => {
                let places = texts.iter().filter_map(|text| Some((word_place(written, text)?, text)));
                Ok(places.min_by_key(|(place, _)| *place).map(|(_, text)| text.clone()))
            }
            Self::By(function) => function(written),
        }
    }
}

/// Finds where a text has another one that does not begin or end within a word.
fn word_place(text: &str, part: &str) -> Option<usize> {
    let is_free = |(place, found): &(usize, &str)| {
        let before = text[..*place].chars().next_back();
        let behind = text[place + found.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !behind.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(part).find(is_free).map(|(place, _)| place)
}

/// Returns which rollouts begin with another sentence than this one.
fn differing(
    sentence: &str,
    rollouts: &[Rollout],
    bound: f64,
    embedding: &mut Option<&mut Embedding>,
) -> Result<Vec<bool>> {
    let Some(embed) = embedding else {
        return Ok(rollouts.iter().map(|rollout| word_similarity(sentence, &rollout.sentence) < bound).collect());
    };
    let own = embed(sentence)?;
    let mut known = BTreeMap::new();
    let mut found = Vec::with_capacity(rollouts.len());
    for rollout in rollouts {
        if !known.contains_key(rollout.sentence.as_str()) {
            let other = embed(&rollout.sentence)?;
            if other.len() != own.len() {
                return Err(err!(Shape, "expected embeddings of one length, found {} and {}", own.len(), other.len())
                    .about("embedding"));
            }
            known.insert(rollout.sentence.as_str(), cosine(&own, &other));
        }
        found.push(known[rollout.sentence.as_str()] < bound);
    }
    Ok(found)
}

/// Computes the cosine of the numbers of times that two texts have each word, whatever its case.
fn word_similarity(a: &str, b: &str) -> f64 {
    let mut counts: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for (side, text) in [a, b].into_iter().enumerate() {
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            counts.entry(word.to_lowercase()).or_default()[side] += 1.0;
        }
    }
    let column = |side: usize| counts.values().map(|both| both[side]).collect::<Vec<f64>>();
    cosine(&column(0), &column(1))
}

/// Computes a cosine; 0 where one of them is 0.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let sizes = (dot(a, a) * dot(b, b)).sqrt();
    if sizes == 0.0 { 0.0 } else { dot(a, b) / sizes }
}

/// The answers on either side of a sentence, as numbers.
struct Effect<'a> {
    names: Vec<&'a str>,
    /// The answers of rollouts that begin with another sentence.
    without: Vec<usize>,
    /// The answers of rollouts behind the sentence, or behind one like it.
    with: Vec<usize>,
    /// The answers of all rollouts from before the sentence, and from behind it.
    before: Vec<usize>,
    behind: Vec<usize>,
    differ: usize,
    rollouts: usize,
}

impl<'a> Effect<'a> {
    fn of(before: &'a [Rollout], differs: &[bool], behind: &'a [Rollout]) -> Self {
        let all = before.iter().chain(behind).filter_map(|rollout| rollout.answer.as_deref());
        let mut names: Vec<&str> = all.collect();
        names.sort_unstable();
        names.dedup();
        let number = |rollout: &Rollout| names.iter().position(|name| Some(*name) == rollout.answer.as_deref());
        let of = |rollouts: &[Rollout]| rollouts.iter().filter_map(number).collect::<Vec<usize>>();
        let side = |wanted: bool| {
            let chosen = before.iter().zip(differs).filter(|(_, differs)| **differs == wanted);
            chosen.filter_map(|(rollout, _)| number(rollout)).collect::<Vec<usize>>()
        };
        let without = side(true);
        let with = [of(behind), side(false)].concat();
        let of_before = of(before);
        let of_behind = of(behind);
        let differ = differs.iter().filter(|differs| **differs).count();
        Self { without, with, before: of_before, behind: of_behind, differ, rollouts: before.len(), names }
    }

    /// Returns the importance with its interval, what chance gives, resampling importance, and the usual answers.
    fn cells(&self, seed: u64) -> [Cell; 10] {
        let groups = [self.without.as_slice(), self.with.as_slice()];
        let count = self.names.len();
        let value = divergence(groups[0], groups[1], count);
        let interval = bootstrap_groups(&groups.map(<[usize]>::len), seed, |drawn| {
            let again = |side: usize| drawn[side].iter().map(|at| groups[side][*at]).collect::<Vec<usize>>();
            divergence(&again(0), &again(1), count).unwrap_or(f64::NAN)
        });
        let chance = value.map(|value| Chance::of(groups, count, value, seed));
        let [low, high] = Cell::ends(interval);
        [
            value.into(),
            low,
            high,
            chance.as_ref().map(|chance| chance.mean).into(),
            chance.as_ref().map(|chance| chance.p).into(),
            divergence(&self.before, &self.behind, count).into(),
            self.differ.into(),
            self.rollouts.into(),
            self.usual(&self.without),
            self.usual(&self.with),
        ]
    }

    /// Returns the most frequent answer with its share.
    fn usual(&self, answers: &[usize]) -> Cell {
        let counts = counts(answers, self.names.len());
        let most = (0..counts.len()).max_by(|a, b| counts[*a].cmp(&counts[*b]).then(b.cmp(a)));
        match most {
            Some(most) if !answers.is_empty() => {
                let share = 100.0 * counts[most] as f64 / answers.len() as f64;
                format!("{} ({share:.0} %)", self.names[most]).into()
            }
            _ => Cell::Missing,
        }
    }
}

fn counts(answers: &[usize], count: usize) -> Vec<usize> {
    let mut found = vec![0; count];
    answers.iter().for_each(|answer| found[*answer] += 1);
    found
}

/// Computes KL(p || q) of two distributions of answers, with 1 added to each count (Laplace): the answers of a hundred
/// rollouts would else be infinitely far from those that one of them has and the other has not. None where a side has no
/// answer.
fn divergence(p: &[usize], q: &[usize], count: usize) -> Option<f64> {
    if p.is_empty() || q.is_empty() {
        return None;
    }
    let shares = |answers: &[usize]| {
        let total = (answers.len() + count) as f64;
        counts(answers, count).into_iter().map(|found| (found + 1) as f64 / total).collect::<Vec<f64>>()
    };
    let terms = shares(p).into_iter().zip(shares(q)).map(|(p, q)| p * (p / q).ln());
    Some(terms.sum::<f64>().max(0.0))
}

/// The importance that a sentence would have if the answers on either side were drawn alike.
struct Chance {
    mean: f64,
    /// The share of shuffles with an importance at least as large, the answers as they are being one of them.
    p: f64,
}

impl Chance {
    fn of(groups: [&[usize]; 2], count: usize, value: f64, seed: u64) -> Self {
        let mut random = stream(seed, "shuffles", 0);
        let mut all = groups.concat();
        let mut sum = 0.0;
        let mut as_large = 1;
        for _ in 0..RESAMPLES {
            all.shuffle(&mut random);
            let (p, q) = all.split_at(groups[0].len());
            let found = divergence(p, q, count).unwrap_or(0.0);
            sum += found;
            as_large += usize::from(found >= value);
        }
        Self { mean: sum / RESAMPLES as f64, p: as_large as f64 / (RESAMPLES + 1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(sentence: &str, answer: &str) -> Rollout {
        Rollout { sentence: sentence.into(), answer: (!answer.is_empty()).then(|| answer.into()) }
    }

    fn number(cell: &Cell) -> f64 {
        match cell {
            Cell::Float(number) => *number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_divergence_is_that_of_smoothed_counts() {
        // 3 + 1 and 1 + 1 of 6; 0 + 1 and 2 + 1 of 4.
        let expected = (2.0_f64 / 3.0) * (8.0_f64 / 3.0).ln() + (1.0_f64 / 3.0) * (4.0_f64 / 9.0).ln();
        let found = divergence(&[0, 0, 0, 1], &[1, 1], 2).unwrap();
        assert!((found - expected).abs() < 1e-15);
        assert_eq!(divergence(&[0, 1], &[1, 0], 2), Some(0.0));
        assert_eq!(divergence(&[], &[1], 2), None);
    }

    #[test]
    fn rollouts_that_say_the_same_count_as_with_the_sentence() {
        let before = [rollout("Ann comes in.", "Ann"), rollout("A bird sings.", "bird"), rollout("Rain falls.", "")];
        let behind = [rollout("It is late.", "Ann"), rollout("It is late.", "Ann")];
        let differs = differing("Ann comes in.", &before, 0.8, &mut None).unwrap();
        assert_eq!(differs, [false, true, true]);
        let effect = Effect::of(&before, &differs, &behind);
        assert_eq!((effect.without.len(), effect.with.len(), effect.differ), (1, 3, 2));
        let cells = effect.cells(1);
        // P is 1 and 2 of 3, Q is 4 and 1 of 5.
        let expected = (1.0_f64 / 3.0) * (5.0_f64 / 12.0).ln() + (2.0_f64 / 3.0) * (10.0_f64 / 3.0).ln();
        assert!((number(&cells[0]) - expected).abs() < 1e-15);
        // All from before are 2 and 2 of 4, all from behind 3 and 1 of 4.
        let expected = 0.5 * (2.0_f64 / 3.0).ln() + 0.5 * 2.0_f64.ln();
        assert!((number(&cells[5]) - expected).abs() < 1e-15);
        assert_eq!(cells[8..], ["bird (100 %)".into(), "Ann (100 %)".into()]);
    }

    #[test]
    fn an_interval_covers_the_importance_and_chance_gives_less() {
        let answers =
            |first: usize| (0..60).map(|at| rollout("x", if at < first { "a" } else { "b" })).collect::<Vec<_>>();
        let far = Effect { differ: 60, ..Effect::of(&answers(10), &[true; 60], &answers(50)) }.cells(3);
        let [value, low, high, chance, p] = [0, 1, 2, 3, 4].map(|at| number(&far[at]));
        assert!(low < value && value < high && chance < low && p < 0.002, "{far:?}");
        let near = Effect::of(&answers(30), &[true; 60], &answers(31)).cells(3);
        let [value, _, _, chance, p] = [0, 1, 2, 3, 4].map(|at| number(&near[at]));
        assert!(value < chance && p > 0.5, "{near:?}");
    }

    #[test]
    fn answers_are_whole_words() {
        let names = ["Ann", "Hugo"].map(String::from);
        let mut answers = Answers::Among(&names);
        assert_eq!(answers.of(" Annual gifts for Hugo, not Ann.").unwrap().as_deref(), Some("Hugo"));
        assert_eq!(answers.of("Annual").unwrap(), None);
    }

    #[test]
    fn sentences_are_alike_by_their_words() {
        assert!((word_similarity("The cat sat.", "the CAT, sat!") - 1.0).abs() < 1e-12);
        assert!((word_similarity("The cat sat.", "The cat ran.") - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(word_similarity("", "The cat."), 0.0);
    }
}
