//! What runs of experiments came to, by their records below `out/all`.

use std::collections::BTreeMap;
use std::path::Path;

use microtome::script::engine::env::Check;
use microtome::script::session::record::{self, Record};
use microtome::script::session::run_results::{self, RunResults};

use super::session::Sessions;
use super::{marks, ranges, root};

/// Where answers to lines of pages are left, in the folder of records.
pub const SESSIONS: &str = "sessions";

/// The folder of records of runs on other models than the one inside the program.
const ON: &str = "on";

/// The folder of records of runs with other arguments than their defaults.
const WITH: &str = "with";

/// An experiment's runs by seed, and its control.
#[derive(Default)]
struct Experiment {
    seeds: BTreeMap<u64, RunResults>,
    control: Option<RunResults>,
}

/// The records of complete runs.
#[derive(Default)]
pub struct Runs {
    /// Each has a name and what it was told beside its model and control, as on a command line: `NAME --kind tied`.
    experiments: BTreeMap<String, Experiment>,
    /// The same on other models, by their names.
    on: BTreeMap<String, BTreeMap<String, Experiment>>,
    /// Version, processor and threads of each.
    made_by: Vec<String>,
    gallery: Option<String>,
    /// Records of scripts that were changed since.
    stale: Vec<String>,
    sessions: Sessions,
}

/// Reads the script of an experiment, behind whose name stands what it was told.
fn script_of(experiment: &str) -> Result<String, String> {
    let name = experiment.split(' ').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    std::fs::read_to_string(root().join("scripts").join(name).with_extension("rhai"))
        .map_err(|e| format!("{name}: {e}"))
}

