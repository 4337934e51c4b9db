//! A short description of a feature without any language model: the predicate, about tokens, neighbours, positions and
//! labels, that tells best where the feature is active.
//!
//! It is chosen on one half of the rows and scored on the other half, by the correlation of what it says (0 or 1) with
//! the codes, as Bills et al. 2023 score explanations.

mod words;

use crate::base::Result;
use crate::err;
use crate::model::tokenizer::Tokenizer;
use words::{Context, Predicate, candidates};

/// Below this correlation nothing is said to be understood.
const CLEAR: f64 = 0.3;
/// A second condition is worth its words where it adds so much.
const WORTH: f64 = 0.05;
/// So many of the best predicates are combined with all others.
const COMBINED: usize = 8;

/// Rows of tokens and what a feature's codes are at each of them.
#[derive(Debug, Clone)]
pub struct Fragment<'a> {
    pub ids: &'a [u32],
    pub codes: Vec<f32>,
    /// Whether it is one of those where the feature is strongest, or one drawn at random.
    pub is_top: bool,
}

/// What a feature stands for, as far as predicates tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub text: String,
    /// Of the description with the codes, on fragments that it was not chosen on: all, the strongest, random ones.
    pub score: f64,
    pub top: f64,
    pub random: f64,
    /// How many descriptions were tried.
    pub tried: usize,
}

/// Describes a feature by what it does in these fragments: every second one of each kind chooses, the others judge.
pub fn describe(tokenizer: &Tokenizer, fragments: &[Fragment]) -> Result<Described> {
    let contexts = fragments.iter().map(|fragment| {
        if fragment.ids.len() != fragment.codes.len() {
            return Err(err!(Bug, "{} codes of {} tokens", fragment.codes.len(), fragment.ids.len()));
        }
        Context::of(tokenizer, fragment.ids)
    });
    let contexts = contexts.collect::<Result<Vec<_>>>()?;
    let (mut chooses, mut judges) = (Half::default(), [Half::default(), Half::default(), Half::default()]);
    let mut counts = [0_usize; 2];
    for (fragment, context) in fragments.iter().zip(&contexts) {
        let count = &mut counts[usize::from(fragment.is_top)];
        *count += 1;
        if *count % 2 == 1 {
            chooses.add(context, &fragment.codes);
        } else {
            judges[0].add(context, &fragment.codes);
            judges[if fragment.is_top { 1 } else { 2 }].add(context, &fragment.codes);
        }
    }
    let (predicate, tried) = chosen(&chooses);
    let Some(predicate) = predicate else {
        return Ok(Described { text: "unclear".into(), score: 0.0, top: 0.0, random: 0.0, tried });
    };
    let [score, top, random] = judges.map(|half| half.correlation(&predicate));
    let text = if score < CLEAR { format!("unclear ({predicate}?)") } else { predicate.to_string() };
    Ok(Described { text, score, top, random, tried })
}

/// Positions with their codes.
#[derive(Default)]
struct Half<'a> {
    places: Vec<(&'a Context, usize)>,
    codes: Vec<f64>,
}

impl<'a> Half<'a> {
    fn add(&mut self, context: &'a Context, codes: &[f32]) {
        self.places.extend((0..codes.len()).map(|position| (context, position)));
        self.codes.extend(codes.iter().map(|code| f64::from(*code)));
    }

    /// Of 0 and 1 with the codes; 0 where one of the two never changes.
    fn correlation(&self, predicate: &Predicate) -> f64 {
        let holds: Vec<bool> =
            self.places.iter().map(|(context, position)| predicate.holds(context, *position)).collect();
        self.correlated(&holds)
    }

    fn correlated(&self, holds: &[bool]) -> f64 {
        let n = self.codes.len() as f64;
        let (mut ones, mut sum, mut squares, mut both) = (0.0, 0.0, 0.0, 0.0);
        for (holds, code) in holds.iter().zip(&self.codes) {
            sum += code;
            squares += code * code;
            if *holds {
                ones += 1.0;
                both += code;
            }
        }
        let spreads = (ones - ones * ones / n) * (squares - sum * sum / n);
        if spreads > 0.0 { (both - ones * sum / n) / spreads.sqrt() } else { 0.0 }
    }
}

/// The predicate that tells best where the codes are, of one condition or two, and how many were tried.
fn chosen(half: &Half) -> (Option<Predicate>, usize) {
    let simple = candidates(&half.places, &half.codes);
    let masks: Vec<Vec<bool>> = simple
        .iter()
        .map(|predicate| half.places.iter().map(|(context, position)| predicate.holds(context, *position)).collect())
        .collect();
    let mut scored: Vec<(f64, usize)> = masks.iter().enumerate().map(|(i, mask)| (half.correlated(mask), i)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut tried = simple.len();
    let Some(&(single, first)) = scored.first().filter(|(score, _)| *score > 0.0) else { return (None, tried) };
    let mut best = (single + WORTH, None);
    for &(_, one) in scored.iter().take(COMBINED) {
        for other in (0..simple.len()).filter(|other| *other != one) {
            for is_and in [true, false] {
                tried += 1;
                let both = masks[one].iter().zip(&masks[other]).map(|(a, b)| if is_and { *a && *b } else { *a || *b });
                let score = half.correlated(&both.collect::<Vec<bool>>());
                if score > best.0 {
                    best = (score, Some((is_and, one, other)));
                }
            }
        }
    }
    let of = |i: usize| Box::new(simple[i].clone());
    let predicate = match best.1 {
        Some((true, a, b)) => Predicate::And(of(a), of(b)),
        Some((false, a, b)) => Predicate::Or(of(a), of(b)),
        None => simple[first].clone(),
    };
    (Some(predicate), tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Tokenizer {
        let words = ["the", "cat", "(", ")", "NASA", "1843", "sat", "dog"].map(String::from);
        Tokenizer::words(words.to_vec(), None, None).unwrap()
    }

    /// Rows of words without order, with what a feature says of each.
    fn described(code: impl Fn(&[u32], usize) -> f32) -> Described {
        let rows: Vec<Vec<u32>> =
            (0..40_u32).map(|row| (0..16).map(|i| (row * 5 + i * i * 3 + i) % 8).collect()).collect();
        let fragments = rows.iter().enumerate().map(|(i, ids)| Fragment {
            ids,
            codes: (0..ids.len()).map(|position| code(ids, position)).collect(),
            is_top: i % 3 == 0,
        });
        describe(&words(), &fragments.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_feature_of_one_token_is_named_by_it() {
        let found = described(|ids, position| if ids[position] == 2 { 3.0 } else { 0.0 });
        assert_eq!((found.text.as_str(), found.score), ("token is \" (\"", 1.0));
        assert!(found.tried > 20);
    }

    #[test]
    fn two_conditions_are_joined_where_both_count() {
        let after = |ids: &[u32], position: usize| position > 0 && ids[position - 1] == 2;
        let found = described(|ids, position| if after(ids, position) && ids[position] == 4 { 1.0 } else { 0.0 });
        assert!(found.score > 0.9, "{found:?}");
        assert!(found.text.contains("NASA") || found.text.contains("capital"), "{found:?}");
    }

    #[test]
    fn what_no_predicate_tells_is_unclear() {
        let found = described(|ids, position| ((ids.iter().sum::<u32>() as usize * 31 + position * 17) % 7) as f32);
        assert!(found.text.starts_with("unclear"), "{found:?}");
        assert_eq!(described(|_, _| 0.0).text, "unclear");
    }
}
