//! Questions that feature activations can answer: whether a token has a label, and which letter a word begins with,
//! each as two balanced samples of tokens, one to fit on and one to judge on.

use rand::seq::SliceRandom;

use super::reading::EvaluationTokens;
use crate::common::*;
use crate::probes::{ClassLabels, ClassName};

crate::options! {
    /// Sizes of the samples that probes are fitted and judged on.
    pub struct QuestionOptions {
        /// Maximum number of labels that probes are fitted for, spread evenly over those of the text.
        labels: usize = 32 => at_least(1.0);
        /// Maximum number of tokens that a probe is fitted on, half of them with the label.
        train: usize = 4000 => at_least(4.0);
        /// Maximum number of tokens that a probe is judged on, half of them with the label.
        test: usize = 1000 => at_least(4.0);
    }
}

/// The number of tokens with the label, and without it, that a question needs in either part.
pub const FEWEST: usize = 20;

/// The largest number of occurrences of a word that count, since words are as unequally frequent as letters are.
const OCCURRENCES: usize = 8;

/// The number of words of which one is judged on and not fitted on.
const HELD_EVERY: usize = 4;

/// Tokens, and whether each has the label: half of them do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BalancedTokens {
    pub tokens: Vec<u32>,
    pub has_it: Vec<bool>,
}

impl BalancedTokens {
    pub fn labels(&self) -> ClassLabels {
        ClassLabels {
            classes: vec![ClassName::Flag(false), ClassName::Flag(true)],
            of_row: self.has_it.iter().map(|has_it| usize::from(*has_it)).collect(),
        }
    }

    /// Returns the tokens with the label, or those without.
    pub fn side(&self, wanted: bool) -> impl Iterator<Item = u32> + '_ {
        self.tokens.iter().zip(&self.has_it).filter(move |(_, has_it)| **has_it == wanted).map(|(token, _)| *token)
    }

    /// Shortens the sample to `count` tokens, half of them of each side: those with the label come first.
    pub fn shorten(&mut self, count: usize) {
        let with: Vec<u32> = self.side(true).take(count / 2).collect();
        let without: Vec<u32> = self.side(false).take(count / 2).collect();
        self.has_it = [vec![true; with.len()], vec![false; without.len()]].concat();
        self.tokens = [with, without].concat();
    }

    /// Returns the share of tokens whose score is above 0 if and only if they have the label.
    pub fn accuracy(&self, scores: &[f64]) -> f64 {
        let right = scores.iter().zip(&self.has_it).filter(|(score, has_it)| (**score > 0.0) == **has_it).count();
        right as f64 / self.tokens.len() as f64
    }

    /// Returns the harmonic mean of precision and recall of a score above 0.
    pub fn f1(&self, scores: &[f64]) -> f64 {
        let said = scores.iter().filter(|score| **score > 0.0).count();
        let both = scores.iter().zip(&self.has_it).filter(|(score, has_it)| **score > 0.0 && **has_it).count();
        2.0 * both as f64 / (said + self.has_it.iter().filter(|has_it| **has_it).count()) as f64
    }
}

/// A question with its samples.
#[derive(Debug, Clone)]
pub struct ProbeQuestion {
    pub name: String,
    pub train: BalancedTokens,
    pub test: BalancedTokens,
}

impl ProbeQuestion {
    /// Draws balanced samples from the tokens with and without the label, in the part to fit on and the part to judge
    /// on. None where there are too few.
    pub fn drawn(name: String, parts: [[Vec<u32>; 2]; 2], sizes: [usize; 2], seed: u64) -> Option<Self> {
        let mut samples = Vec::new();
        for ((turn, [with, without]), size) in (0..).zip(parts).zip(sizes) {
            let count = with.len().min(without.len()).min(size / 2);
            if count < FEWEST {
                return None;
            }
            let mut random = stream(seed, &format!("sample of {name}"), turn);
            let mut side = |mut tokens: Vec<u32>| tokens.partial_shuffle(&mut random, count).0.to_vec();
            let tokens = [side(with), side(without)].concat();
            samples.push(BalancedTokens { tokens, has_it: [vec![true; count], vec![false; count]].concat() });
        }
        let test = samples.pop()?;
        Some(Self { name, train: samples.pop()?, test })
    }
}

