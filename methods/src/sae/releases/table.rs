//! The table of published dictionaries, `names.txt`, which `refresh.py` writes from SAELens' own.
//!
//! A release begins with `> NAME REPOSITORY LAYOUT MODEL`, and a fifth word where SAELens has inputs normalised otherwise than the
//! config says. Below it, `- ID PATH` is a dictionary, and `@ NAME ID` another's name for it, Neuronpedia's. `=` in place of
//! the second word is the first one again. A line with slots, `{a}`, `{b}` and so on, stands for many: behind it are products of
//! sets, `0-25:16,65 12:262`, a set for each slot, of words and of ranges of numbers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static TEXT: &str = include_str!("names.txt");

static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| read(TEXT));

static ON_NEURONPEDIA: LazyLock<BTreeMap<String, ReleasedDictionary>> = LazyLock::new(|| {
    let mut found = BTreeMap::new();
    for release in releases() {
        for pair in release.on_neuronpedia() {
            found.entry(pair.key).or_insert(ReleasedDictionary { release, id: pair.value });
        }
    }
    found
});

/// A release of dictionaries in SAELens.
pub struct Release {
    pub name: &'static str,
    pub repo: &'static str,
    /// The name by which SAELens knows the layout of its files.
    pub layout: &'static str,
    /// The normalisation of inputs, where the configs of the dictionaries say otherwise.
    pub scaling: Option<&'static str>,
    ids: Vec<TableLine>,
    others: Vec<TableLine>,
}

/// A dictionary of a release.
pub struct ReleasedDictionary {
    pub release: &'static Release,
    pub id: String,
}

/// One line of a release, for one name or many.
struct TableLine {
    key: &'static str,
    value: &'static str,
    products: &'static str,
}

/// A name, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePair {
    pub key: String,
    pub value: String,
}

impl Release {
    /// Lists the ids of the release, and the path of each in its repository.
    pub fn ids(&self) -> Vec<NamePair> {
        self.ids.iter().flat_map(TableLine::pairs).collect()
    }

    /// Lists what Neuronpedia calls dictionaries of the release, and the id of each.
    pub fn on_neuronpedia(&self) -> Vec<NamePair> {
        self.others.iter().flat_map(TableLine::pairs).collect()
    }
}

impl TableLine {
    fn pairs(&self) -> Vec<NamePair> {
        let products: Vec<&str> = if self.products.is_empty() { vec![""] } else { self.products.split(' ').collect() };
        let choices = products.into_iter().flat_map(choices);
        choices.map(|chosen| NamePair { key: filled(self.key, &chosen), value: filled(self.value, &chosen) }).collect()
    }
}

/// Lists all releases.
pub fn releases() -> &'static [Release] {
    &RELEASES
}

/// Returns all dictionaries that Neuronpedia has, by its names.
pub fn on_neuronpedia() -> &'static BTreeMap<String, ReleasedDictionary> {
    &ON_NEURONPEDIA
}

fn read(text: &'static str) -> Vec<Release> {
    let mut found: Vec<Release> = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap_or_default();
        let mark = next();
        let first = next();
        let second = next();
        let rest = next();
        if mark == ">" {
            let mut rest = rest.split(' ');
            let layout = rest.next().unwrap_or_default();
            // The model is for readers of the table: configs and paths say it, too.
            let scaling = rest.nth(1);
            let none = Vec::new;
            found.push(Release { name: first, repo: second, layout, scaling, ids: none(), others: none() });
        }
        let value = if second == "=" { first } else { second };
        let line = TableLine { key: first, value, products: rest };
        match (mark, found.last_mut()) {
            ("-", Some(release)) => release.ids.push(line),
            ("@", Some(release)) => release.others.push(line),
            _ => {}
        }
    }
    found
}

/// Lists the values of all slots that a product of sets stands for.
fn choices(product: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    for set in product.split(':').filter(|set| !set.is_empty()) {
        let values = values(set);
        let longer = |begun: Vec<String>| {
            values.iter().map(move |value| [begun.as_slice(), std::slice::from_ref(value)].concat())
        };
        found = found.into_iter().flat_map(longer).collect();
    }
    found
}

fn values(set: &str) -> Vec<String> {
    let range = |one: &str| {
        let ends = one.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        match ends {
            Some((from, to)) => (from..=to).map(|number: usize| number.to_string()).collect(),
            None => vec![one.to_string()],
        }
    };
    set.split(',').flat_map(range).collect()
}

/// Puts values in place of the slots of a text.
fn filled(text: &str, values: &[String]) -> String {
    let mut text = text.to_string();
    for (slot, value) in ('a'..).zip(values) {
        text = text.replace(&format!("{{{slot}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_for_products_of_sets() {
        let found = read("# a comment\n> r o/n saelens m\n- x{a}/{b} = 0-1:k,m 7:z\n- y z\n@ m/{a}-e x{a}/k 0\n");
        let pair = |key: &str, value: &str| NamePair { key: key.into(), value: value.into() };
        let same = ["x0/k", "x0/m", "x1/k", "x1/m", "x7/z"].map(|id| pair(id, id));
        assert_eq!(found[0].ids(), [same.as_slice(), &[pair("y", "z")]].concat());
        assert_eq!(found[0].on_neuronpedia(), [pair("m/0-e", "x0/k")]);
        assert_eq!((found[0].layout, found[0].scaling), ("saelens", None));
        assert_eq!(read("> r o/n saelens m constant")[0].scaling, Some("constant"));
    }
}
