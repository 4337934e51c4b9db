//! `microtome fmt`: on every script of ours, on the examples of the documentation, and on all of them with their white space
//! changed at random; and the command itself.

use std::path::Path;

use microtome::script::Session;
use microtome::script::engine::drawing;
use microtome::script::engine::env::Env;
use microtome::script::engine::tokens::{TokenKind, tokens};

use crate::support;

fn session() -> Session {
    Session::for_reading(Env::in_memory(Path::new("out")).unwrap())
}

/// All of our scripts, and the sections and examples that are scripts, by name.
fn texts(session: &Session) -> Vec<(String, String)> {
    let folders = [
        "scripts",
        "stdlib",
        "examples",
        "examples/tasks",
        "tests/suite",
        "tests/cli/run.in",
        "tests/fixtures/experiments",
    ];
    let files = folders.iter().flat_map(|folder| support::files(folder, "rhai"));
    let mut texts: Vec<(String, String)> =
        files.map(|file| (file.display().to_string(), std::fs::read_to_string(&file).unwrap())).collect();
    let docs = session.docs();
    let examples = docs.own().filter(|entry| !entry.doc.example.is_empty());
    texts.extend(examples.map(|entry| (entry.path(), entry.doc.example.clone())));
    texts.retain(|(name, text)| session.compile(name, text).is_ok());
    texts
}

/// The program, the comments and their order stay, and a second time changes nothing: `Session::formatted` compares.
#[test]
fn every_script_stays_the_same_program() {
    support::on_large_stack(|| {
        let session = session();
        let texts = texts(&session);
        assert!(texts.len() > 200, "only {} texts are scripts", texts.len());
        for (name, text) in texts {
            let new = session.formatted(&name, &text);
            assert!(new.is_ok(), "{}", drawing::draw(&new.unwrap_err(), session.sources(), false));
        }
    });
}

/// The text with other white space between its words, and none where there was none.
fn shaken(text: &str, dice: &mut impl FnMut(usize) -> usize) -> String {
    let mut out = String::new();
    let mut end = 0;
    let mut ends_line = false;
    for token in tokens(text) {
        // A string between backticks comes in pieces, which touch.
        let white = &text[end..token.start];
        if !white.is_empty() {
            let kept = white.matches('\n').count().min(1);
            let breaks = if ends_line {
                1 + dice(3)
            } else if dice(8) == 0 {
                dice(4)
            } else {
                kept
            };
            out.push_str(&" ".repeat(dice(3)));
            out.push_str(&"\n".repeat(breaks));
            out.push_str(&" ".repeat(if breaks == 0 { 1 + dice(3) } else { dice(9) }));
        }
        out.push_str(token.of(text));
        ends_line = token.kind == TokenKind::Comment && token.of(text).starts_with("//");
        end = token.end;
    }
    out
}

#[test]
fn white_space_is_no_part_of_a_program() {
    support::on_large_stack(|| {
        let session = session();
        let mut state = 7_u64;
        let mut dice = move |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        let mut shaken_well = 0;
        for (name, text) in texts(&session) {
            for _ in 0..2 {
                let text = shaken(&text, &mut dice);
                // White space within a hole of a string is text to us, and may be none to the parser.
                if session.compile(&name, &text).is_err() {
                    continue;
                }
                shaken_well += 1;
                let new = session.formatted(&name, &text);
                assert!(new.is_ok(), "{name}:\n{text}\n{:?}", new.err());
            }
        }
        assert!(shaken_well > 200, "only {shaken_well} texts");
    });
}

/// Each of these was another program without its blanks, or was cut at the wrong quote.
#[test]
fn signs_ranges_and_doubled_quotes_stay_what_they_are() {
    support::on_large_stack(|| {
        let session = session();
        for (text, expected) in [
            ("print(\"a\"\"b\"+`c``${1}\\${e`)", "print(\"a\"\"b\" + `c``${1}\\${e`)\n"),
            ("print(- 1.abs()+-1.abs())", "print(- 1.abs() + -1.abs())\n"),
            ("print(switch 7{..2=>1,6.. =>2,_=>3})", "print(switch 7 { ..2 => 1, 6.. => 2, _ => 3 })\n"),
            ("print([- 0x1,6. .abs(),6 .\nabs()])", "print([- 0x1, 6. .abs(), 6 .\n        abs()])\n"),
            ("   print(\"a\\\n           b\")", "print(\"a\\\n        b\")\n"),
            ("print(1 // one\n,);print(2/* two */,)", "print(1, // one\n);\nprint(2 /* two */ )\n"),
            ("if true {1}(2\n)", "if true { 1 } (2\n)\n"),
        ] {
            let new = session.formatted("text", text).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
            assert_eq!(new, expected);
        }
    });
}

/// What is ours is formatted. The scripts are when the last of them is written anew.
#[test]
fn our_own_scripts_are_formatted() {
    support::on_large_stack(|| {
        let session = session();
        for file in ["stdlib", "examples"].iter().flat_map(|folder| support::files(folder, "rhai")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let new = session.formatted("ours", &text).unwrap();
            assert!(new == text, "run `microtome fmt {}`", file.display());
        }
    });
}

fn fmt(folder: &Path, words: &[&str]) -> (i32, String, String) {
    support::ended(&support::microtome(folder).arg("fmt").args(words).output().unwrap())
}

#[test]
fn files_change_only_where_they_must() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("more")).unwrap();
    std::fs::write(path("more/a.rhai"), "let x=1;\n").unwrap();
    std::fs::write(path("more/b.rhai"), "let x = 1;\n").unwrap();
    std::fs::write(path("more/c.rhai"), "let x = ;\n").unwrap();
    std::fs::write(path("more/d.txt"), "let x=1;\n").unwrap();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let modified = |name: &str| std::fs::metadata(path(name)).unwrap().modified().unwrap();

    let (code, stdout, stderr) = fmt(folder.path(), &["--check", "more/a.rhai", "more/b.rhai"]);
    assert_eq!((code, stdout.as_str()), (1, "more/a.rhai:1\n-let x=1;\n+let x = 1;\n"), "{stderr}");
    assert_eq!(read("more/a.rhai"), "let x=1;\n");

    let before = modified("more/b.rhai");
    let (code, _, stderr) = fmt(folder.path(), &["more"]);
    assert!(code == 1 && stderr.contains("more/c.rhai:1") && stderr.contains("1 of 3 scripts changed"), "{stderr}");
    assert_eq!(read("more/a.rhai"), "let x = 1;\n");
    assert_eq!((read("more/c.rhai"), read("more/d.txt")), ("let x = ;\n".into(), "let x=1;\n".into()));
    assert_eq!(modified("more/b.rhai"), before);
    assert_eq!(std::fs::read_dir(path("more")).unwrap().count(), 4, "something was left behind");

    assert_eq!(fmt(folder.path(), &["--check", "more/a.rhai", "more/b.rhai"]).0, 0);
    assert_ne!(fmt(folder.path(), &["missing.rhai"]).0, 0);
}

#[cfg(unix)]
#[test]
fn a_script_stays_what_it_was_to_the_system() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.rhai");
    let link = folder.path().join("link.rhai");
    std::fs::write(&file, "x=1").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("a.rhai", &link).unwrap();
    assert_eq!(fmt(folder.path(), &["link.rhai"]).0, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x = 1\n");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o750);
    assert!(link.is_symlink());
}
