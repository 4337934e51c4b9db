//! What the workbench itself costs: start-up, completion, native calls, size. Writes `docs/benchmarks.md`.
//!
//! `cargo bench --bench workbench`; the peer of the start-up row is the Python interpreter that `MICROTOME_PEER_PYTHON`
//! names (default `python3`), if it can import torch; that of drawn text is transformers in the same interpreter.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::peers::Peers;
use common::{BenchPage, Rows, anywhere, eval, median, microseconds, milliseconds, rate, root, timed};
use microtome::script::Session;
use microtome::script::engine::env::Env;

fn main() {
    let mut rows = Vec::new();
    start_up(&mut rows);
    for measure in [model_inside, in_process, calls_of_scripts] {
        rows.append(&mut microtome::script::engine::thread::with_large_stack(measure).unwrap());
    }
    interruptions(&mut rows);
    size(&mut rows);
    let sentence = "Times are medians; ratios are of medians of the same run.";
    BenchPage::new("Benchmarks of the workbench", "workbench", sentence).in_file("benchmarks.md").publish(&rows);
}

fn command(program: &str, words: &[&str]) -> bool {
    let status =
        Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success())
}

fn start_up(rows: &mut Rows) {
    let ours = timed(|| assert!(command(env!("CARGO_BIN_EXE_microtome"), &["-e", "1 + 2"])), 41);
    rows.push(("`microtome -e '1 + 2'`, process start to exit".into(), milliseconds(ours)));
    let python = std::env::var("MICROTOME_PEER_PYTHON").unwrap_or("python3".into());
    let import = ["-c", "import torch"];
    if command(&python, &import) {
        let theirs = timed(|| assert!(command(&python, &import)), 7);
        rows.push(("`python -c 'import torch'`, same run".into(), milliseconds(theirs)));
        rows.push(("ratio".into(), format!("1 : {:.0}", theirs.as_secs_f64() / ours.as_secs_f64())));
    } else {
        rows.push(("`python -c 'import torch'`, same run".into(), format!("not measured: {python} has no torch")));
    }
}

/// The model inside the binary: loading it, a line that uses it, and text drawn from it beside transformers, which loads
/// the same folder.
fn model_inside() -> Rows {
    let mut rows = Vec::new();
    let mut session = session();
    let loaded = timed(|| eval(&mut session, "model::load(\"tiny\");"), 21);
    rows.push(("`model::load(\"tiny\")`".into(), milliseconds(loaded)));
    let line = "model::load(\"tiny\").generate(\"The committee (which had met\", #{ tokens: 30 })";
    let whole = timed(|| assert!(command(env!("CARGO_BIN_EXE_microtome"), &["-e", line])), 11);
    rows.push(("a process that loads it and generates 30 tokens".into(), milliseconds(whole)));
    eval(&mut session, "let m = model::load(\"tiny\");");
    let texts = 256;
    let length = 255;
    let mut seed = 0;
    let drawn = timed(
        || {
            // Of another seed each time, and none of them stored.
            seed += 1;
            eval(&mut session, &format!("data::draw(m, #{{ tokens: {texts} * {length}, seed: {seed} }});"));
        },
        3,
    );
    let tokens = texts * length;
    rows.push(("text drawn from it, temperature 0.85, top 200".into(), rate(tokens, drawn)));
    let peers = Peers::measure("sample.py", &[texts, length]);
    rows.push((
        "transformers on the same weights, same run".into(),
        peers.against("draw", drawn, |time| rate(tokens, time)),
    ));
    rows
}

fn session() -> Session {
    Session::new(Env::in_memory(&anywhere()).unwrap())
}

/// From Ctrl-C to the end of the process, during work that checks for interruptions and work that cannot.
fn interruptions(rows: &mut Rows) {
    for (what, code) in [
        ("an endless loop", "print(0); loop {}"),
        ("a singular value decomposition, 4000 x 4000", "let a = tensor::randn([4000, 4000]); print(0); a.svd()"),
    ] {
        let times = (0..5).map(|_| {
            let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
                .args(["-e", code])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Its first line means that the work has begun.
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 2]).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let begin = Instant::now();
            assert!(command("kill", &["-INT", &child.id().to_string()]));
            assert_eq!(child.wait().unwrap().code(), Some(130));
            begin.elapsed()
        });
        rows.push((format!("from Ctrl-C to the end of the process in {what}"), milliseconds(median(times.collect()))));
    }
}

