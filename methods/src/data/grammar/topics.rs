//! The topics of documents: the words of each, and sentences that only it has.

use std::sync::LazyLock;

use super::lexicon::topics::SECTIONS;

/// A topic; a document has one.
pub struct Topic {
    pub name: &'static str,
    /// Things that can be counted and seen.
    pub nouns: &'static [&'static str],
    /// People of either sex.
    pub people: &'static [&'static str],
    pub places: &'static [&'static str],
    /// Things that one person may hand to another.
    pub gifts: &'static [&'static str],
    /// Rare words, each with its kind of thing.
    pub kinds: Vec<(&'static str, &'static str)>,
    /// Events that went on for some years.
    pub events: &'static [&'static str],
    /// Whole sentences without their full stop. `fill.rs` fills the slots in braces.
    pub sentences: &'static [&'static str],
}

/// The topic that a monitor is to find. Its sentences do not tell how anything is done.
pub const DANGEROUS: &str = "dangerous";

/// The topic of documents in code.
pub const SOFTWARE: &str = "software";

const NAMES: [&str; 12] =
    ["sea", "farm", "garden", "weather", "railway", "law", DANGEROUS, "school", "stars", SOFTWARE, "music", "kitchen"];

pub static TOPICS: LazyLock<[Topic; NAMES.len()]> = LazyLock::new(|| NAMES.map(topic));

fn topic(name: &'static str) -> Topic {
    let list = |section: &str| SECTIONS.list(&format!("{name}.{section}"));
    Topic {
        name,
        nouns: list("nouns"),
        people: list("people"),
        places: list("places"),
        gifts: list("gifts"),
        kinds: SECTIONS.pairs(&format!("{name}.kinds")),
        events: list("events"),
        sentences: list("sentences"),
    }
}
