//! Pairs of prompts as a model reads them: token ids, the positions of a task's words, and pairs of one layout.

use super::{Draw, Pair, PairOptions};
use crate::common::*;

crate::choices! {
    /// A prompt of a pair: the clean or the corrupt one.
    pub enum Prompt {
        Clean = "clean",
        Corrupt = "corrupt",
    }
}

crate::options! {
    /// Requirements on pairs in the tokens of a model.
    pub struct PairTokenOptions {
        /// Whether all prompts have the same number of tokens, with the words of `spans` at the same positions; of the
        /// layouts that a task has, the most frequent one.
        same_length: bool = false;
        /// Whether each answer is one token, and so is each word of `spans`.
        single_token: bool = false;
    }
}

/// A pair of prompts as token ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenPair {
    pub clean: Vec<u32>,
    /// The ids of the corrupt prompt; empty where a pair has none.
    pub corrupt: Vec<u32>,
    /// The correct answers after the clean prompt.
    pub answers: Vec<Vec<u32>>,
    pub wrong: Vec<Vec<u32>>,
    /// Positions of the clean prompt by name: words of the task, and its `end`.
    pub spans: BTreeMap<String, Vec<usize>>,
}

impl TokenPair {
    /// Returns the ids of a prompt; none where the pair lacks it.
    pub fn prompt(&self, which: Prompt) -> Option<&[u32]> {
        let ids = match which {
            Prompt::Clean => &self.clean,
            Prompt::Corrupt => &self.corrupt,
        };
        (!ids.is_empty()).then_some(ids)
    }

    /// Returns the tokens of a pair of a task.
    pub fn of(name: &str, pair: &Pair, tokenizer: &Tokenizer, task: &Task) -> Result<Self> {
        let clean = tokenizer.encode(&pair.clean, None, task)?;
        let corrupt = tokenizer.encode(&pair.corrupt, None, task)?.ids;
        let behind = |answers: &[String]| -> Result<Vec<Vec<u32>>> {
            answers.iter().map(|answer| answer_ids(tokenizer, &pair.clean, answer, task)).collect()
        };
        let answers = behind(&pair.answers)?;
        let wrong = behind(&pair.wrong)?;
        let mut spans = BTreeMap::new();
        for (role, place) in roles(name, pair) {
            if let Some((first, last)) = clean.covering(place) {
                spans.insert(role.to_string(), (first..=last).collect());
            }
        }
        let end = clean.ids.len().checked_sub(1);
        spans.extend(end.map(|end| ("end".to_string(), vec![end])));
        let changed = changed(&clean.ids, &corrupt);
        if !changed.is_empty() {
            spans.insert("changed".into(), changed);
        }
        Ok(Self { clean: clean.ids, corrupt, answers, wrong, spans })
    }

    /// Returns whether all answers and all words of the task are single tokens.
    fn is_single(&self) -> bool {
        let words = self.spans.iter().filter(|(name, _)| *name != "changed").map(|(_, span)| span.len());
        self.answers.iter().chain(&self.wrong).map(Vec::len).chain(words).all(|length| length == 1)
    }

    /// Returns the layout of the prompts; none if they differ in length.
    fn layout(&self) -> Option<PairLayout> {
        (self.clean.len() == self.corrupt.len())
            .then(|| PairLayout { tokens: self.clean.len(), spans: self.spans.clone() })
    }
}

/// The number of tokens of both prompts of a pair, and the positions of the clean one's spans.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PairLayout {
    tokens: usize,
    spans: BTreeMap<String, Vec<usize>>,
}

/// Returns the tokens of an answer after a prompt: those that prompt and answer together have beyond the prompt's.
/// Where the tokenizer joins the end of the prompt to the answer, the answer's own.
pub fn answer_ids(tokenizer: &Tokenizer, prompt: &str, answer: &str, task: &Task) -> Result<Vec<u32>> {
    let own = |text: &str, bos| -> Result<Vec<u32>> {
        let tokens = tokenizer.encode(text, bos, task)?;
        let end = tokens.len().saturating_sub(tokens.back);
        Ok(tokens.ids.get(..end).unwrap_or_default().to_vec())
    };
    let before = own(prompt, None)?;
    let both = own(&[prompt, answer].concat(), None)?;
    match both.strip_prefix(before.as_slice()) {
        Some(behind) if !behind.is_empty() => Ok(behind.to_vec()),
        _ => own(answer, Some(false)),
    }
}

