//! A long session at the prompt: its memory, open files and threads do not grow.

use std::time::Duration;

use super::dice::Dice;
use super::terminal::{CTRL_C, Terminal};

/// The resources of the process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessResources {
    /// KiB.
    pub memory: u64,
    pub files: usize,
    pub threads: u64,
}

impl ProcessResources {
    fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let number = |line: &str| {
            let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
            found.trim().trim_end_matches(" kB").parse().unwrap()
        };
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Self { memory: number("VmRSS:"), files, threads: number("Threads:") }
    }
}

/// Typical input: values, definitions, errors, help, charts, files, models, interrupted loops.
const LINES: &[&str] = &[
    "6 * 7",
    "let a = tensor::randn([100, 100])",
    "a.sum()",
    "(a @ a).max()",
    "show(a)",
    "a.svd().s",
    "let text = \"to be or not to be\"",
    "text.len()",
    "fn twice(x) { x * 2 }",
    "twice(21)",
    "let x = ;",
    "oops()",
    "let b = [1, 2, 3].map(|x| x * 2)",
    "b.to_json()",
    "table([#{ a: 1, b: 2 }, #{ a: 3, b: 4 }])",
    "plot::line([3, 1, 2])",
    "plot::heat(tensor::randn([5, 5]))",
    ":vars",
    "?tensor::zeros",
    "?show",
    ":help",
    "run::save_text(\"a.txt\", text)",
    "run::load_text(\"a.txt\")",
    "run::save_json(\"a.json\", [1, 2, 3])",
    "run::load_text(\"missing\")",
    "tensor::save(\"a.safetensors\", #{ a: a })",
    "tensor::load(\"a.safetensors\").a.shape",
    "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 })",
    "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10 }); m.logits([1, 2, 3])",
    "sae::fit(tensor::randn([64, 8]), #{ k: 2, steps: 3, seed: 1 })",
    "import \"std/stats\" as stats; stats::interval([1, 2, 3])",
    "try { throw \"no\" } catch (e) { e }",
    "let s = \"\"; for i in 0..1000 { s += \"x\"; } s.len()",
    "report(\"page\", [\"text\", plot::line([1, 2])]).save()",
    "let big = []; big.pad(100_000, 1); big.len()",
    "sleep(0.01)",
];

/// Types this many commands; returns the resources after the first half of them and at the end.
pub fn session(
    commands: usize,
    seed: u64,
    pause: Duration,
    told: &mut dyn FnMut(usize, ProcessResources),
) -> (ProcessResources, ProcessResources) {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::ready(folder.path());
    let mut dice = Dice::new(seed, "session", 0);
    let mut first = None;
    let mut last = ProcessResources::of(terminal.process());
    for number in 0..commands.div_ceil(2) {
        if dice.chance(0.03) {
            // Unique text, since that of an earlier command may still be on the screen.
            terminal.line(&format!("print(\"begun {number}\"); loop {{}}"));
            terminal.see_line(&format!("begun {number}"));
            terminal.send(CTRL_C);
        } else {
            let line: &&str = dice.pick(LINES);
            terminal.line(line);
        }
        // An answer to this means that the command before is done.
        terminal.line(&format!("\"mark {number}\""));
        terminal.see_line(&format!("mark {number}"));
        // The editor holds two sockets while it waits for a line, and only then.
        terminal.prompt();
        std::thread::sleep(pause);
        last = ProcessResources::of(terminal.process());
        // By then, everything that is created once exists.
        if number >= commands / 4 {
            first.get_or_insert(last);
        }
        if number % 100 == 0 {
            told(2 * number, last);
        }
    }
    (first.unwrap_or(last), last)
}
