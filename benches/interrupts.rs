//! How long Ctrl-C takes to the next prompt: 43 operations that take long are begun at the prompt of a
//! pseudo-terminal, left alone for a moment, and interrupted. The goal is 100 ms.
//!
//! On a fast machine an operation may be over before. It is begun anew then and interrupted after half the time, and one
//! that is over within the goal by itself has a row that says so, and no part in the figures below the table.
//!
//! `cargo bench --bench interrupts` prints a table with the median of each operation, and of all the median and the
//! 95th percentile. It takes less than 6 GiB of memory.

#[path = "../tests/torture/binary.rs"]
mod binary;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/torture/terminal.rs"]
mod terminal;

use std::time::{Duration, Instant};

use terminal::{CTRL_C, Terminal};

/// How long an operation runs before it is interrupted, at most and at least.
const LONGEST: Duration = Duration::from_millis(300);
const SHORTEST: Duration = Duration::from_millis(75);

/// How often each is interrupted.
const TIMES: usize = 3;

const GOAL: Duration = Duration::from_millis(100);

/// Values for the operations.
const SETUP: &[&str] = &[
    "let m = model::load(\"tiny\")",
    "let text = data::text(\"grammar\", #{ tokens: 2_000_000 })",
    "let small = data::text(\"grammar\", #{ tokens: 20_000 })",
    "let s = sae::fit(m, \"resid_post.3\", small, #{ k: 16, d_sae: 1024, steps: 2, seed: 0 })",
    "let before = sae::fit(m, \"resid_post.2\", small, #{ k: 16, d_sae: 1024, steps: 2, seed: 0 })",
    "let ids = text.ids(m, #{ context: 256, rows: 256 })",
    "let pairs = data::pairs(\"parenthesis\", #{ for: m, same_length: true, n: 64 })",
    "let swaps = pairs.map(|p| #{ base: p.clean, source: p.corrupt, answer: p.answers[0] })",
    "let x = tensor::randn([2500, 2500], #{ seed: 1 })",
    "let chain = []; chain.pad(16, x);",
    "let rows = tensor::randn([100_000, 192], #{ seed: 1 })",
    "let labels = (0..100_000).map(|i| i % 2 == 0)",
    "let large = tensor::randn([60_000_000], #{ seed: 1 })",
    "let numbers = tensor::randn([2_000_000], #{ seed: 1 }).to_array()",
    "let other = model::init(m.config, #{ tokenizer: m, seed: 1 })",
    "let maps = []; maps.pad(2_000_000, #{ a: 1, b: 2 });",
    "let json = to_json(maps);",
    "let many = []; many.pad(10_000_000, 1.5);",
];