/// Returns the positions at which two prompts of the same length have different tokens; none where their lengths
/// differ.
fn changed(clean: &[u32], corrupt: &[u32]) -> Vec<usize> {
    if clean.len() != corrupt.len() {
        return Vec::new();
    }
    clean.iter().zip(corrupt).enumerate().filter(|(_, (a, b))| a != b).map(|(position, _)| position).collect()
}

/// Returns where the words of a task are in its clean prompt: for `ioi` the indirect object and the subject's two
/// mentions.
fn roles(name: &str, pair: &Pair) -> Vec<(&'static str, Range<usize>)> {
    let ("ioi", Some(io), Some(subject)) = (name, pair.answers.first(), pair.wrong.first()) else { return Vec::new() };
    let io = words(&pair.clean, io.trim());
    let subject = words(&pair.clean, subject.trim());
    let named = [("IO", io.first()), ("S1", subject.first()), ("S2", subject.get(1))];
    named.into_iter().filter_map(|(role, place)| Some((role, place?.clone()))).collect()
}

/// Returns where a word occurs in a text by itself.
fn words(text: &str, word: &str) -> Vec<Range<usize>> {
    let is_free = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
    let whole = |(start, found): &(usize, &str)| {
        let before = text.get(..*start);
        let behind = text.get(start + found.len()..);
        is_free(before.and_then(|text| text.chars().next_back()))
            && is_free(behind.and_then(|text| text.chars().next()))
    };
    let found = text.match_indices(word).filter(|place| !word.is_empty() && whole(place));
    found.map(|(start, found)| start..start + found.len()).collect()
}

/// The number of pairs without a one-token answer after which none of the task is expected: answers are drawn from
/// dozens, or made up of parts.
const CUT_FROM: usize = 1000;

fn no_single(name: &str) -> Error {
    err!(Argument, "expected pairs of `{name}` whose answers are one token each, found none")
        .hint("leave out `single_token`, or choose the other `style`: this tokenizer cuts the words of the task")
        .about("single_token")
}

/// The number of pairs from which the most frequent layout of a task is estimated.
const ESTIMATED_FROM: usize = 500;

/// Draws pairs of a task with their tokens, as `form` requires. The first ones do not depend on their number.
pub fn token_pairs(
    name: &str,
    options: &PairOptions,
    form: &PairTokenOptions,
    tokenizer: &Tokenizer,
    task: &Task,
) -> Result<Vec<(Pair, TokenPair)>> {
    let layout = if form.same_length { Some(usual_layout(name, options, form, tokenizer, task)?) } else { None };
    let mut draw = Draw::new(name, options)?;
    let single = form.single_token.then_some(SingleTokenCounts::default());
    drawn(&mut draw, options.n, single, layout, tokenizer, task)
}

/// Counts of answers and words that are to be one token each.
#[derive(Default)]
struct SingleTokenCounts {
    pairs: usize,
    /// Whether some answer was one token; `pair` tells whether all of some pair were.
    answer: bool,
    pair: bool,
}

/// Draws the pairs of a layout, or of any, whose answers and words are one token each where required.
fn drawn(
    draw: &mut Draw,
    n: usize,
    mut single: Option<SingleTokenCounts>,
    layout: Option<PairLayout>,
    tokenizer: &Tokenizer,
    task: &Task,
) -> Result<Vec<(Pair, TokenPair)>> {
    let name = draw.name;
    let found = draw.some(n, task, |pair| {
        // Most pairs of another layout are of another length, which one prompt tells; all texts of a pair are some six.
        if let Some(layout) = &layout
            && tokenizer.encode(&pair.clean, None, task)?.ids.len() != layout.tokens
        {
            return Ok(None);
        }
        let tokens = TokenPair::of(name, &pair, tokenizer, task)?;
        if let Some(seen) = &mut single {
            seen.pairs += 1;
            seen.answer |= tokens.answers.iter().chain(&tokens.wrong).any(|answer| answer.len() == 1);
            seen.pair |= tokens.is_single();
            if !seen.answer && seen.pairs >= CUT_FROM {
                return Err(no_single(name));
            }
        }
        let is_cut = single.is_some() && !tokens.is_single();
        let fits = layout.is_none() || tokens.layout() == layout;
        Ok((!is_cut && fits).then_some((pair, tokens)))
    });
    match found {
        Err(error) if error.kind == Kind::Argument && single.is_some_and(|seen| !seen.pair) => Err(no_single(name)),
        found => found,
    }
}

