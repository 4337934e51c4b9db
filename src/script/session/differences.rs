//! Differences of two runs, by their records: settings, arguments, texts, inputs, checks, printed numbers, outputs.

use std::borrow::Cow;

use serde::Serialize;

use super::line_changes::{self, LineChange, LineGap, LinePair};
use super::record::Record;
use super::run_results;
use crate::common::*;
use crate::report::number::digits;
use crate::script::engine::env::Check;

/// One thing that is not the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub what: DifferenceKind,
    /// The name of what differs: of an argument, a file by its path, a line by its number.
    pub name: String,
    /// Value in the first run; nothing if it has no such thing. A file has its hash here.
    pub before: Option<String>,
    pub now: Option<String>,
    /// The numbers in which two lines differ that are the same otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<NumberPair>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The version of microtome, or the model of the CPU.
    Program,
    Setting,
    Argument,
    Source,
    Input,
    Outcome,
    Check,
    Printed,
    Output,
}

/// A number that two lines have in the same place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberPair {
    pub before: String,
    pub now: String,
    /// The difference, divided by the size of the first; none if that is zero, or if one of them is not finite.
    pub relative: Option<f64>,
}

impl Difference {
    fn new(what: DifferenceKind, name: impl Into<String>, before: Option<&str>, now: Option<&str>) -> Self {
        let before = before.map(str::to_string);
        let now = now.map(str::to_string);
        Self { what, name: name.into(), before, now, numbers: Vec::new() }
    }

    fn of_change(what: DifferenceKind, name: &str, change: LineChange) -> Self {
        let side = |text: String| Some(text).filter(|text| !text.is_empty());
        let name = format!("{name}:{}", change.line);
        Self { what, name, before: side(change.old), now: side(change.new), numbers: Vec::new() }
    }

    /// Returns whether the difference may explain why results differ, and is no result.
    pub fn is_circumstance(&self) -> bool {
        self.what == DifferenceKind::Program
    }

    /// Writes the difference in words; lines of texts stand below, `-` those of the first and `+` those of the second.
    pub fn words(&self) -> String {
        let Self { what, name, before, now, .. } = self;
        let file = match (before, now) {
            (None, _) => "is new",
            (_, None) => "is missing",
            _ => "other bytes",
        };
        match what {
            DifferenceKind::Input => format!("input {name}: {file}"),
            DifferenceKind::Output => format!("output {name}: {file}"),
            DifferenceKind::Printed if before.is_none() && now.is_none() => format!("{name}: other bytes"),
            DifferenceKind::Source | DifferenceKind::Check | DifferenceKind::Printed => {
                let lines = |mark: char, text: &Option<String>| -> String {
                    text.iter().flat_map(|text| text.lines()).map(|line| format!("\n{mark}{line}")).collect()
                };
                let numbers = self.numbers.iter().map(NumberPair::words).collect::<String>();
                format!("{name}{}{}{numbers}", lines('-', before), lines('+', now))
            }
            DifferenceKind::Program | DifferenceKind::Setting | DifferenceKind::Argument | DifferenceKind::Outcome => {
                let side = |side: &Option<String>| side.clone().unwrap_or("not given".into());
                format!("{name}: was {}, is {}", side(before), side(now))
            }
        }
    }
}

impl NumberPair {
    fn new(before: &str, now: &str) -> Self {
        let number = |text: &str| text.replace(',', "").parse::<f64>();
        let relative = match (number(before), number(now)) {
            (Ok(a), Ok(b)) => Some((b - a) / a.abs()).filter(|relative| relative.is_finite()),
            _ => None,
        };
        Self { before: before.into(), now: now.into(), relative }
    }

    fn words(&self) -> String {
        let relative = self.relative.map(|relative| format!(", a relative difference of {}", digits(relative, 2)));
        format!("\n {} is {}{}", self.before, self.now, relative.unwrap_or_default())
    }
}

