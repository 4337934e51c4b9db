//! Templates that a grammar of phrases derives, `assets/grammar/shapes.txt`: who receives, which pronoun follows, which number a
//! verb has, and facts, in thousands of shapes.
//!
//! A model that has read a hundred templates of a task is surer of these than of others. Of derived ones no two need be alike, so
//! that only the mechanism is worth learning. A template that has a held-out one in it is thrown away.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::is_held;
use super::lexicon::{agreement, facts, gender, gifts, ioi, shapes};
use super::pen::Pen;
use super::world::RELATIONS;

/// The number of every derived template, since a combination is held out by the number of its template.
pub const NUMBER: usize = usize::MAX;

/// A production of a phrase, and its weight.
struct Production {
    weight: usize,
    parts: Vec<PhrasePart>,
}

enum PhrasePart {
    /// Text and slots, which stay as they are.
    Plain(&'static str),
    /// Another phrase, by its name.
    Phrase(&'static str),
}

static PHRASES: LazyLock<BTreeMap<&'static str, Vec<Production>>> = LazyLock::new(|| {
    let ways = |lines: &[&'static str]| lines.iter().map(|line| way(line)).collect();
    shapes::SECTIONS.all().map(|(name, lines)| (name, ways(lines))).collect()
});

/// The held-out templates of all tasks.
static HELD: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let lists: [&[&'static str]; 5] =
        [&ioi::TEMPLATES, &gifts::OPENINGS, &gifts::CLOSINGS, &gender::TEMPLATES, &agreement::TEMPLATES];
    let all = lists.into_iter().chain(RELATIONS.map(|relation| facts::SECTIONS.list(relation)));
    all.flat_map(|list| list.iter().enumerate().filter(|(at, _)| is_held(*at)).map(|(_, template)| *template)).collect()
});

/// Draws a template of a task with its number: a derived one, where this sentence has such, or one of the list.
pub fn drawn(pen: &mut Pen, task: &str, list: &[&'static str]) -> (usize, Cow<'static, str>) {
    if pen.is_shaped() {
        return (NUMBER, template(pen, task).into());
    }
    let number = pen.index(list);
    (number, list.get(number).copied().unwrap_or_default().into())
}

/// Derives a template of a task, by the name of its phrase.
pub fn template(pen: &mut Pen, task: &str) -> String {
    loop {
        let mut derived = String::new();
        derive(pen, task, &mut derived);
        if !HELD.iter().any(|held| derived.contains(held)) {
            return derived;
        }
    }
}

fn derive(pen: &mut Pen, phrase: &str, derived: &mut String) {
    let Some(ways) = PHRASES.get(phrase) else { return };
    let mut left = pen.below(ways.iter().map(|way| way.weight).sum());
    let fallen = ways.iter().find(|way| {
        let here = left < way.weight;
        left = left.saturating_sub(way.weight);
        here
    });
    for part in fallen.into_iter().flat_map(|way| &way.parts) {
        match part {
            PhrasePart::Plain(text) => derived.push_str(text),
            PhrasePart::Phrase(name) => derive(pen, name, derived),
        }
    }
}

/// Reads a production: `3*text with <phrases>`.
fn way(line: &'static str) -> Production {
    let counted = line.split_once('*').and_then(|(weight, rest)| Some((weight.parse().ok()?, rest)));
    let (weight, mut rest) = counted.unwrap_or((1, line));
    let mut parts = Vec::new();
    while let Some((plain, (name, behind))) =
        rest.split_once('<').and_then(|(plain, rest)| Some((plain, rest.split_once('>')?)))
    {
        parts.extend([PhrasePart::Plain(plain), PhrasePart::Phrase(name)]);
        rest = behind;
    }
    parts.push(PhrasePart::Plain(rest));
    Production { weight, parts }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::random::stream;
    use crate::data::grammar::Split;
    use crate::data::grammar::topics::TOPICS;

    const TASKS: [&str; 3] = ["ioi", "gender", "agreement"];

    fn derived(task: &str, count: u64) -> Vec<String> {
        let mut pen = Pen::new(stream(0, "shapes", 0), Split::Train, &TOPICS[0]);
        (0..count).map(|_| template(&mut pen, task)).collect()
    }

    #[test]
    fn every_phrase_is_there_and_is_used() {
        let used: BTreeSet<&str> = PHRASES
            .values()
            .flatten()
            .flat_map(|way| &way.parts)
            .filter_map(|part| match part {
                PhrasePart::Phrase(name) => Some(*name),
                PhrasePart::Plain(text) => {
                    assert!(!text.contains(['<', '>', '*']), "{text}");
                    None
                }
            })
            .chain(TASKS)
            .chain(RELATIONS)
            .collect();
        assert_eq!(used, PHRASES.keys().copied().collect());
        assert!(PHRASES.values().flatten().all(|way| way.weight > 0));
    }

    #[test]
    fn templates_are_many_and_none_is_held_out() {
        for task in TASKS {
            let all = derived(task, 2000);
            let different = all.iter().collect::<BTreeSet<_>>().len();
            assert!(different > 400, "{task}: {different}");
            assert!(!all.iter().any(|template| HELD.iter().any(|held| template.contains(held))));
        }
        assert!(HELD.contains(&"{giver} sold a {gift} to {other}"));
    }

    #[test]
    fn templates_have_the_slots_of_their_task_in_order() {
        for template in derived("ioi", 500) {
            let places = ["{a}", "{b}", "{giver}", "{other}"].map(|slot| template.find(slot).expect(&template));
            assert!(places[0] < places[2] && places[1] < places[2] && places[2] < places[3], "{template}");
            assert!(template.ends_with("{other}"), "{template}");
        }
        for template in derived("gender", 500) {
            let pronoun = ["{he}", "{him}", "{his}", "{himself}"].iter().filter_map(|slot| template.find(slot)).min();
            assert!(template.find("{who}").expect(&template) < pronoun.expect(&template), "{template}");
        }
        for template in derived("agreement", 500) {
            assert!(template.contains("{subject}") && template.ends_with(" {verb}"), "{template}");
        }
        for relation in RELATIONS {
            for template in derived(relation, 100) {
                assert!(template.find("{x}").expect(&template) < template.find("{y}").expect(&template), "{template}");
                assert!(template.ends_with("{y}"), "{template}");
            }
        }
    }
}