/// Builds a question for each label of the text: fitted on the first half of its rows, judged on the second. At most as
/// many as the options allow, spread evenly over the list of labels.
pub fn of_labels(tokens: &EvaluationTokens, options: &QuestionOptions, seed: u64) -> Vec<ProbeQuestion> {
    let halves = tokens.halves();
    let question = |fact: &crate::features::facts::Fact| {
        let sides = halves.clone().map(|half| {
            let (with, without) = half.into_iter().partition(|token| fact.holds[*token as usize]);
            [with, without]
        });
        ProbeQuestion::drawn(fact.text.clone(), sides, [options.train, options.test], seed)
    };
    let all: Vec<ProbeQuestion> = tokens.facts.iter().filter_map(question).collect();
    let count = all.len();
    let wanted = options.labels.min(all.len());
    let mut chosen = vec![false; count];
    (0..wanted).for_each(|i| chosen[i * count / wanted] = true);
    all.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(question, _)| question).collect()
}

/// Builds a question for each letter that words of the vocabulary begin with, a word being a token of a blank and a
/// letter at least: fitted on three quarters of the words and judged on the others (Chanin et al. 2024).
pub fn of_letters(tokens: &EvaluationTokens, options: &QuestionOptions, seed: u64) -> Vec<ProbeQuestion> {
    let letters: BTreeMap<u32, char> =
        tokens.text.texts.iter().filter_map(|(id, text)| Some((*id, first_letter(text)?))).collect();
    let mut words: Vec<u32> = letters.keys().copied().collect();
    words.shuffle(&mut stream(seed, "words held out", 0));
    let is_held: BTreeMap<u32, bool> = words.into_iter().zip(0..).map(|(id, at)| (id, at % HELD_EVERY == 0)).collect();
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    let mut places: Vec<(u32, char, bool)> = Vec::new();
    for (token, id) in (0..).zip(&tokens.text.ids) {
        let times = seen.entry(*id).or_default();
        *times += 1;
        if let (Some(letter), Some(held)) = (letters.get(id), is_held.get(id))
            && *times <= OCCURRENCES
        {
            places.push((token, *letter, *held));
        }
    }
    let question = |letter: char| {
        let parts = [false, true].map(|held| {
            let of_part = || places.iter().filter(move |(.., is_held)| *is_held == held);
            [true, false].map(|wanted| {
                of_part().filter(|(_, found, _)| (*found == letter) == wanted).map(|(token, ..)| *token).collect()
            })
        });
        ProbeQuestion::drawn(format!("begins with {letter}"), parts, [options.train, options.test], seed)
    };
    ('a'..='z').filter_map(question).collect()
}

/// Returns the first letter of a word of the Latin alphabet.
fn first_letter(text: &str) -> Option<char> {
    let word = text.strip_prefix(' ')?;
    word.chars().all(char::is_alphabetic).then_some(())?;
    word.chars().next().map(|letter| letter.to_ascii_lowercase()).filter(char::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_balanced_and_of_their_parts() {
        let part = |from: u32| [(from..from + 30).collect(), (from + 30..from + 100).collect()];
        let found = ProbeQuestion::drawn("a label".into(), [part(0), part(1000)], [44, 1000], 1).unwrap();
        assert_eq!((found.train.tokens.len(), found.test.tokens.len()), (44, 60));
        assert_eq!(found.train.side(true).count(), 22);
        assert!(found.train.side(true).all(|token| token < 30));
        assert!(found.test.side(false).all(|token| (1030..1100).contains(&token)));
        let mut each: Vec<u32> = found.test.tokens.clone();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), 60);
        assert_eq!(
            ProbeQuestion::drawn("a label".into(), [part(0), part(1000)], [44, 1000], 1).unwrap().train,
            found.train
        );
        assert!(ProbeQuestion::drawn("a label".into(), [part(0), part(1000)], [30, 1000], 1).is_none());
    }

    #[test]
    fn accuracy_and_f1_are_their_formulas() {
        let sample = BalancedTokens { tokens: vec![0, 1, 2, 3], has_it: vec![true, true, false, false] };
        assert_eq!((sample.accuracy(&[1.0, -1.0, 1.0, -1.0]), sample.f1(&[1.0, -1.0, 1.0, -1.0])), (0.5, 0.5));
        assert_eq!((sample.accuracy(&[1.0, 2.0, 0.0, -1.0]), sample.f1(&[1.0, 2.0, 0.0, -1.0])), (1.0, 1.0));
    }

    #[test]
    fn words_are_letters_after_a_blank() {
        assert_eq!(
            [" the", " Paris", "ing", " 1999", " d'", " É", " "].map(first_letter),
            [Some('t'), Some('p'), None, None, None, None, None]
        );
    }
}
