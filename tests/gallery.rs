//! The experiments as a reader finds them: headers and length of every script, the gallery that is made of them, and
//! `scripts/all.rhai`, which runs them, takes what is complete from records, and can be repeated.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::task::Silent;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::tokens::{Token, TokenKind, tokens};

use crate::support;

/// Finds a line on which code follows a semicolon.
fn crowded(text: &str) -> Option<&str> {
    let tokens = tokens(text);
    let is_crowded = |pair: &[Token]| {
        let is_on_one_line = !text[pair[0].end..pair[1].start].contains('\n');
        pair[0].is_symbol(text, &[";"]) && pair[1].kind != TokenKind::Comment && is_on_one_line
    };
    let pair = tokens.windows(2).find(|pair| is_crowded(pair))?;
    let lines_before = text[..pair[1].start].matches('\n').count();
    text.lines().nth(lines_before)
}

/// Finds a line on which a number that changes is added to a seed as it is: runs with neighbouring seeds would share draws, and what
/// a page calls a range over seeds would be of the same ones. A seed times 1,000 shares none.
fn shared(text: &str) -> Option<&str> {
    let is_of_word = |c: char| c.is_alphanumeric() || "_.:()".contains(c);
    let is_far_apart = |seed: &str| {
        let declared = text.split_once(&format!("let {seed} = ")).map(|(_, rest)| rest.trim_start_matches(is_of_word));
        declared.is_some_and(|rest| rest.starts_with(" * run::seed()"))
    };
    let is_shared = |line: &str| {
        line.match_indices(" + ").any(|(at, plus)| {
            let left = &line[..at];
            let right = &line[at + plus.len()..];
            let before = left.trim_end_matches(is_of_word);
            let seed = left[before.len()..].trim_end_matches("()").rsplit('(').next().unwrap_or_default();
            let more = right.trim_start_matches(is_of_word);
            let is_seed = seed.ends_with("seed");
            let is_changing = right.starts_with(char::is_alphabetic) && !more.starts_with(" * ");
            is_seed && is_changing && !before.ends_with("* ") && !is_far_apart(seed)
        })
    };
    text.lines().find(|line| !line.trim_start().starts_with("//") && is_shared(line))
}

/// What is wrong with a script as a page of the gallery.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).collect();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let code = text.lines().filter(is_code).count();
    let run = format!("//     microtome run scripts/{name}.rhai");
    let header: Vec<&str> = header.into_iter().filter(|line| !line.starts_with("//=")).collect();
    // Question, figures and command are one line each, however long.
    let is_long = |line: &&str| line.chars().count() > 120 && !line.starts_with("//=") && !line.starts_with(&run);
    let long = text.lines().skip(1).find(is_long);
    let crowded = crowded(text);
    let shared = shared(text);
    let checks = [
        (header.len() <= 12, format!("its header has {} lines", header.len())),
        (code <= 60, format!("it has {code} lines of code")),
        (long.is_none(), format!("a line is longer than 120 characters: {}", long.unwrap_or_default())),
        (shared.is_none(), format!("neighbouring seeds share draws: {}", shared.unwrap_or_default())),
        (crowded.is_none(), format!("a line holds more than one statement: {}", crowded.unwrap_or_default())),
        (header.first().is_some_and(|line| line.ends_with('?')), "its first line is no question".into()),
        (header.last().is_some_and(|line| line.starts_with(&run)), format!("its header does not end in `{run}`")),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, said)| format!("{name}: {said}")).collect()
}