/// What runs for seconds on two cores. Answers of megabytes are not shown: that would be timed in place of the work.
const OPERATIONS: [(&str, &str); 43] = [
    ("an endless loop", "loop { }"),
    ("a comparison of lists", "maps == maps;"),
    ("a sort by a function", "numbers.sort(|a, b| a - b)"),
    ("to_json", "to_json(maps);"),
    ("parse_json", "parse_json(json);"),
    ("save_json", "run::save_json(\"many.json\", many)"),
    ("svd", "x.svd();"),
    ("eigh", "(x + x.transpose(0, 1)).eigh();"),
    ("einsum", "tensor::einsum(\"ij,jk,kl,lm,mn,no,op,pq,qr,rs,st,tu,uv,vw,wx,xy->iy\", chain);"),
    ("a sort of a tensor", "large.sort();"),
    ("logits, as losses", "m.losses(ids);"),
    ("a run with all sites", "m.run(ids[0..32]);"),
    ("gradients", "m.grads(ids[0..32], |l| l.sum(), \"resid_post.*\");"),
    ("generate", "m.generate(\"(the\", #{ tokens: 100_000, windowed: true })"),
    (
        "a training",
        "model::train(#{ layers: 4, d_model: 256, heads: 4, vocab: 8192, context: 256 }, ids, #{ steps: 100_000 })",
    ),
    ("a tuned lens", "m.tuned_lens(text, #{ steps: 10_000 })"),
    ("a Jacobian lens", "m.jacobian_lens(text)"),
    ("a tokenizer", "data::tokenizer(text, #{ vocab: 20_000, bytes: 50_000_000 })"),
    ("a harvest", "data::harvest(m, \"resid_post.*\", text, #{ dir: \"harvest\" })"),
    ("sampled text", "data::sample(m, #{ seed: 5 }).documents(1000)"),
    ("n-grams", "data::ngram(text, m, #{ order: 5 })"),
    ("a dictionary of a model", "sae::fit(m, \"resid_post.3\", text, #{ k: 16, d_sae: 2048, steps: 100_000 })"),
    ("a dictionary of rows", "sae::fit(rows, #{ k: 16, d_sae: 2048, steps: 100_000 })"),
    ("a sweep of dictionaries", "sae::sweep(rows, #{ k: [8, 16], d_sae: 1024, steps: 10_000 })"),
    ("coverage", "sae::coverage(m, s, text)"),
    ("measures of a dictionary", "s.measure_on(m, text)"),
    ("a search for contexts", "features::contexts(m, s, text)"),
    ("explanations", "features::explain(m, (0..8).map(|i| s.feature(i)), text)"),
    ("a dashboard", "features::dashboard(m, s, text)"),
    ("a probe", "probe::fit(rows, labels, #{ l2: 1e-9 })"),
    ("a grid of patches", "intervene::grid(m, pairs, #{ by: \"neuron\", sites: \"mlp_hidden\" })"),
    ("a subspace", "subspace::das(m, swaps, #{ site: \"resid_post.3\", steps: 10_000 })"),
    ("ACDC", "circuit::acdc(m, pairs, #{ threshold: 0.0001 })"),
    ("edges", "circuit::edges(m, pairs, #{ method: \"exact\" })"),
    ("a causal tree", "circuit::causal_tree(m, [before, s], s.feature(1), text)"),
    ("a Lorsa", "sae::lorsa(m, 1, small, #{ steps: 100_000 })"),
    ("a temporal dictionary", "sae::temporal(m, \"resid_post.1\", small, #{ steps: 100_000 })"),
    (
        "a parameter decomposition",
        "decomposition::mlp(m, 5, small, #{ parts: 64, gate: \"shared\", steps: 100_000, context: 64 })",
    ),
    ("transcoder adapters", "diff::transcoder_adapters(m, other, small, #{ steps: 100_000 })"),
    ("bridges", "circuit::bridges(m, other, small, #{ steps: 100_000 })"),
    ("tokens that rise", "diff::mine(m, other, text, #{ rows: 1000 })"),
    (
        "sentences written anew",
        "intervene::anchors(m, \"Ann went to the inn. It was late in the year.\", [\"Ann\"], #{ rollouts: 10_000 })",
    ),
    ("cards of heads", "features::heads(m, ids)"),
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start_with(folder.path(), &[], &[("MICROTOME_CACHE", "")]);
    terminal.prompt();
    for line in SETUP {
        terminal.done(line);
    }
    println!("| operation | interrupted after | median of {TIMES} | longest |\n|---|---|---|---|");
    let mut all = Vec::new();
    for (what, code) in OPERATIONS {
        let Some((quiet, times)) = interrupted(&mut terminal, code) else {
            println!("| {what} | over before {} | | |", milliseconds(SHORTEST));
            continue;
        };
        let [quiet, median, longest] = [quiet, times[TIMES / 2], times[TIMES - 1]].map(milliseconds);
        println!("| {what} | {quiet} | {median} | {longest} |");
        all.extend(times);
    }
    all.sort();
    let within = all.iter().filter(|time| **time <= GOAL).count();
    let percentile = all[(all.len() * 95).div_ceil(100) - 1];
    println!(
        "\n{} interruptions of {} operations: median {}, 95th percentile {}, longest {}; {within} within {}.",
        all.len(),
        all.len() / TIMES,
        milliseconds(all[all.len() / 2]),
        milliseconds(percentile),
        milliseconds(all[all.len() - 1]),
        milliseconds(GOAL),
    );
}

/// How long an operation was left alone, and the times from Ctrl-C to the next prompt, shortest first; None where it is
/// over before the earliest interruption.
fn interrupted(terminal: &mut Terminal, code: &str) -> Option<(Duration, Vec<Duration>)> {
    let mut quiet = LONGEST;
    let mut times = Vec::new();
    while times.len() < TIMES {
        match heard(terminal, code, quiet) {
            Some(time) => times.push(time),
            None if quiet <= SHORTEST => return None,
            None => {
                quiet /= 2;
                times.clear();
            }
        }
    }
    times.sort();
    Some((quiet, times))
}

/// The time from Ctrl-C to the next prompt; None where the operation is over before.
fn heard(terminal: &mut Terminal, code: &str, quiet: Duration) -> Option<Duration> {
    settle(terminal.process());
    terminal.begin(code);
    std::thread::sleep(quiet);
    if terminal.is_at_prompt() {
        // Its value, which may be large, is let go of.
        terminal.done("0");
        return None;
    }
    let start = Instant::now();
    terminal.send(CTRL_C);
    terminal.prompt();
    Some(start.elapsed())
}

/// Waits until what was interrupted before has come to its end in the background, for a minute at most.
fn settle(process: u32) {
    let start = Instant::now();
    let mut before = worked(process);
    while start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
        let now = worked(process);
        if now <= before + 1 {
            return;
        }
        before = now;
    }
}

/// Hundredths of a second of processor time of a process so far; 0 where the system does not say.
fn worked(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which is in parentheses, the times of the process are the 12th and the 13th.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_whitespace().skip(11).take(2).filter_map(|time| time.parse::<u64>().ok()).sum()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
