//! Facts joined by "and", "or" and "but not": the form of a description, and the search for the best one.

use crate::common::*;
use crate::features::facts::{Fact, FactRole};

/// The rise of the correlation from which a further condition is added.
const WORTH: f64 = 0.03;
/// The number of the best facts, and of the best pairs, that are joined with all others.
const FACTS: usize = 8;
const PAIRS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    And,
    Or,
    ButNot,
}

const JOINS: [Join; 3] = [Join::And, Join::Or, Join::ButNot];

impl Join {
    pub fn of(self, a: bool, b: bool) -> bool {
        match self {
            Join::And => a && b,
            Join::Or => a || b,
            Join::ButNot => a && !b,
        }
    }

    fn of_words(self, a: u64, b: u64) -> u64 {
        match self {
            Join::And => a & b,
            Join::Or => a | b,
            Join::ButNot => a & !b,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Join::And => "and",
            Join::Or => "or",
            Join::ButNot => "but not",
        }
    }
}

/// A formula: up to three facts, by their indices, joined from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formula {
    first: usize,
    more: Vec<(Join, usize)>,
}

impl Formula {
    pub fn holds(&self, facts: &[&Fact], at: usize) -> bool {
        let of = |fact: usize| facts.get(fact).and_then(|fact| fact.holds.get(at)).copied().unwrap_or_default();
        self.more.iter().fold(of(self.first), |holds, (join, fact)| join.of(holds, of(*fact)))
    }

    /// Returns the facts, and how each but the first is joined to those before.
    pub fn parts(&self) -> (usize, &[(Join, usize)]) {
        (self.first, &self.more)
    }

    /// Returns the formula in words.
    pub fn text(&self, facts: &[&Fact]) -> String {
        let Some(first) = facts.get(self.first) else { return String::new() };
        let mut said = first.text.clone();
        for (number, (join, fact)) in self.more.iter().enumerate() {
            let Some(fact) = facts.get(*fact) else { continue };
            let only_or = self.more.iter().take(number + 1).all(|(join, _)| *join == Join::Or);
            said = match (number, join) {
                // "token is "J", "I" or "L""
                (_, Join::Or) if only_or && let Some(list) = listed(&said, &first.text, &fact.text) => list,
                // "capital letters inside a bracket"
                (0, Join::And) if first.role != FactRole::Where && fact.role == FactRole::Where => {
                    format!("{said} {}", fact.text)
                }
                (0, Join::And) if first.role == FactRole::Where && fact.role != FactRole::Where => {
                    format!("{} {said}", fact.text)
                }
                (0, Join::And | Join::Or) => format!("{said} {} {}", join.word(), fact.text),
                _ => format!("{said}, {} {}", join.word(), fact.text),
            };
        }
        said
    }

    fn joined(&self, join: Join, fact: usize) -> Self {
        let more = self.more.iter().copied().chain([(join, fact)]).collect();
        Self { first: self.first, more }
    }

    fn has(&self, fact: usize) -> bool {
        self.first == fact || self.more.iter().any(|(_, other)| *other == fact)
    }
}

/// Beginnings of facts that name tokens; a list of names has its beginning only once.
const NAMING: [&str; 3] = ["token is \"", "after \"", "token has \""];

/// Joins the text so far and one more fact as one list of names, where both name tokens in the same way, one directly
/// after the other.
fn listed(said: &str, first: &str, more: &str) -> Option<String> {
    let naming = NAMING.iter().find(|naming| first.starts_with(**naming) && more.starts_with(**naming))?;
    let name = more.get(naming.len() - 1..)?;
    // A list of two has one "or" between its names, which a third one moves.
    let names = said.get(naming.len() - 1..)?;
    match names.rsplit_once("\" or \"") {
        Some((before, last)) => Some(format!("{}{before}\", \"{last} or {name}", naming.strip_suffix('"')?)),
        None if said == first => Some(format!("{said} or {name}")),
        None => None,
    }
}

/// The tokens of a range at which a fact is true, a bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Vec<u64>);

