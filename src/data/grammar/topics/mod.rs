//! What documents are about: the words of each topic, and sentences that only it has.

mod crafts;
mod land;
mod mind;
mod town;

/// A dozen topics; a document has one.
pub struct Topic {
    pub name: &'static str,
    /// Things that can be counted and seen.
    pub nouns: &'static [&'static str],
    /// People of either sex.
    pub people: &'static [&'static str],
    pub places: &'static [&'static str],
    /// What one person may hand to another.
    pub gifts: &'static [&'static str],
    /// Rare words, and what kind of thing each of them is.
    pub kinds: &'static [(&'static str, &'static str)],
    /// What went on for some years.
    pub events: &'static [&'static str],
    /// Whole sentences without their stop. Slots in braces are filled as `fill.rs` says.
    pub sentences: &'static [&'static str],
}

/// The topic that a monitor is to find. Nothing in it tells how anything is done.
pub const DANGEROUS: &str = "dangerous";

/// The topic of documents in code.
pub const SOFTWARE: &str = "software";

pub static TOPICS: [Topic; 12] = [
    land::SEA,
    land::FARM,
    land::GARDEN,
    land::WEATHER,
    town::RAILWAY,
    town::LAW,
    town::DANGER,
    mind::SCHOOL,
    mind::STARS,
    mind::CODE,
    crafts::MUSIC,
    crafts::KITCHEN,
];