/// Lists all in which the second run differs from the first.
pub fn between(a: &Record, b: &Record) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut unless_same = |what: DifferenceKind, name: &str, a: &str, b: &str| {
        if a != b {
            found.push(Difference::new(what, name, Some(a), Some(b)));
        }
    };
    unless_same(DifferenceKind::Program, "microtome", &a.version, &b.version);
    unless_same(DifferenceKind::Program, "processor", &a.processor, &b.processor);
    unless_same(DifferenceKind::Setting, "threads", &a.threads.to_string(), &b.threads.to_string());
    unless_same(DifferenceKind::Setting, "device", &a.device, &b.device);
    unless_same(DifferenceKind::Setting, "seed", &a.seed.to_string(), &b.seed.to_string());
    let screen = |record: &Record| {
        let screen = &record.screen;
        let colour = if screen.colour { ", with colours" } else { "" };
        format!("{} by {}, {:?}{colour}", screen.width, screen.height, screen.graphics).to_lowercase()
    };
    unless_same(DifferenceKind::Setting, "screen", &screen(a), &screen(b));
    unless_same(DifferenceKind::Setting, "script", &a.script, &b.script);
    let given = |arguments: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        arguments.iter().map(|(name, value)| (format!("--{name}"), value.clone())).collect()
    };
    of_maps(DifferenceKind::Argument, &given(&a.arguments), &given(&b.arguments), &mut found);
    of_sources(a, b, &mut found);
    of_maps(DifferenceKind::Input, &a.read, &b.read, &mut found);
    let mut unless_same = |name: &str, a: &str, b: &str| {
        if a != b {
            found.push(Difference::new(DifferenceKind::Outcome, name, Some(a), Some(b)));
        }
    };
    unless_same("outcome", &a.outcome, &b.outcome);
    unless_same("checks that held", &a.checks_passed.to_string(), &b.checks_passed.to_string());
    unless_same("checks that failed", &a.checks_failed.to_string(), &b.checks_failed.to_string());
    if let (Some(a), Some(b)) = (&a.checks, &b.checks) {
        let lines = |checks: &[Check]| checks.iter().map(in_words).collect::<Vec<_>>();
        of_lines(DifferenceKind::Check, "check", &lines(a), &lines(b), &mut found);
    }
    if a.printed != b.printed {
        of_printed(a, b, &mut found);
    }
    of_maps(DifferenceKind::Output, &a.written, &b.written, &mut found);
    found
}

fn in_words(check: &Check) -> String {
    format!("{}: {}", if check.held { "holds" } else { "FAILED" }, check.words)
}

fn of_maps(
    what: DifferenceKind,
    a: &BTreeMap<String, String>,
    b: &BTreeMap<String, String>,
    found: &mut Vec<Difference>,
) {
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    for name in names {
        let a = a.get(name);
        let b = b.get(name);
        if a != b {
            found.push(Difference::new(what, name, a.map(String::as_str), b.map(String::as_str)));
        }
    }
}

/// Compares the two scripts with each other, whatever their names are.
fn of_sources(a: &Record, b: &Record, found: &mut Vec<Difference>) {
    let of_b = |name: &str| if name == a.script { b.script.clone() } else { name.to_string() };
    for (name, before) in &a.sources {
        of_texts(name, Some(before), b.sources.get(&of_b(name)).map(String::as_str), found);
    }
    let is_paired = |name: &str| name == b.script || (name != a.script && a.sources.contains_key(name));
    for (name, now) in b.sources.iter().filter(|(name, _)| !is_paired(name)) {
        of_texts(name, None, Some(now), found);
    }
}

fn of_texts(name: &str, before: Option<&str>, now: Option<&str>, found: &mut Vec<Difference>) {
    let changes = line_changes::between(before.unwrap_or_default(), now.unwrap_or_default());
    found.extend(changes.into_iter().map(|change| Difference::of_change(DifferenceKind::Source, name, change)));
}

fn of_printed(a: &Record, b: &Record, found: &mut Vec<Difference>) {
    let before = found.len();
    if let (Some(a), Some(b)) = (&a.printed_text, &b.printed_text) {
        let lines = |text: &str| text.lines().map(|line| uncoloured(line).into_owned()).collect::<Vec<_>>();
        of_lines(DifferenceKind::Printed, "printed output", &lines(a), &lines(b), found);
    }
    // Colours and blanks alone, or a record that has the hash alone.
    if found.len() == before {
        found.push(Difference::new(DifferenceKind::Printed, "printed output", None, None));
    }
}

