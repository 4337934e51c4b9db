//! A description as a rule that is true or false of each token of any text.

use super::formula::{Formula, Join};
use crate::common::*;
use crate::features::TextCodes;
use crate::features::facts::{Fact, looks, of_labels, of_name};

/// A rule: facts by their names, joined from left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    first: String,
    more: Vec<(Join, String)>,
    /// The whole rule in words.
    pub text: String,
}

/// The facts of a text that are the same for every feature, by name.
pub struct KnownFacts<'a> {
    read: &'a TextCodes,
    facts: BTreeMap<String, Fact>,
}

impl<'a> KnownFacts<'a> {
    pub fn of(read: &'a TextCodes) -> Self {
        let mut facts = BTreeMap::new();
        for fact in [of_labels(read), looks(read)].concat() {
            // Of two facts of one name the first was found first when the rule was made, too.
            facts.entry(fact.text.clone()).or_insert(fact);
        }
        Self { read, facts }
    }

    fn holds(&self, name: &str) -> Result<Vec<bool>> {
        let known = self.facts.get(name).cloned().or_else(|| of_name(self.read, name));
        let missing = || {
            err!(Argument, "expected a text on which one can say `{name}`, found one without such labels")
                .hint("read the text that the feature was explained by, or one with the same labels")
                .about("text")
        };
        Ok(known.ok_or_else(missing)?.holds)
    }
}

impl Rule {
    /// Builds a rule from a formula with the names of its facts.
    pub fn of(formula: &Formula, facts: &[&Fact]) -> Self {
        let name = |fact: usize| facts.get(fact).map_or_else(String::new, |fact| fact.text.clone());
        let (first, more) = formula.parts();
        Self {
            first: name(first),
            more: more.iter().map(|(join, fact)| (*join, name(*fact))).collect(),
            text: formula.text(facts),
        }
    }

    /// Returns whether the rule is true of each token of a text.
    pub fn holds(&self, known: &KnownFacts) -> Result<Vec<bool>> {
        let mut holds = known.holds(&self.first)?;
        for (join, name) in &self.more {
            holds.iter_mut().zip(known.holds(name)?).for_each(|(all, one)| *all = join.of(*all, one));
        }
        Ok(holds)
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::features::describe::rules;
    use crate::features::text_codes::tests::WORDS;

    /// Builds words in an order without a pattern, a feature that is active at "cat" after "(", and one at "sat" or
    /// ")".
    fn read(shift: u64) -> TextCodes {
        let ids: Vec<u32> = stream(1, "words", shift).random_iter::<u32>().map(|id| id % 8).take(4096).collect();
        let codes =
            |is_active: &dyn Fn(usize) -> bool| (0..4096).map(|at| if is_active(at) { 2.0 } else { 0.0 }).collect();
        let after = |at: usize| !at.is_multiple_of(16) && ids[at] == 1 && ids[at - 1] == 2;
        TextCodes {
            starts: (0..=256).map(|row| 16 * row).collect(),
            codes: vec![codes(&after), codes(&|at| ids[at] == 6 || ids[at] == 3)],
            texts: (0..8).map(|id| (id, format!(" {}", WORDS[id as usize]))).collect(),
            labels: Vec::new(),
            ids,
        }
    }

    #[test]
    fn a_rule_says_of_another_text_what_its_formula_says_of_its_own() {
        let one = read(3);
        let other = read(911);
        for (feature, rule) in rules(&one, one.len(), &Task::default()).unwrap().into_iter().enumerate() {
            let rule = rule.unwrap();
            for text in [&one, &other] {
                let holds = rule.holds(&KnownFacts::of(text)).unwrap();
                let active: Vec<bool> = text.codes[feature].iter().map(|code| *code > 0.0).collect();
                assert_eq!(holds, active, "{rule:?}");
            }
        }
        assert_ne!(one.ids, other.ids);
    }

    #[test]
    fn a_fact_that_a_text_does_not_know_is_named() {
        let rule = Rule { first: "inside a nebula".into(), more: Vec::new(), text: String::new() };
        let error = rule.holds(&KnownFacts::of(&read(0))).unwrap_err();
        assert!(error.message.contains("inside a nebula") && error.about.as_deref() == Some("text"));
    }
}