fn folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Runs {
    /// The runs that `scripts/all.rhai` left in this folder; records of scripts that were changed since are left out.
    pub fn read(dir: &Path) -> Result<Self, String> {
        let mut found = Self::default();
        found.experiments = found.experiments_of(dir)?;
        for told in folders(&dir.join(WITH)) {
            let experiments = found.experiments_of(&dir.join(WITH).join(&told))?;
            found.experiments.extend(experiments);
        }
        // The line that says who made the runs stands above the table of the model inside the program.
        let made_by = found.made_by.clone();
        for model in folders(&dir.join(ON)) {
            let experiments = found.experiments_of(&dir.join(ON).join(&model))?;
            found.on.insert(model, experiments);
        }
        found.made_by = made_by;
        found.gallery = std::fs::read_to_string(dir.join("made/scripts/README.md")).ok();
        found.sessions = Sessions::read(&dir.join(SESSIONS));
        Ok(found)
    }

    fn experiments_of(&mut self, dir: &Path) -> Result<BTreeMap<String, Experiment>, String> {
        let mut experiments: BTreeMap<String, Experiment> = BTreeMap::new();
        for name in folders(dir) {
            let Ok(script) = script_of(&name) else { continue };
            for run in folders(&dir.join(&name)) {
                let place = dir.join(&name).join(&run).join(&name);
                let read = |file: &str| std::fs::read_to_string(place.join(file)).ok();
                let (Some(record), Some(told)) = (read(record::FILE), read(run_results::FILE)) else { continue };
                let record = Record::parse(&record).map_err(|e| format!("{}: {e}", place.display()))?;
                let told = RunResults::parse(&told).ok_or(format!("{}: told.json cannot be read", place.display()))?;
                let source = record.sources.get(&record.script).map(String::as_str).unwrap_or_default();
                if !run_results::is_same_code(source, &script) {
                    self.stale.push(format!("{}: the script was changed since it was run", place.display()));
                    continue;
                }
                let by = format!("microtome {} on {}, {} threads", record.version, record.processor, record.threads);
                if !self.made_by.contains(&by) {
                    self.made_by.push(by);
                }
                let own = record.arguments.iter().filter(|(name, _)| !["model", "control"].contains(&name.as_str()));
                let own: String = own.map(|(name, value)| format!(" --{name} {value}")).collect();
                let experiment = experiments.entry(format!("{name}{own}")).or_default();
                match run.as_str() {
                    "control" => experiment.control = Some(told),
                    _ => drop(experiment.seeds.insert(record.seed, told)),
                }
            }
        }
        Ok(experiments)
    }

    /// An experiment that was run on the model inside the program, or `MODEL/NAME`.
    fn found(&self, experiment: &str) -> Option<&Experiment> {
        let found = match experiment.split_once('/').filter(|(model, _)| !model.contains(' ')) {
            Some((model, experiment)) => self.on.get(model)?.get(experiment),
            None => self.experiments.get(experiment),
        };
        found.filter(|found| !found.seeds.is_empty())
    }

    /// How many experiments have a record.
    pub fn len(&self) -> usize {
        self.experiments.len()
    }

    /// What lines of pages answer over seeds.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What was left out, and why.
    pub fn stale(&self) -> &[String] {
        &self.stale
    }

    /// The gallery that was made of them, if all were run.
    pub fn gallery(&self) -> Option<&String> {
        self.gallery.as_ref()
    }

    /// By which program and on which machine the runs were made.
    pub fn made(&self, shown: &str) -> Option<String> {
        (!self.made_by.is_empty() && !self.made_by.iter().all(|by| shown.contains(by.as_str())))
            .then(|| self.made_by.join("; "))
    }

    /// The checks of an experiment in words, with ranges over its seeds. Runs of some of the seeds that are shown have to
    /// be within the ranges.
    pub fn checks(&self, name: &str, shown: &str) -> Result<Option<String>, String> {
        script_of(name)?;
        let Some(found) = self.found(name) else { return Ok(None) };
        let is_part =
            found.seeds.len() < seeds_of(shown).len() && found.seeds.keys().all(|s| seeds_of(shown).contains(s));
        let same = |told: &RunResults, seed: u64| {
            told.checks.iter().all(|check| shown.lines().any(|line| is_of(check, seed, line)))
        };
        if is_part && found.seeds.iter().all(|(seed, told)| same(told, *seed)) {
            return Ok(Some(shown.to_string()));
        }
        Ok(Some(block(found)))
    }

    /// A number of an experiment: `NAME: words with # in its place`, or the range of it.
    pub fn figure(&self, about: &str, shown: &str) -> Result<Option<String>, String> {
        let (name, pattern) = about.split_once(": ").ok_or(format!("expected `NAME: words`, found `{about}`"))?;
        let script = script_of(name)?;
        let Some(found) = self.found(name) else { return Ok(None) };
        let of = |told: &RunResults| {
            let words: Vec<&str> = told.checks.iter().map(|check| check.words.as_str()).collect();
            ranges::at(pattern, &words).ok_or(format!("no check of {name} has `{pattern}`"))
        };
        let numbers = found.seeds.values().map(of).collect::<Result<Vec<_>, _>>()?;
        let range = ranges::merged(&numbers.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default();
        let mut header = String::new();
        marks::of_header(&script, |lines| Ok(std::mem::replace(&mut header, lines.into())))?;
        let is_part = found.seeds.len() < seeds_of(&header).len();
        Ok(Some(if is_part && ranges::is_within(&range, shown) { shown.into() } else { range }))
    }

    /// A table that an experiment printed with its first seed, as a block of code: `NAME: TITLE`.
    pub fn printed(&self, about: &str) -> Result<Option<String>, String> {
        let (name, title) = about.split_once(": ").ok_or(format!("expected `NAME: TITLE`, found `{about}`"))?;
        script_of(name)?;
        let Some((seed, told)) = self.found(name).and_then(|found| found.seeds.first_key_value()) else {
            return Ok(None);
        };
        // Below its title all lines of a table begin with a blank, or with the rule below its head.
        let mut lines = told.printed.lines().skip_while(|line| line.trim() != title);
        let title = lines.next();
        let rows = lines.take_while(|line| line.starts_with([' ', '─']));
        let table: Vec<&str> = title.into_iter().chain(rows).map(str::trim_end).collect();
        if table.len() < 2 {
            return Err(format!("{name} printed no table like `{about}`"));
        }
        Ok(Some(format!("Seed {seed}:\n\n```\n{}\n```", table.join("\n"))))
    }

    /// The table of all experiments: how many checks hold. What has no record stays as it is shown.
    pub fn summary(&self, shown: &str) -> Option<String> {
        if self.experiments.is_empty() {
            return None;
        }
        let cells =
            |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|cell| cell.trim().into()).collect() };
        let columns = cells(shown.lines().next()?);
        let rows: Vec<Vec<String>> = shown.lines().skip(2).map(cells).collect();
        let mut names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        names.extend(self.experiments.keys().map(String::as_str));
        names.sort();
        names.dedup();
        let row = |name: &str| {
            let before = rows.iter().find(|row| row[0] == name);
            let found = self.experiments.get(name);
            let cell = |(at, column): (usize, &String)| {
                let told = found.and_then(|found| match column.strip_prefix("seed ") {
                    Some(seed) => found.seeds.get(&seed.parse().ok()?),
                    None => found.control.as_ref(),
                });
                let old = before.and_then(|row| row.get(at)).cloned().unwrap_or_else(|| "not run".into());
                told.map_or(old, |told| counted(told, column == "control"))
            };
            let cells = columns.iter().enumerate().skip(1).map(cell);
            let cells: Vec<String> = std::iter::once(name.to_string()).chain(cells).collect();
            format!("| {} |", cells.join(" | "))
        };
        let head = shown.lines().take(2).map(String::from);
        Some(head.chain(names.into_iter().map(row)).collect::<Vec<_>>().join("\n"))
    }

    /// What the checks of experiments came to on the model inside the program, by their headers, and on another one. What has
    /// no record stays as it is shown.
    pub fn on(&self, model: &str, shown: &str) -> Result<Option<String>, String> {
        let Some(found) = self.on.get(model) else { return Ok(None) };
        let mut rows: BTreeMap<&str, String> = BTreeMap::new();
        for line in shown.lines().skip(2) {
            let name = line.trim_start_matches('|').split('|').next().unwrap_or_default();
            rows.insert(name.trim(), line.into());
        }
        for (name, experiment) in found {
            let Some(seed) = experiment.seeds.keys().next() else { continue };
            let mut inside = String::new();
            marks::of_header(&script_of(name)?, |lines| Ok(std::mem::replace(&mut inside, lines.into())))?;
            let control = experiment.control.as_ref().map_or("not run".into(), |told| counted(told, true));
            let cells = [&inside, &block(experiment)].map(|block| in_cell(block));
            let seconds = experiment.seeds[seed].seconds;
            rows.insert(name, format!("| {name} | {} | {} | {control} | {seconds:.0} |", cells[0], cells[1]));
        }
        let head = format!(
            "| experiment | the model inside | {model} | checks that hold on its control | seconds |\n|---|---|---|---|---:|"
        );
        Ok(Some(std::iter::once(head).chain(rows.into_values()).collect::<Vec<_>>().join("\n")))
    }

    /// The picture of each experiment's first seed, below `dir`, and where the gallery has it.
    pub fn pictures(&self, dir: &Path) -> Vec<(std::path::PathBuf, std::path::PathBuf)> {
        let place = |(name, found): (&String, &Experiment)| {
            let seed = found.seeds.keys().next()?;
            let from = dir.join(name).join(format!("seed-{seed}")).join(name).join("picture.png");
            let to = root().join("scripts/gallery").join(name).with_extension("png");
            (from.exists() && to.exists()).then_some((from, to))
        };
        self.experiments.iter().filter_map(place).collect()
    }
}