#[test]
fn every_script_asks_a_question_and_is_short() {
    let mut all = Vec::new();
    for script in support::files("scripts", "rhai") {
        let name = script.file_stem().unwrap().to_string_lossy().to_string();
        all.extend(complaints(&name, &std::fs::read_to_string(&script).unwrap()));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
    assert_eq!(complaints("x", &"let a = 1;\n".repeat(61)).len(), 3);
    assert_eq!(complaints("x", &format!("// A?\n// {}\nlet a = 1; a\n", "a".repeat(118))).len(), 3);
}

#[test]
fn semicolons_in_strings_and_comments_end_no_statement() {
    let fine = "f(\"a; \\\"b\"); // c; d\nlet g = `a; ${h(\"b; c\")}\nd; e`;\nlet i = ';';\n";
    assert_eq!(crowded(fine), None);
    for line in ["f(); g()", "if a { b(); }", "let s = `a; b`; s"] {
        assert_eq!(crowded(&format!("{fine}{line}\n")), Some(line));
    }
}

#[test]
fn neighbouring_seeds_share_no_draw() {
    for library in support::files("stdlib", "rhai") {
        let text = std::fs::read_to_string(&library).unwrap();
        assert_eq!(shared(&text), None, "{}", library.display());
    }
    for line in [
        "f(run::seed() + draw)",
        "f(#{ seed: seed + i })",
        "f(o.seed + epoch, 1)",
        "let seed = run::seed();\nf(seed + i)",
    ] {
        assert_eq!(shared(line), line.lines().last());
    }
    for line in [
        "f(1000 * run::seed() + draw)",
        "f(run::seed() + 100)",
        "f(o.seed + drawn * 1000003)",
        "// seed + i",
        "let first_seed = 1_000_000 * run::seed();\nf(first_seed + i)",
    ] {
        assert_eq!(shared(line), None);
    }
}

/// What the gallery says of a script by its header: what its section begins with, and what it ends with.
fn said(name: &str, text: &str) -> [String; 2] {
    let header = text.lines().take_while(|line| line.starts_with("//")).filter(|line| !line.starts_with("//="));
    let header: Vec<&str> = header.map(|line| line.trim_start_matches('/').trim()).collect();
    let is_command = |line: &&str| line.contains("microtome run ");
    let (commands, about): (Vec<&str>, Vec<&str>) = header.iter().skip(1).copied().partition(is_command);
    let question = header.first().copied().unwrap_or_default();
    let command = commands.first().copied().unwrap_or_default();
    [format!("{name}\n\n**{question}**\n"), format!("\n{}\n\n    {command}", about.join("\n").trim())]
}

#[test]
fn the_gallery_has_every_script_as_its_header_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for script in support::files("scripts", "rhai") {
        let name = script.file_stem().unwrap().to_string_lossy().to_string();
        let [begin, end] = said(&name, &std::fs::read_to_string(&script).unwrap());
        let section = page.split("\n## ").find(|section| section.starts_with(&format!("{name}\n")));
        let section = section.unwrap_or_else(|| panic!("{name} is missing: run scripts/all.rhai")).trim_end();
        let between = section.strip_prefix(begin.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
        let between = between.unwrap_or_else(|| panic!("{section}\n\nis not what the header says:\n\n{begin}{end}"));
        // A picture and the checks.
        let behind = between.rsplit_once("<!-- / -->").map_or(between, |(_, behind)| behind);
        assert!(behind.trim().is_empty(), "{name}: the header says nothing of{behind}");
    }
    let pictures: Vec<&str> =
        page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect();
    for picture in pictures.iter().filter(|to| to.starts_with("gallery/")) {
        let bytes = std::fs::metadata(folder.join(picture)).unwrap_or_else(|e| panic!("{picture}: {e}")).len();
        assert!(bytes <= 60_000, "{picture} has {bytes} bytes");
    }
}

/// Runs all experiments of a small folder; its exit code, and what it said on both streams.
fn all(out: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--out").arg(out).arg("run").args(words);
    support::ended(&command.output().unwrap())
}

#[test]
fn experiments_run_once_and_what_they_came_to_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let words = ["scripts/all.rhai", "--folder", "tests/fixtures/experiments", "--seeds", "0,1", "--control"];
    let (code, stdout, stderr) = all(&out, &words);
    // `odd` fails on seed 0, and the control of `even` as it must.
    assert_eq!(code, 3, "{stdout}{stderr}");
    assert!(stdout.contains("odd, seed 0: the seed is 0"), "{stdout}");
    assert!(stdout.contains("check FAILED: 3 of 4 runs end with all of their checks held"), "{stdout}");
    assert!(stdout.contains("check holds: on 1 of 1 controls checks fail"), "{stdout}");
    assert!(!stderr.contains("from its record") && stderr.contains("5 of 5: odd, seed 1"), "{stderr}");
    let read = |name: &str| std::fs::read_to_string(out.join("all").join(name)).unwrap();
    let table = read("checks.md");
    assert!(table.contains("| even | 1 of 1 | 1 of 1 | 0 of 1 |"), "{table}");
    assert!(table.contains("| odd | 0 of 1 ! | 1 of 1 | none |"), "{table}");
    let gallery = "made/tests/fixtures/experiments";
    let page = read(&format!("{gallery}/README.md"));
    assert!(
        page.contains("**Is every number odd?**") && page.contains("- does not hold on seed 0: the seed is 0"),
        "{page}"
    );
    assert!(page.contains("![even](gallery/even.png)") && !page.contains("gallery/odd.png"), "{page}");
    assert!(out.join("all").join(gallery).join("gallery/even.png").exists());
    let record = read("run.json");

    // Taken from the records, it comes to the same, times and all.
    let (code, again, stderr) = all(&out, &words);
    assert_eq!((code, again), (3, stdout));
    assert_eq!(stderr.matches("from its record").count(), 5, "{stderr}");
    assert_eq!(read("run.json"), record);

    // Repeated by `--again`, everything runs, and writes the same bytes.
    let path = out.join("all/run.json");
    let (code, _, stderr) = all(&folder.path().join("elsewhere"), &["--again", path.to_str().unwrap()]);
    assert!(code == 0 && stderr.contains("identical:") && !stderr.contains("from its record"), "{stderr}");
    let inner = out.join("all/odd/seed-1/odd/run.json");
    let (code, _, stderr) = all(&folder.path().join("elsewhere"), &["--again", inner.to_str().unwrap()]);
    assert!(code == 0, "{stderr}");
    // A run alone leaves the same record as one among others.
    let alone = folder.path().join("alone");
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--out").arg(&alone).args(["--seed", "1", "run"]);
    assert!(command.arg("tests/fixtures/experiments/odd.rhai").output().unwrap().status.success());
    assert_eq!(std::fs::read(alone.join("odd/run.json")).unwrap(), std::fs::read(&inner).unwrap());

    // A picture that is gone is made again, and nothing else.
    std::fs::remove_file(out.join("all/even/seed-1/even/picture.png")).unwrap();
    let (_, _, stderr) = all(&out, &words);
    assert_eq!(stderr.matches("from its record").count(), 4, "{stderr}");
}

