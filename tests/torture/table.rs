//! The results of all cases of each part, as a table from which a run can resume, and the findings beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::child::files_below;
use super::watch::{CaseOutcome, CaseResult};

/// The results of the cases of a part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    pub ran: u64,
    pub refused: u64,
    pub interrupted: u64,
    pub panics: u64,
    pub aborts: u64,
    pub hangs: u64,
    /// KiB.
    pub peak: u64,
    pub minutes: f64,
}

impl Counts {
    pub fn tried(&self) -> u64 {
        self.ran + self.refused + self.interrupted + self.bad()
    }

    pub fn bad(&self) -> u64 {
        self.panics + self.aborts + self.hangs
    }

    pub fn add(&mut self, ended: &CaseResult) {
        let count = match ended.outcome {
            CaseOutcome::Ran => &mut self.ran,
            CaseOutcome::Refused => &mut self.refused,
            CaseOutcome::Interrupted => &mut self.interrupted,
            CaseOutcome::Panic => &mut self.panics,
            CaseOutcome::Abort => &mut self.aborts,
            CaseOutcome::Hang => &mut self.hangs,
        };
        *count += 1;
        self.peak = self.peak.max(ended.peak);
    }
}

const HEAD: &str = "| part | tried | ran | refused | interrupted | panics | aborts | hangs | largest memory, MiB | minutes |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// The table as a Markdown page.
pub fn page(seed: u64, all: &BTreeMap<String, Counts>) -> String {
    let mut text = format!("Seed {seed}.\n\n{HEAD}");
    for (part, c) in all {
        let tried = c.tried();
        let peak = c.peak / 1024;
        text += &format!(
            "| {part} | {tried} | {} | {} | {} | {} | {} | {} | {peak} | {:.1} |\n",
            c.ran, c.refused, c.interrupted, c.panics, c.aborts, c.hangs, c.minutes
        );
    }
    text
}

/// The rows of a page that was written with the same seed.
pub fn parse(text: &str, seed: u64) -> BTreeMap<String, Counts> {
    if !text.starts_with(&format!("Seed {seed}.\n")) {
        return BTreeMap::new();
    }
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let numbers: Vec<f64> = cells.get(1..)?.iter().map(|cell| cell.parse().ok()).collect::<Option<_>>()?;
        let [_, ran, refused, interrupted, panics, aborts, hangs, peak] =
            numbers.get(..8)?.iter().map(|x| *x as u64).collect::<Vec<_>>().try_into().ok()?;
        let counts =
            Counts { ran, refused, interrupted, panics, aborts, hangs, peak: peak * 1024, minutes: *numbers.get(8)? };
        Some((cells[0].to_string(), counts))
    };
    text.lines().filter_map(row).collect()
}

/// Findings, each in a folder: the script, the files, and the output. Three of a kind are enough.
pub struct Findings {
    pub folder: PathBuf,
    kinds: BTreeMap<String, usize>,
}

impl Findings {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, kinds: BTreeMap::new() }
    }

    /// Keeps a finding, named by a `word`, unless there are three like it; returns its folder.
    pub fn keep(&mut self, part: &str, word: &str, ended: &CaseResult, at: &Path) -> Option<PathBuf> {
        // Panics are grouped by their source location, everything else by what was called.
        let place = ended.said.split(": ").next().unwrap_or_default();
        let kind = match ended.outcome {
            CaseOutcome::Panic => place.to_string(),
            _ => format!("{part} {word} {}", ended.about),
        };
        let seen = self.kinds.entry(kind).or_default();
        *seen += 1;
        if *seen > 3 {
            return None;
        }
        let folder = self.folder.join(format!("{part}-{word}-{}", ended.number));
        let files = files_below(&at.join("out/case")).into_iter().map(|(name, bytes)| (format!("case/{name}"), bytes));
        let text = std::fs::read(at.join("case.rhai")).unwrap_or_default();
        for (name, bytes) in files.chain([("case.rhai".to_string(), text)]) {
            kit::write(folder.join(name), bytes);
        }
        std::fs::write(folder.join("said.txt"), format!("{}\n{}\n", ended.about, ended.said)).unwrap();
        Some(folder)
    }
}
