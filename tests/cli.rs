//! The command line by transcript: every file in `tests/cli` holds commands, what they print, and their exit codes. And what
//! a transcript cannot say: a pipe whose reader has gone, and how one reads on from what a search has found.
//!
//! After an intended change, `TRYCMD=overwrite cargo test cli::` rewrites the transcripts.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The program in a folder, without anybody's settings.
fn microtome(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.args(words).current_dir(folder).stdin(Stdio::null());
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME"] {
        command.env(name, folder);
    }
    command
}

/// Whatever prints ends with the code of a closed pipe, and says nothing of it.
#[test]
fn a_pipe_whose_reader_has_gone_ends_the_program_silently() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("inner.rhai", "let x  = 1;\nprint(x);\n");
    write("outer.rhai", "print(1); run::script(\"inner.rhai\", #{ out: \"own\" });");
    assert!(microtome(folder.path(), &["run", "inner.rhai"]).output().unwrap().status.success());
    let printing: [&[&str]; 10] = [
        &["--help"],
        &["doc", "--help"],
        &["doc", "sae"],
        &["completions", "bash"],
        &["cache"],
        &["-e", "print(1)"],
        &["-e", "for i in 0..1_000_000 { print(i) }"],
        &["fmt", "--check", "."],
        &["run", "outer.rhai"],
        &["run", "--again", "out/inner/run.json"],
    ];
    for words in printing {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = microtome(folder.path(), words).stdout(writer).output().unwrap();
        assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(141), ""), "{words:?}");
    }
}

/// Where both outputs are one pipe, what is said at the end stands in a line of its own, behind what was printed.
#[test]
fn in_one_pipe_each_line_stands_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        r#"print("first"); show(table([[1]], #{ columns: ["n"] })); run::check(false, "it holds"); print("last");"#;
    std::fs::write(folder.path().join("said.rhai"), script).unwrap();
    let said = |words: &[&str]| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = microtome(folder.path(), words);
        let mut running = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(3), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('─'));
        lines.map(|line| line.trim().to_string()).collect::<Vec<_>>()
    };
    let printed = ["first", "n", "1", "check FAILED: it holds", "last"];
    assert_eq!(said(&["run", "said.rhai"]), [printed.as_slice(), &["1 of 1 checks failed"]].concat());
    assert_eq!(said(&["--json", "run", "said.rhai"]), [printed.as_slice(), &["null", "1 of 1 checks failed"]].concat());
}

/// What was printed on standard output, with each run of white space as one blank.
fn printed(folder: &Path, words: &[&str]) -> String {
    let ran = microtome(folder, words).output().unwrap();
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn words_that_are_no_name_are_searched_for_and_each_text_found_says_how_to_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let found = printed(folder.path(), &["doc", "intervals", "by", "the", "bootstrap"]);
    let head = "`intervals by the bootstrap` is no name. Texts with these words, best first:\n";
    assert!(found.starts_with(head), "{found}");
    let texts: Vec<(&str, &str)> =
        found.split("\nmicrotome doc ").skip(1).map(|text| text.split_once('\n').unwrap()).collect();
    assert!((2..=10).contains(&texts.len()), "{found}");
    assert!(texts.iter().any(|(name, _)| name.contains("::")) && texts.iter().any(|(name, _)| name.contains(".md#")));
    let page = texts.iter().find(|(name, _)| name.contains(".md#"));
    for (name, line) in texts.iter().take(2).chain(page) {
        let line = in_one_line(line);
        let line =
            line.split_once(": ").filter(|(before, _)| before.starts_with("line ")).map_or(&*line, |(_, line)| line);
        // An option is shown with its default behind its name, and a long line is cut.
        let words: Vec<&str> = line.trim_end_matches('…').split(' ').skip(1).take(5).collect();
        let whole = in_one_line(&printed(folder.path(), &["doc", name.trim_matches('\'')]));
        assert!(whole.contains(&words.join(" ")), "{name} has no `{}`:\n{whole}", words.join(" "));
    }
    let page = printed(folder.path(), &["doc", "reports.md#charts"]);
    assert!(page.starts_with("## Charts\n") && !page.contains("## A page"), "{page}");
    assert_eq!(page, printed(folder.path(), &["doc", "docs/reports#charts"]));
    let unknown = microtome(folder.path(), &["doc", "sae::fti"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let stderr = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(stderr, "error: the reference has no `sae::fti`\n  hint: did you mean `sae::fit`?\n");
    // Names of other programs are answered by what stands for them before by what is spelt like them.
    let ablated = microtome(folder.path(), &["doc", "hooks::ablate"]).output().unwrap();
    let said = [ablated.stdout, ablated.stderr].concat();
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("hooks::zero(\"z.0\")") && !said.contains("did you mean"), "{said}");
    assert!(printed(folder.path(), &["doc", "ablates"]).contains("hooks::zero"));
}

/// Makes the kept answers of a transcript new: how old they are is counted from when the repository was cloned.
fn renew(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            renew(&entry.path());
            continue;
        }
        let file = std::fs::File::options().append(true).open(entry.path()).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }
}

#[test]
fn transcripts_hold() {
    renew(Path::new("tests/cli/cache.in"));
    let nowhere = tempfile::tempdir().unwrap();
    let home = nowhere.path().display().to_string();
    trycmd::TestCases::new()
        .case("tests/cli/*.trycmd")
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", &home)
        .env("XDG_DATA_HOME", &home)
        .env("XDG_CACHE_HOME", &home)
        .env("HF_HOME", &home)
        .env("MICROTOME_PATH", "")
        .env("TERM", "dumb");
}