/// Compares lines number by number where they differ in their numbers only, and shows all others.
fn of_lines(what: DifferenceKind, name: &str, a: &[String], b: &[String], found: &mut Vec<Difference>) {
    let parts = |lines: &[String]| lines.iter().map(|line| parts(line)).unzip();
    let (keys_a, numbers_a): (Vec<String>, Vec<Vec<String>>) = parts(a);
    let (keys_b, numbers_b): (Vec<String>, Vec<Vec<String>>) = parts(b);
    let pairs = line_changes::common(&keys_a, &keys_b);
    let mut all = Vec::new();
    for &LinePair { old: i, new: j } in &pairs {
        let (Some(of_a), Some(of_b)) = (numbers_a.get(i), numbers_b.get(j)) else { continue };
        let other = of_a.iter().zip(of_b).filter(|(a, b)| a != b);
        let numbers: Vec<NumberPair> = other.map(|(a, b)| NumberPair::new(a, b)).collect();
        if !numbers.is_empty() {
            let before = a.get(i).map(String::as_str);
            let now = b.get(j).map(String::as_str);
            let line = Difference::new(what, format!("{name}:{}", i + 1), before, now);
            all.push((i, Difference { numbers, ..line }));
        }
    }
    for LineGap { from, to } in line_changes::gaps(&pairs, LinePair { old: a.len(), new: b.len() }) {
        let text = |lines: &[String], from, to| -> String {
            lines.get(from..to).unwrap_or_default().iter().map(|line| format!("{line}\n")).collect()
        };
        let old = text(a, from.old, to.old);
        let new = text(b, from.new, to.new);
        all.push((from.old, Difference::of_change(what, name, LineChange { line: from.old + 1, old, new })));
    }
    all.sort_by_key(|(line, _)| *line);
    found.extend(all.into_iter().map(|(_, difference)| difference));
}

/// Splits a line into the line without its numbers, and its numbers. Blanks and the lines of boxes, which grow with a
/// number, are left out.
fn parts(line: &str) -> (String, Vec<String>) {
    let mut key = String::new();
    let mut numbers = Vec::new();
    let mut before = ' ';
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let length = if before.is_alphanumeric() || matches!(before, '_' | '.') { 0 } else { number(rest) };
        let (piece, after) = rest.split_at(if length > 0 { length } else { next.len_utf8() });
        if length > 0 {
            numbers.push(piece.to_string());
            key.push('\0');
        } else if !next.is_whitespace() && !('\u{2500}'..='\u{257f}').contains(&next) {
            key.push(next);
        }
        before = piece.chars().next_back().unwrap_or(next);
        rest = after;
    }
    (key, numbers)
}

/// Returns the length of the number that a text begins with; 0 if there is none.
fn number(text: &str) -> usize {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let sign = text.len() - unsigned.len();
    let ends = |length: usize| !unsigned[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(word) = ["NaN", "inf"].iter().find(|word| unsigned.starts_with(**word)) {
        return if ends(word.len()) { sign + word.len() } else { 0 };
    }
    let digits = |from: usize| unsigned[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    // Thousands are set apart by commas.
    while (1..=3).contains(&digits(0)) && unsigned[length..].starts_with(',') && digits(length + 1) == 3 {
        length += 4;
    }
    if unsigned[length..].starts_with('.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if length == 0 {
        return 0;
    }
    if let Some(power) = unsigned[length..].strip_prefix(['e', 'E']) {
        let skipped = 1 + usize::from(power.starts_with(['+', '-']));
        if digits(length + skipped) > 0 {
            length += skipped + digits(length + skipped);
        }
    }
    if ends(length) { sign + length } else { 0 }
}

/// Removes the codes that colour a terminal.
fn uncoloured(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return line.into();
    }
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_string();
    let after =
        |piece: &str| piece.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, text)| text).to_string();
    let rest: String = pieces.map(after).collect();
    Cow::Owned(first + rest.as_str())
}

