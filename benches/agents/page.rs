//! The tables of `docs/benchmarks-agents.md`.

use std::process::Command;

use microtome::base::bootstrap::wilson;
use microtome::base::memory;

use super::questions::{KINDS, Question};
use super::{common, marks};

/// What came out for one question.
pub struct Outcome {
    pub question: Question,
    pub is_right: bool,
    pub calls: usize,
    pub seconds: f64,
    /// Whether random calls were right, and a cheap look.
    pub random: bool,
    pub look: bool,
}

/// Writes the table of outcomes between the marks of this name, and prints it.
pub fn publish(name: &str, seeds: &str, outcomes: &[Outcome]) {
    let table = table(seeds, outcomes);
    println!("{table}");
    let path = common::root().join("docs/benchmarks-agents.md");
    let before = std::fs::read_to_string(&path).unwrap();
    let key = format!("measured agents {name}");
    let page = marks::of_page(&before, |found, shown| Ok(if found == key { table.clone() } else { shown.into() }));
    std::fs::write(path, page.unwrap()).unwrap();
}

/// The table of outcomes, a row for each kind, under the machine and the day.
pub fn table(seeds: &str, outcomes: &[Outcome]) -> String {
    let mut rows: Vec<String> = KINDS
        .iter()
        .filter_map(|kind| {
            let own: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.question.kind == *kind).collect();
            (!own.is_empty()).then(|| row(kind, &own))
        })
        .collect();
    rows.push(row("all", &outcomes.iter().collect::<Vec<_>>()));
    format!(
        "Written by `cargo bench --bench agents` on {} ({} threads), {}: seeds {seeds}.\n\n\
         | kind | questions | solver | 95 % | calls | seconds | random calls | a cheap look | chance |\n\
         |---|---|---|---|---|---|---|---|---|\n{}",
        memory::processor(),
        std::thread::available_parallelism().map_or(1, |n| n.get()),
        common::said(Command::new("date").arg("+%F")).unwrap_or_default(),
        rows.join("\n")
    )
}

fn row(kind: &str, outcomes: &[&Outcome]) -> String {
    let n = outcomes.len();
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(|outcome| of(outcome)).sum::<f64>() / n as f64;
    let right = count(|outcome| outcome.is_right);
    let [low, high] = wilson(right, n);
    format!(
        "| {kind} | {n} | {right} | {low:.2} to {high:.2} | {:.1} | {:.1} | {} | {} | {:.3} |",
        mean(|outcome| outcome.calls as f64),
        mean(|outcome| outcome.seconds),
        count(|outcome| outcome.random),
        count(|outcome| outcome.look),
        mean(|outcome| outcome.question.chance()),
    )
}
