//! Counts of what was read of a text and what was skipped, with the first places for each reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::{Cell, Table, Task, locked};
use crate::data::Document;

/// Places listed for each reason.
const PLACES: usize = 3;

/// Counts of one reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub files: u64,
    pub documents: u64,
    pub bytes: u64,
    /// Documents of the part that is not read.
    pub other_part: u64,
    /// Skipped documents and lines, by reason.
    pub skipped: BTreeMap<&'static str, SkippedPlaces>,
    /// The fields of the first record without the requested one.
    pub fields: Vec<String>,
}

/// Number of documents or lines that were skipped for one reason, with the first places.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SkippedPlaces {
    pub count: u64,
    /// The first places, `file:line`.
    pub places: Vec<String>,
}

impl Tally {
    pub fn skip(&mut self, reason: &'static str, place: impl FnOnce() -> String) {
        self.skip_many(reason, 1, place);
    }

    pub fn skip_many(&mut self, reason: &'static str, count: u64, place: impl FnOnce() -> String) {
        let skipped = self.skipped.entry(reason).or_default();
        skipped.count += count;
        if skipped.places.len() < PLACES {
            skipped.places.push(place());
        }
    }

    /// Counts a document, or a piece of one.
    pub fn count(&mut self, document: &Document) {
        self.documents += u64::from(document.at == 0);
        self.bytes += document.text.len() as u64;
    }

    /// Adds two tallies.
    pub fn and(mut self, other: Tally) -> Self {
        self.files += other.files;
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.other_part += other.other_part;
        for (reason, skipped) in other.skipped {
            let here = self.skipped.entry(reason).or_default();
            here.count += skipped.count;
            let room = PLACES.saturating_sub(here.places.len());
            here.places.extend(skipped.places.into_iter().take(room));
        }
        self
    }

    /// Returns a line for each reason, such as "lines of invalid UTF-8: 3 (a.txt:3, a.txt:9, b.txt:1)".
    pub fn reasons(&self) -> Vec<String> {
        let one = |(reason, skipped): (&&str, &SkippedPlaces)| {
            format!("{reason}: {} ({})", skipped.count, skipped.places.join(", "))
        };
        self.skipped.iter().map(one).collect()
    }

    /// Returns a table of what was read, and of what was skipped and why.
    pub fn table(&self, title: String) -> Table {
        let read = [
            ("files", self.files),
            ("documents", self.documents),
            ("bytes", self.bytes),
            ("documents of the other part", self.other_part),
        ];
        let read = read.map(|(what, count)| vec![what.into(), count.into(), Cell::Missing]);
        let skipped = self.skipped.iter().map(|(reason, skipped)| {
            vec![format!("left out: {reason}").into(), skipped.count.into(), skipped.places.join(", ").into()]
        });
        let columns = ["what", "count", "first places"];
        Table::new(title, columns, read.into_iter().chain(skipped))
    }
}

/// The tally of the latest reading of a text, which its clones share.
#[derive(Debug, Clone, Default)]
pub struct SharedTally {
    tally: Arc<Mutex<Tally>>,
    told: Arc<AtomicBool>,
}

impl SharedTally {
    /// Changes the tally. It stays valid if a thread that held it panicked, since it only counts.
    pub fn with<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut locked(&self.tally))
    }

    /// Reports what was skipped, the first time that the text has been read to its end.
    pub fn tell(&self, task: &Task) {
        let reasons = self.get().reasons();
        if !reasons.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            task.say(&format!("left out: {}", reasons.join("; ")));
        }
    }

    pub fn get(&self) -> Tally {
        self.with(|tally| tally.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Watch;

    #[test]
    fn what_was_left_out_is_said_once() {
        let (task, watch) = Watch::task();
        let shared = SharedTally::default();
        shared.tell(&task);
        shared.with(|tally| tally.skip("rows without a value", || "a.parquet:row 3".into()));
        shared.tell(&task);
        shared.clone().tell(&task);
        assert_eq!(watch.said(), ["left out: rows without a value: 1 (a.parquet:row 3)"]);
    }

    #[test]
    fn the_first_places_of_each_reason_are_told() {
        let mut tally = Tally { documents: 2, ..Tally::default() };
        for line in 1..=5 {
            tally.skip("lines that are no JSON", || format!("a.jsonl:{line}"));
        }
        assert_eq!(tally.reasons(), ["lines that are no JSON: 5 (a.jsonl:1, a.jsonl:2, a.jsonl:3)"]);
        let table = tally.table("t".into());
        assert_eq!(table.rows[1], ["documents".into(), Cell::Int(2), Cell::Missing]);
        assert_eq!(table.rows[4][1], Cell::Int(5));
    }
}