/// Lists the differences of the texts of a record from those that a run would read now, where there are some. An
/// archive of a library is known by its hash, which stands in the lock file.
pub fn of_texts_now(record: &Record, files: &Files) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, text) in &record.sources {
        if let Some(now) = run_results::source(files, name) {
            of_texts(name, Some(text), Some(&now), &mut found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::session::record::hash;

    fn record() -> Record {
        Record {
            sources: [("a.rhai".to_string(), "let a = 1;\na\n".to_string())].into(),
            printed: hash(""),
            printed_text: Some(String::new()),
            checks_passed: 0,
            checks: Some(Vec::new()),
            ..Record::sample()
        }
    }

    fn printing(text: &str) -> Record {
        Record { printed: hash(text), printed_text: Some(text.into()), ..record() }
    }

    fn words(a: &Record, b: &Record) -> Vec<String> {
        between(a, b).iter().map(Difference::words).collect()
    }

    #[test]
    fn files_are_named() {
        let mut other = record();
        assert!(between(&record(), &other).is_empty());
        other.written.insert("a.npy".into(), "22".into());
        other.written.remove("b.npy");
        other.written.insert("c.npy".into(), "33".into());
        other.read.insert("x.txt".into(), "44".into());
        assert_eq!(
            words(&record(), &other),
            ["input x.txt: is new", "output a.npy: other bytes", "output b.npy: is missing", "output c.npy: is new"]
        );
    }

    #[test]
    fn settings_arguments_and_texts_are_named() {
        let other = Record {
            version: "2".into(),
            threads: 3,
            script: "b.rhai".into(),
            arguments: [("n".to_string(), "5".to_string())].into(),
            sources: [("b.rhai".to_string(), "let a = 2;\na\n".to_string()), ("c.rhai".to_string(), "3".to_string())]
                .into(),
            ..record()
        };
        assert_eq!(
            words(&record(), &other),
            [
                "microtome: was 1, is 2",
                "threads: was 2, is 3",
                "script: was a.rhai, is b.rhai",
                "--n: was not given, is 5",
                "a.rhai:1\n-let a = 1;\n+let a = 2;",
                "c.rhai:1\n+3"
            ]
        );
    }

    #[test]
    fn numbers_are_compared_where_the_words_are_the_same() {
        let a = printing("begin\nFVE .90, dead 1,000 (resid_post.1)\n");
        let b = printing("FVE 0.99, dead 1,100 (resid_post.1)\nend\n");
        assert_eq!(
            words(&a, &b),
            [
                "printed output:1\n-begin",
                "printed output:2\n-FVE .90, dead 1,000 (resid_post.1)\n+FVE 0.99, dead 1,100 (resid_post.1)\n \
                 .90 is 0.99, a relative difference of 0.1\n 1,000 is 1,100, a relative difference of 0.1",
                "printed output:3\n+end",
            ]
        );
        // A name of a site is no number; NaN is one, but has no distance.
        assert_eq!(
            words(&printing("resid_post.1"), &printing("resid_post.2")),
            ["printed output:1\n-resid_post.1\n+resid_post.2"]
        );
        assert_eq!(
            words(&printing("x -1e-3"), &printing("x NaN")),
            ["printed output:1\n-x -1e-3\n+x NaN\n -1e-3 is NaN"]
        );
        assert_eq!(words(&printing("x 0"), &printing("x 1")), ["printed output:1\n-x 0\n+x 1\n 0 is 1"]);
        // A table grows with its numbers.
        assert_eq!(between(&printing("┌──┐\n│ 9│\n"), &printing("┌───┐\n│ 10│\n")).len(), 1);
    }

    #[test]
    fn what_is_told_by_its_hash_alone_is_told_apart() {
        let hash_alone = |text: &str| Record { printed_text: None, ..printing(text) };
        assert_eq!(words(&hash_alone("a"), &printing("b")), ["printed output: other bytes"]);
        assert_eq!(words(&printing("\x1b[31ma\x1b[0m"), &printing("a")), ["printed output: other bytes"]);
        assert!(between(&hash_alone("a"), &printing("a")).is_empty());
    }

    #[test]
    fn a_check_that_fails_now_is_shown_with_its_words() {
        let checking = |held: bool, words: &str| Record {
            checks_passed: usize::from(held),
            checks_failed: usize::from(!held),
            checks: Some(vec![Check { held, words: words.into() }]),
            ..record()
        };
        assert_eq!(
            words(&checking(true, "P falls by 0.6"), &checking(false, "P falls by 0.0")),
            [
                "checks that held: was 1, is 0",
                "checks that failed: was 0, is 1",
                "check:1\n-holds: P falls by 0.6\n+FAILED: P falls by 0.0"
            ]
        );
        let other = words(&checking(true, "P falls by 0.6"), &checking(true, "P falls by 0.5"));
        assert_eq!(other.len(), 1);
        assert!(other[0].ends_with("\n 0.6 is 0.5, a relative difference of -0.17"), "{other:?}");
    }

    proptest::proptest! {
        #[test]
        fn a_line_is_its_numbers_and_the_rest(line in "[-+ .,0-9a-zNé_e│]{0,20}") {
            let (key, numbers) = parts(&line);
            proptest::prop_assert_eq!(key.matches('\0').count(), numbers.len());
            for number in numbers {
                proptest::prop_assert!(number.replace(',', "").parse::<f64>().is_ok(), "{}", number);
            }
        }
    }
}
