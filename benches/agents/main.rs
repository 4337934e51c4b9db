//! Questions for agents, whose truth is known by construction: a general solver that has calls alone, what random calls and
//! a cheap look come to, and any language model behind an address. Writes the tables of `docs/benchmarks-agents.md`.
//!
//! - `cargo bench --bench agents` asks one question for each seed from 1 to 20, which the solver was tuned on, and from 101
//!   to 140, which it was not.
//! - `-- --seeds 1-5 --kinds head,edge` asks a question of each of these kinds for each of these seeds, and prints the table.
//! - `-- --endpoint http://127.0.0.1:8080/v1 --model NAME [--turns 12 --tokens 2048]` asks a language model the questions of
//!   the seeds 101 to 140, or those of `--seeds` and `--kinds`, and prints what came out.
//!
//! `--program PATH` has another build of the program make and answer the questions; `--keep FOLDER` keeps them there.
//! MICROTOME_GEMMA, the folder or file of a Gemma, adds the kind `gemma` to `--kinds`: the numbers of that model.

mod baselines;
mod calls;
mod chat;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/figures/marks.rs"]
#[allow(dead_code, reason = "only pages have marks here")]
mod marks;
mod page;
mod questions;
mod solver;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Instant;

use calls::{Calls, Program, Served};
use chat::Chat;
use microtome::base::bootstrap::wilson;
use page::Outcome;
use questions::{KINDS, Question, kind_of, question};

/// The seeds that the solver was tuned on, and those that it was tested on once.
const TUNING: RangeInclusive<u64> = 1..=20;
const TEST: RangeInclusive<u64> = 101..=140;

/// Where questions are made, and by which program.
struct Place {
    program: Program,
    folder: PathBuf,
    /// Keeps the folder until the end, unless it stays.
    _temporary: Option<tempfile::TempDir>,
}

fn main() {
    let word = |name: &str| {
        let words: Vec<String> = std::env::args().collect();
        words.iter().position(|word| word == name).map(|at| words.get(at + 1).expect("a value").clone())
    };
    let seeds = word("--seeds").map(|seeds| {
        let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
        first.parse().expect("a seed")..=last.parse().expect("a seed")
    });
    let kinds: Option<Vec<&str>> = word("--kinds").map(|kinds| kinds.split(',').map(kind).collect());
    let temporary = word("--keep").is_none().then(|| tempfile::tempdir().unwrap());
    let folder = word("--keep").map_or_else(|| temporary.as_ref().unwrap().path().into(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let place = Place {
        program: Program {
            path: word("--program").unwrap_or_else(|| env!("CARGO_BIN_EXE_microtome").into()).into(),
            readable: gemma().into_iter().collect(),
        },
        // Without links in it, as the rules of access compare paths.
        folder: folder.canonicalize().unwrap(),
        _temporary: temporary,
    };
    if let Some(address) = word("--endpoint") {
        let number = |name, usual| word(name).map_or(usual, |number| number.parse().expect("a number"));
        let model = word("--model").unwrap_or_else(|| "default".into());
        let chat = Chat::new(&address, &model, number("--turns", 12), number("--tokens", 2048)).unwrap();
        return converse(&place, &chat, &model, seeds.unwrap_or(TEST), kinds.as_deref());
    }
    if seeds.is_some() || kinds.is_some() {
        let seeds = seeds.unwrap_or(TUNING);
        return println!("{}", page::table(&told(&seeds), &solved(&place, seeds, kinds.as_deref())));
    }
    for (name, seeds) in [("tuning", TUNING), ("test", TEST)] {
        page::publish(name, &told(&seeds), &solved(&place, seeds, None));
    }
}

fn told(seeds: &RangeInclusive<u64>) -> String {
    format!("{} to {}", seeds.start(), seeds.end())
}

fn kind(name: &str) -> &'static str {
    let mut names = KINDS.into_iter().chain(gemma().map(|_| "gemma"));
    names.find(|known| *known == name).unwrap_or_else(|| panic!("there is no kind `{name}`"))
}

/// The folder or file of a Gemma, where there is one.
fn gemma() -> Option<PathBuf> {
    std::env::var_os("MICROTOME_GEMMA").map(PathBuf::from)
}

/// The questions of these seeds: one of each kind that is named, or the one of the seed's own kind.
fn questions(
    place: &Place,
    seeds: RangeInclusive<u64>,
    kinds: Option<&[&'static str]>,
) -> impl Iterator<Item = Question> {
    let own = move |seed| kinds.map_or_else(|| vec![kind_of(seed)], <[_]>::to_vec);
    seeds.flat_map(move |seed| {
        let made = own(seed).into_iter().map(move |kind| match (kind, gemma()) {
            ("gemma", Some(gemma)) => {
                question(&place.program, &place.folder, "number", seed, &["--model", &gemma.display().to_string()])
            }
            _ => question(&place.program, &place.folder, kind, seed, &[]),
        });
        made.collect::<Vec<_>>()
    })
}

/// Starts a server in the folder of a question.
fn calls(place: &Place, given: &Path) -> Served {
    place.program.served(given).expect("a server")
}

fn solved(place: &Place, seeds: RangeInclusive<u64>, kinds: Option<&[&'static str]>) -> Vec<Outcome> {
    questions(place, seeds, kinds)
        .map(|question| {
            let given = question.given();
            let begin = Instant::now();
            let mut own = calls(place, &given);
            let answer = solver::solve(&question.asked, &mut own);
            let seconds = begin.elapsed().as_secs_f64();
            let is_right = answer.as_ref().is_ok_and(|answer| question.is_right(answer));
            println!(
                "{}, seed {}: {} in {} calls, {seconds:.1} s{}",
                question.kind,
                question.seed,
                if is_right { "right" } else { "wrong" },
                own.count(),
                answer.err().map_or(String::new(), |why| format!(": {why}"))
            );
            let random = question.is_right(&baselines::by_random_calls(&question, &mut calls(place, &given)));
            let look = question.is_right(&baselines::by_a_look(&question, &mut calls(place, &given)));
            Outcome { is_right, calls: own.count(), seconds, random, look, question }
        })
        .collect()
}

/// Asks a language model, and prints its accuracy with calls, tokens and time. Nothing is written to the page.
fn converse(place: &Place, chat: &Chat, model: &str, seeds: RangeInclusive<u64>, kinds: Option<&[&'static str]>) {
    let mut right = 0;
    let mut all = 0;
    let mut ran = 0;
    let mut sent = 0;
    let mut written = 0;
    let begin = Instant::now();
    for question in questions(place, seeds, kinds) {
        let mut own = calls(place, &question.given());
        let found = chat.converse(&question.asked, &mut own).unwrap_or_else(|e| panic!("{}", e.message));
        let is_right = found.answer.as_ref().is_some_and(|answer| question.is_right(answer));
        let said = found.answer.map_or("no answer".into(), |answer| answer.to_string());
        println!(
            "{}, seed {}: {} ({said}), {} turns, {} calls, {} + {} tokens",
            question.kind,
            question.seed,
            if is_right { "right" } else { "wrong" },
            found.turns,
            own.count(),
            found.sent,
            found.written
        );
        right += usize::from(is_right);
        all += 1;
        ran += own.count();
        sent += found.sent;
        written += found.written;
    }
    let [low, high] = wilson(right, all);
    println!(
        "{model}: {right} of {all} ({low:.2} to {high:.2}), {ran} calls, {sent} tokens sent, {written} written, {:.0} s",
        begin.elapsed().as_secs_f64()
    );
}