/// A training that Ctrl-C cuts short returns what it has; a script among others must not pass that for its result.
#[test]
fn an_interruption_ends_all_and_keeps_what_is_complete() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let flag = Arc::new(AtomicBool::new(false));
        let task = Task::new(flag.clone(), Arc::new(Silent));
        let env = Env::in_memory(&out).unwrap();
        let files = Files::new(Access::new(&out, &Rules::default()).unwrap(), true).heeding(&task);
        let mut session = Session::new(Env { task, files, ..env });
        let training =
            "model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 8 }, [[1, 2]], #{ steps: 1000000 });";
        for (name, code) in [("quick", "print(1);"), ("slow", training), ("never", "print(2);")] {
            std::fs::create_dir_all(&out).unwrap();
            std::fs::write(out.join(format!("{name}.rhai")), code).unwrap();
        }
        let raised = flag.clone();
        let quick = out.join("quick/run.json");
        let waiter = std::thread::spawn(move || {
            while !quick.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(500));
            raised.store(true, Ordering::Relaxed);
            Instant::now()
        });
        let failure = session.eval("all", "run::scripts([\"quick.rhai\", \"slow.rhai\", \"never.rhai\"])").unwrap_err();
        assert!(failure.is_interrupted(), "{}", failure.message);
        assert!(waiter.join().unwrap().elapsed() < Duration::from_secs(5));
        assert!(!out.join("slow/run.json").exists() && !out.join("never/run.json").exists());
        flag.store(false, Ordering::Relaxed);
        session.env().files.release();
        let again = session.eval("again", "run::script(\"quick.rhai\").recorded").unwrap();
        assert_eq!(again.as_bool(), Ok(true));
    });
}
