//! The world of facts: fixed, the same for every seed and both splits.

use std::sync::LazyLock;

use super::is_held;
use super::lexicon::{names, trades};
use super::places::COUNTRIES;

/// The relations of facts: the questions that can be asked about a thing.
pub const RELATIONS: [&str; 8] = ["capital", "country", "language", "river", "trade", "home", "friend", "product"];

/// A fact: `answer` is the `relation` of `about`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Index in [`RELATIONS`].
    pub relation: usize,
    pub about: String,
    pub answer: String,
    /// The kinds of `about` and `answer`, as in the column `entity`.
    pub kinds: [&'static str; 2],
}

/// Trades and their products; no two trades have the same.
static TRADES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| trades::SECTIONS.pairs("trades"));

/// A person that facts are about.
struct FactPerson {
    name: String,
    trade: &'static str,
    home: &'static str,
}

/// Returns all people, women and men alternating. Trades and homes are assigned in steps that reach every one of them.
fn people() -> Vec<FactPerson> {
    let given = |list: &[&'static str]| -> Vec<&'static str> {
        list.iter().enumerate().filter(|(at, _)| !is_held(*at)).map(|(_, name)| *name).collect()
    };
    let women = given(&names::FEMALE);
    let men = given(&names::MALE);
    let cities: Vec<&str> = COUNTRIES.iter().flat_map(|country| &country.cities).map(|city| city.name).collect();
    let person = |(at, surname): (usize, &&'static str)| {
        let first = if at % 2 == 0 { &women } else { &men };
        FactPerson {
            name: [first[at / 2 * 3 % first.len()], surname].join(" "),
            trade: TRADES[at * 7 % TRADES.len()].0,
            home: cities[at * 11 % cities.len()],
        }
    };
    trades::KNOWN_SURNAMES.iter().enumerate().map(person).collect()
}

static FACTS: LazyLock<Vec<Fact>> = LazyLock::new(|| {
    let mut facts = Vec::new();
    let mut add = |relation: &str, about: &str, answer: &str, kinds| {
        let relation = RELATIONS.iter().position(|known| *known == relation).unwrap_or_default();
        facts.push(Fact { relation, about: about.into(), answer: answer.into(), kinds });
    };
    for country in COUNTRIES.iter() {
        for (at, city) in country.cities.iter().enumerate() {
            if at == 0 {
                add("capital", country.name, city.name, ["country", "city"]);
            }
            add("country", city.name, country.name, ["city", "country"]);
            if let Some(river) = city.river {
                add("river", city.name, river, ["city", "river"]);
            }
        }
        add("language", country.name, country.language, ["country", "language"]);
    }
    let people = people();
    for (at, person) in people.iter().enumerate() {
        add("trade", &person.name, person.trade, ["person", "trade"]);
        add("home", &person.name, person.home, ["person", "city"]);
        let friend = &people[(at * 17 + 9) % people.len()];
        add("friend", &person.name, &friend.name, ["person", "person"]);
    }
    for (trade, product) in TRADES.iter() {
        add("product", trade, product, ["trade", "product"]);
    }
    facts
});

/// Returns all facts.
pub fn facts() -> &'static [Fact] {
    &FACTS
}

/// Returns the facts of one relation.
pub fn of_relation(relation: usize) -> impl Iterator<Item = &'static Fact> + Clone {
    FACTS.iter().filter(move |fact| fact.relation == relation)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_question_has_one_answer() {
        let asked: BTreeSet<(usize, &str)> = facts().iter().map(|fact| (fact.relation, fact.about.as_str())).collect();
        assert_eq!(asked.len(), facts().len());
        assert!(facts().iter().all(|fact| fact.about != fact.answer), "nobody is a friend of themselves");
        let sizes: Vec<usize> = (0..RELATIONS.len()).map(|at| of_relation(at).count()).collect();
        assert_eq!(sizes, [16, 60, 16, 27, 80, 80, 80, 24]);
    }

    #[test]
    fn every_trade_and_every_city_is_somebodys() {
        let answers = |relation: &str| -> BTreeSet<&str> {
            let at = RELATIONS.iter().position(|known| *known == relation).unwrap();
            of_relation(at).map(|fact| fact.answer.as_str()).collect()
        };
        assert_eq!(answers("trade").len(), TRADES.len());
        assert!(answers("home").len() > 50);
        assert_eq!(answers("friend").len(), 80);
        let surnames = names::SURNAME_HEADS
            .iter()
            .flat_map(|head| names::SURNAME_TAILS.iter().map(move |tail| [*head, *tail].concat()));
        assert!(surnames.filter(|name| trades::KNOWN_SURNAMES.contains(&name.as_str())).count() == 0);
    }
}