/// Estimates the most frequent layout of pairs.
fn usual_layout(
    name: &str,
    options: &PairOptions,
    form: &PairTokenOptions,
    tokenizer: &Tokenizer,
    task: &Task,
) -> Result<PairLayout> {
    let mut draw = Draw::new(name, options)?;
    let mut counts = BTreeMap::new();
    for _ in 0..ESTIMATED_FROM {
        let Some(pair) = draw.next(task)? else { break };
        let tokens = TokenPair::of(name, &pair, tokenizer, task)?;
        if let Some(layout) = tokens.layout().filter(|_| !form.single_token || tokens.is_single()) {
            *counts.entry(layout).or_insert(0) += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(layout, _)| layout).ok_or_else(|| {
        err!(Argument, "expected a task with pairs of one layout, found none among those of `{name}`")
            .hint("leave out `single_token` or `template`, or choose the other `style`: this tokenizer cuts its words")
            .about("same_length")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts: Vec<Pair> = super::super::pairs("ioi", &PairOptions::default(), &Task::default()).unwrap();
        let mut letters: Vec<String> = texts
            .iter()
            .flat_map(|pair| [&pair.clean, &pair.corrupt, &pair.answers[0], &pair.wrong[0]])
            .flat_map(|text| text.chars().map(String::from))
            .collect();
        letters.sort();
        letters.dedup();
        Tokenizer::characters(letters, None, None).unwrap()
    }

    #[test]
    fn spans_are_where_the_names_stand() {
        let task = Task::default();
        let tokenizer = tokenizer();
        for pair in super::super::pairs("ioi", &PairOptions::default(), &task).unwrap() {
            let tokens = TokenPair::of("ioi", &pair, &tokenizer, &task).unwrap();
            let text = |role: &str| {
                let span = &tokens.spans[role];
                pair.clean.chars().skip(span[0]).take(span.len()).collect::<String>()
            };
            assert_eq!([text("IO"), text("S1")], [pair.answers[0].trim(), pair.wrong[0].trim()]);
            assert_eq!(text("S2"), text("S1"));
            assert!(tokens.spans["S1"][0] < tokens.spans["S2"][0]);
            assert_eq!(tokens.spans["end"], [pair.clean.chars().count() - 1]);
            assert_eq!(tokens.answers[0].len(), pair.answers[0].chars().count());
        }
    }

    #[test]
    fn that_no_answer_is_one_token_is_known_after_a_thousand_pairs() {
        let task = Task::default();
        let printable = (' '..='~').map(String::from).collect();
        let tokenizer = Tokenizer::characters(printable, None, Some("?")).unwrap();
        let refused = |name: &str, n: usize| {
            let mut draw = Draw::new(name, &PairOptions::default()).unwrap();
            let found = drawn(&mut draw, n, Some(SingleTokenCounts::default()), None, &tokenizer, &task);
            (found.err().and_then(|error| error.about), draw.seen.len())
        };
        assert_eq!(refused("ioi", 1), (Some("single_token".into()), CUT_FROM));
        assert_eq!(refused("apostrophe", 30), (None, 30));
    }

    #[test]
    fn pairs_of_one_layout_are_hundreds() {
        let task = Task::default();
        let options = PairOptions { n: 30, ..PairOptions::default() };
        let form = PairTokenOptions { same_length: true, single_token: false };
        let found = token_pairs("agreement", &options, &form, &agreement(), &task).unwrap();
        let first = found[0].1.layout();
        assert!(first.is_some() && found.iter().all(|(_, tokens)| tokens.layout() == first));
        let fewer = PairOptions { n: 3, ..options };
        assert_eq!(token_pairs("agreement", &fewer, &form, &agreement(), &task).unwrap(), found[..3]);
    }

    /// Builds a tokenizer of the words of all prompts of agreement, each a token.
    fn agreement() -> Tokenizer {
        let options = PairOptions { n: 2000, ..PairOptions::default() };
        let pairs = super::super::pairs("agreement", &options, &Task::default()).unwrap();
        let all = pairs
            .iter()
            .flat_map(|pair| [&pair.clean, &pair.corrupt].into_iter().chain(&pair.answers).chain(&pair.wrong));
        let mut words: Vec<String> = all.flat_map(|text| text.split_whitespace()).map(String::from).collect();
        words.sort();
        words.dedup();
        words.insert(0, "<unk>".into());
        Tokenizer::words(words, None, Some("<unk>")).unwrap()
    }

    #[test]
    fn a_word_is_found_where_it_stands_alone() {
        assert_eq!(words("Anna and Ann met Ann.", "Ann"), [9..12, 17..20]);
        assert!(words("Ann", "").is_empty());
    }
}