impl Mask {
    pub fn of(fact: &Fact, range: Range<usize>) -> Self {
        let holds = fact.holds.get(range).unwrap_or_default();
        let word = |bits: &[bool]| bits.iter().rev().fold(0, |word, bit| word << 1 | u64::from(*bit));
        Self(holds.chunks(64).map(word).collect())
    }

    fn joined(&self, join: Join, other: &Mask) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| join.of_words(*a, *b)).collect())
    }

    fn is_true(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// The activations that descriptions are compared with.
pub struct CodeColumn {
    count: f64,
    sum: f64,
    squares: f64,
    /// The tokens where the activations are not 0, with the activations.
    active: Vec<(usize, f64)>,
}

impl CodeColumn {
    pub fn of(codes: &[f32]) -> Self {
        let active: Vec<(usize, f64)> = codes
            .iter()
            .enumerate()
            .filter(|(_, code)| **code != 0.0)
            .map(|(at, code)| (at, f64::from(*code)))
            .collect();
        let sum = active.iter().map(|(_, code)| code).sum();
        let squares = active.iter().map(|(_, code)| code * code).sum();
        Self { count: codes.len() as f64, sum, squares, active }
    }

    /// Computes Pearson's correlation of 0 and 1 with the activations; 0 where one of the two is constant.
    fn correlation(&self, mask: &Mask) -> f64 {
        let both = self.active.iter().filter(|(at, _)| mask.is_true(*at)).map(|(_, code)| code).sum();
        self.of_sums(f64::from(mask.count()), both)
    }

    /// Computes the correlation where a function tells what is true.
    pub fn correlation_with(&self, tokens: usize, holds: impl Fn(usize) -> bool) -> f64 {
        let both = self.active.iter().filter(|(at, _)| holds(*at)).map(|(_, code)| code).sum();
        self.of_sums((0..tokens).filter(|at| holds(*at)).count() as f64, both)
    }

    fn of_sums(&self, ones: f64, both: f64) -> f64 {
        let n = self.count;
        let spreads = (ones - ones * ones / n) * (self.squares - self.sum * self.sum / n);
        if spreads > 0.0 { (both - ones * self.sum / n) / spreads.sqrt() } else { 0.0 }
    }
}

/// Returns the formula with the highest correlation, if any is above 0, and the number tried.
pub fn best(codes: &CodeColumn, masks: &[&Mask]) -> (Option<Formula>, usize) {
    let single = |fact: usize| (codes.correlation(masks[fact]), Formula { first: fact, more: Vec::new() });
    let mut tried = masks.len();
    let singles = strongest((0..masks.len()).map(single).collect(), FACTS);
    let Some((score, formula)) = singles.first().filter(|(score, _)| *score > 0.0).cloned() else {
        return (None, tried);
    };
    let mut best = (score, formula);
    let mut level = singles;
    for _ in 0..2 {
        let mut longer = Vec::new();
        for (_, formula) in &level {
            let mask = formula
                .more
                .iter()
                .fold(masks[formula.first].clone(), |mask, (join, fact)| mask.joined(*join, masks[*fact]));
            for (fact, other) in masks.iter().enumerate().filter(|(fact, _)| !formula.has(*fact)) {
                let joined =
                    JOINS.map(|join| (codes.correlation(&mask.joined(join, other)), formula.joined(join, fact)));
                longer.extend(joined);
            }
        }
        tried += longer.len();
        level = strongest(longer, PAIRS);
        match level.first() {
            Some((score, formula)) if *score > best.0 + WORTH => best = (*score, formula.clone()),
            _ => break,
        }
    }
    (Some(best.1), tried)
}

/// Returns the formulas with the largest scores; of ties the first ones.
fn strongest(mut scored: Vec<(f64, Formula)>, count: usize) -> Vec<(f64, Formula)> {
    order::sort_descending(&mut scored, |(score, _)| *score);
    scored.truncate(count);
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(text: &str, role: FactRole, holds: &str) -> Fact {
        Fact::new(text, role, holds.chars().map(|c| c == 'x').collect())
    }

    fn found(codes: &[f32], facts: &[&Fact]) -> String {
        let masks: Vec<Mask> = facts.iter().map(|fact| Mask::of(fact, 0..codes.len())).collect();
        let (formula, _) = best(&CodeColumn::of(codes), &masks.iter().collect::<Vec<_>>());
        formula.map_or(String::new(), |formula| formula.text(facts))
    }

    #[test]
    fn the_shortest_formula_that_tells_the_codes_is_found() {
        use FactRole::*;
        let inside = fact("inside a bracket", Where, "..xxxx..xxxx....");
        let capitals = fact("capital letters", What, ".x.x.....x....x.");
        let opens = fact("opens a bracket", Clause, "..x.....x.......");
        let all = [&inside, &capitals, &opens];
        let codes = |places: &str| places.chars().map(|c| c.to_digit(10).unwrap_or(0) as f32).collect::<Vec<_>>();
        assert_eq!(found(&codes("..3.....3......."), &all), "opens a bracket");
        assert_eq!(found(&codes("...2.....2......"), &all), "capital letters inside a bracket");
        assert_eq!(found(&codes("...111...111...."), &all), "inside a bracket, but not opens a bracket");
        assert_eq!(found(&codes(".112....12....2."), &all[1..]), "capital letters or opens a bracket");
        assert_eq!(found(&codes("..22...22......."), &[]), "");
        assert_eq!(found(&[0.0; 16], &all), "");
        let mixed = found(&codes("..12....12......"), &all);
        assert_eq!(mixed, "capital letters inside a bracket, or opens a bracket");
    }

    #[test]
    fn names_of_tokens_make_a_list() {
        let [a, b, c] = ["J", "I", "L"].map(|name| fact(&format!("token is {name:?}"), FactRole::What, ""));
        let after = fact("after \"[\"", FactRole::Where, "");
        let said = |more: Vec<(Join, usize)>| Formula { first: 0, more }.text(&[&a, &b, &c, &after]);
        assert_eq!(said(vec![(Join::Or, 1)]), "token is \"J\" or \"I\"");
        assert_eq!(said(vec![(Join::Or, 1), (Join::Or, 2)]), "token is \"J\", \"I\" or \"L\"");
        assert_eq!(said(vec![(Join::Or, 1), (Join::Or, 3)]), "token is \"J\" or \"I\", or after \"[\"");
        assert_eq!(said(vec![(Join::Or, 3), (Join::Or, 1)]), "token is \"J\" or after \"[\", or token is \"I\"");
        assert_eq!(
            said(vec![(Join::ButNot, 3), (Join::Or, 1)]),
            "token is \"J\", but not after \"[\", or token is \"I\""
        );
    }

    #[test]
    fn a_mask_is_its_fact() {
        let of = |count: usize| Fact::new("", FactRole::What, (0..count).map(|i| i % 3 == 1).collect());
        let fact = of(200);
        let mask = Mask::of(&fact, 7..177);
        assert!((0..170).all(|at| mask.is_true(at) == fact.holds[at + 7]) && !mask.is_true(170));
        assert_eq!(mask.count(), fact.holds[7..177].iter().filter(|holds| **holds).count() as u32);
    }

    #[test]
    fn the_correlation_is_pearsons() {
        let codes = [0.0, 2.0, 0.0, 1.0, 3.0];
        let holds = [false, true, false, false, true];
        let found = CodeColumn::of(&codes).correlation_with(5, |at| holds[at]);
        // Means 1.2 and 0.4: 2.6 / sqrt(6.8 * 1.2).
        assert!((found - 2.6 / (6.8_f64 * 1.2).sqrt()).abs() < 1e-12, "{found}");
        let mask = Mask::of(&Fact::new("", FactRole::What, holds.to_vec()), 0..5);
        assert_eq!(CodeColumn::of(&codes).correlation(&mask), found);
        assert_eq!(CodeColumn::of(&codes).correlation_with(5, |_| true), 0.0);
    }
}