fn in_process() -> Rows {
    let mut rows = Vec::new();
    let mut session = session();
    let names: String = (0..500).map(|i| format!("let name_{i} = {i};\n")).collect();
    eval(&mut session, &names);
    eval(&mut session, "let t = tensor::zeros([2, 2]);");
    for (what, line) in [
        ("a variable", "name_4"),
        ("a method", "t.s"),
        ("a module member", "tensor::z"),
        ("an option", "tensor::randn([2], #{ s"),
    ] {
        let complete = || microtome::repl::complete::complete(line, line.len(), &session, &|| Ok(()));
        let time = timed(|| assert!(!complete().unwrap().1.is_empty()), 101);
        rows.push((format!("completion of {what}, 500 names in scope"), microseconds(time)));
    }
    let docs = timed(|| drop(microtome::script::docs::Docs::of(session.engine())), 21);
    rows.push(("gathering the reference, once a session when first asked for".into(), milliseconds(docs)));
    let calls = 200_000;
    let empty = loop_time(&mut session, "", calls);
    for (what, call) in [("`run::seed()`", "run::seed();"), ("`t.rank`", "t.rank;"), ("`t + 1`, 2 x 2", "t + 1;")] {
        let each = loop_time(&mut session, call, calls).saturating_sub(empty).as_secs_f64() / f64::from(calls);
        rows.push((format!("one native call, {what}"), format!("{:.0} ns", each * 1e9)));
    }
    eval(
        &mut session,
        "let x = tensor::randn([60_000, 193], #{ seed: 1 }); let g = tensor::randn([60_000, 4], #{ seed: 2 });",
    );
    let tall = timed(|| eval(&mut session, "x.transpose() @ g;"), 11);
    rows.push(("`x.transpose() @ g`, 60,000 x 193 and 60,000 x 4".into(), milliseconds(tall)));
    rows
}

/// What a call of a function or a closure costs, which run as parts of their texts, beside the language's engine by itself,
/// in which they do not.
fn calls_of_scripts() -> Rows {
    let calls = 200_000;
    let mut session = session();
    let bare = rhai::Engine::new();
    let mut rows = Vec::new();
    for (what, before, again) in [
        ("a function of the script", "fn f(x) { x }", "for i in 0..CALLS { f(i); }"),
        ("a function that calls another", "fn g(x) { x } fn f(x) { g(x) }", "for i in 0..CALLS { f(i); }"),
        ("a closure", "let f = |x| x;", "for i in 0..CALLS { f.call(i); }"),
        ("a closure with a captured variable", "let y = 1; let f = |x| x + y;", "for i in 0..CALLS { f.call(i); }"),
        ("a closure, called by `map`", "let list = []; list.pad(CALLS, 1);", "list.map(|x| x);"),
    ] {
        let [nothing, code] = ["", again].map(|again| format!("{before} {again}").replace("CALLS", &calls.to_string()));
        let [ours, theirs]: [&mut dyn FnMut(&str); 2] =
            [&mut |code| eval(&mut session, code), &mut |code| bare.run(code).unwrap()];
        let [ours, theirs] = [ours, theirs].map(|run| {
            let rest = timed(|| run(&nothing), 5);
            timed(|| run(&code), 5).saturating_sub(rest).as_secs_f64() / f64::from(calls)
        });
        rows.push((
            format!("a call of {what}"),
            format!("{:.0} ns, {:.0} ns by the engine alone, 1 : {:.2}", ours * 1e9, theirs * 1e9, theirs / ours),
        ));
    }
    rows
}

fn loop_time(session: &mut Session, body: &str, calls: u32) -> Duration {
    let code = format!("for i in 0..{calls} {{ {body} }}");
    timed(|| eval(session, &code), 5)
}

fn size(rows: &mut Rows) {
    let binary = Path::new(env!("CARGO_BIN_EXE_microtome"));
    let bytes = std::fs::metadata(binary).unwrap().len();
    rows.push(("size of the binary".into(), format!("{:.1} MB", bytes as f64 / 1e6)));
    if let Ok(output) = Command::new("ldd").arg(binary).output() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut libraries: Vec<&str> =
            text.lines().filter_map(|l| l.split_whitespace().next()).filter(|l| l.starts_with("lib")).collect();
        libraries.sort_unstable();
        rows.push(("its dynamic libraries".into(), libraries.join(", ")));
    }
    let mut lengths = Vec::new();
    for sources in ["src", "methods/src", "core/src"] {
        lines(&root().join(sources), &mut lengths);
    }
    lengths.sort_unstable();
    rows.push((
        "Rust in `src`, `methods` and `core`".into(),
        format!(
            "{} lines in {} files, median {}, longest {}",
            lengths.iter().sum::<usize>(),
            lengths.len(),
            lengths[lengths.len() / 2],
            lengths[lengths.len() - 1]
        ),
    ));
}

fn lines(folder: &Path, lengths: &mut Vec<usize>) {
    for path in std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()) {
        if path.is_dir() {
            lines(&path, lengths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            lengths.push(std::fs::read_to_string(path).unwrap().lines().count());
        }
    }
}