/// A block in a cell of a table.
fn in_cell(block: &str) -> String {
    block.replace('|', "\\|").lines().map(|line| line.trim_start_matches("- ")).collect::<Vec<_>>().join("<br>")
}

/// `3 of 4`, with a mark where it is not as it must be: checks hold on seeds, and some fail on a control.
fn counted(told: &RunResults, is_control: bool) -> String {
    let held = told.checks.iter().filter(|check| check.held).count();
    let is_well = (held == told.checks.len()) != is_control;
    format!("{held} of {}{}", told.checks.len(), if is_well { "" } else { " !" })
}

/// `Seeds 0 to 2`.
fn seeds_in_words(seeds: &[u64]) -> String {
    match seeds {
        [one] => format!("Seed {one}"),
        [first, .., last] if seeds.len() > 2 && last - first + 1 == seeds.len() as u64 => {
            format!("Seeds {first} to {last}")
        }
        [before @ .., last] => {
            let before: Vec<String> = before.iter().map(u64::to_string).collect();
            format!("Seeds {} and {last}", before.join(", "))
        }
        [] => String::new(),
    }
}

/// The seeds that a block says it is of; none if it is of earlier runs.
fn seeds_of(block: &str) -> Vec<u64> {
    let first = block.lines().next().unwrap_or_default();
    let Some(words) = first.strip_prefix("Seed").and_then(|rest| rest.strip_suffix(':')) else { return Vec::new() };
    let words = words.trim_start_matches('s').trim();
    let numbers: Vec<u64> = words.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [first, last] if words.contains(" to ") => (first..=last).collect(),
        _ => numbers,
    }
}

/// Whether a line of a block says what this check of a seed says.
fn is_of(check: &Check, seed: u64, line: &str) -> bool {
    let line = line.trim_start_matches("- ");
    let line = line.strip_prefix(&format!("seed {seed}: ")).unwrap_or(line);
    let (failed, words) = match line.strip_prefix("does not hold on s").and_then(|rest| rest.split_once(": ")) {
        Some((seeds, words)) => (seeds_of(&format!("S{seeds}:")).contains(&seed), words),
        None => (false, line),
    };
    failed != check.held && ranges::is_within(&check.words, words)
}

/// The seeds, and a line for each check.
fn block(found: &Experiment) -> String {
    let seeds: Vec<u64> = found.seeds.keys().copied().collect();
    let heading = format!("{}:", seeds_in_words(&seeds));
    let most = found.seeds.values().map(|told| told.checks.len()).max().unwrap_or_default();
    let line = |at: usize| -> Vec<String> {
        let all: Vec<(u64, &Check)> =
            found.seeds.iter().filter_map(|(seed, told)| Some((*seed, told.checks.get(at)?))).collect();
        let failed: Vec<u64> = all.iter().filter(|(_, check)| !check.held).map(|(seed, _)| *seed).collect();
        let words: Vec<&str> = all.iter().map(|(_, check)| check.words.as_str()).collect();
        let said = |failed: &[u64], words: &str| match failed {
            [] => words.to_string(),
            seeds => format!("does not hold on s{}: {words}", &seeds_in_words(seeds)[1..]),
        };
        match ranges::merged(&words) {
            Some(words) => vec![format!("- {}", said(&failed, &words))],
            None => {
                let own = |seed: u64, check: &Check| {
                    said(if check.held { &[] } else { std::slice::from_ref(&seed) }, &check.words)
                };
                all.iter().map(|(seed, check)| format!("- seed {seed}: {}", own(*seed, check))).collect()
            }
        }
    };
    let lines = (0..most).flat_map(line);
    std::iter::once(heading).chain(lines).collect::<Vec<_>>().join("\n")
}
