//! The grammars of scripts for editors, by the programs that read such: tree-sitter generates a parser, tests its trees and
//! parses every script of ours, and the tokenizer of VS Code colours them.
//!
//! `MICROTOME_TREE_SITTER` names the program tree-sitter (0.25), `MICROTOME_NODE` a folder whose `node_modules` has what
//! `tests/mcp/package.json` names; without them the tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::tokens::{TokenKind, tokens};
use microtome::script::session::stated_results::states;
use serde_json::Value;
use walkdir::WalkDir;

use crate::support::{self, printed};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All scripts of the repository, by name.
fn scripts() -> Vec<(String, String)> {
    let folders = ["benches", "docs", "editors", "examples", "scripts", "src", "stdlib", "tests"];
    let files = folders.iter().flat_map(|folder| WalkDir::new(Path::new(ROOT).join(folder)).sort_by_file_name());
    let paths = files.map(|file| file.unwrap().into_path());
    let scripts = paths.filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending == "rhai"));
    scripts.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The pieces of a text whose comments state what each comes to.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for line in text.split_inclusive('\n') {
        pieces.last_mut().unwrap().push_str(line);
        if states(line) {
            pieces.push(String::new());
        }
    }
    pieces
}

/// The inputs of a file of tree-sitter's tests, by name.
fn inputs(corpus: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = corpus.split("==================\n").collect();
    let tests = parts[1..].chunks(2);
    tests.map(|test| (test[0].trim(), test[1].split_once("\n---\n").unwrap().0)).collect()
}

/// All texts that the language takes: scripts, the examples of the reference and the pieces of the suite, by name; and what
/// is wrong with the texts of tree-sitter's tests.
fn texts() -> (Vec<(String, String)>, Vec<String>) {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::for_reading(Env::in_memory(&folder.path().join("out")).unwrap());
        let compiles = |name: &str, text: &str| session.compile(name, text).is_ok();
        let mut all = scripts();
        all.extend(session.docs().own().map(|entry| (entry.path(), entry.doc.example.clone())));
        let mut texts = Vec::new();
        for (name, text) in all {
            if compiles(&name, &text) {
                texts.push((name, text));
                continue;
            }
            let pieces = pieces(&text).into_iter().filter(|piece| compiles(&name, piece));
            texts.extend(pieces.map(|piece| (name.clone(), piece)));
        }
        let mut mistakes = Vec::new();
        for file in support::files("editors/tree-sitter-rhai/test/corpus", "txt") {
            let corpus = std::fs::read_to_string(file).unwrap();
            for (name, text) in inputs(&corpus) {
                let mistake = session.compile(name, text).err();
                mistakes.extend(mistake.map(|mistake| format!("{name}: {}", mistake.message)));
            }
        }
        (texts, mistakes)
    })
}

/// Copies the grammar without what was generated from it.
fn copy_grammar(to: &Path) {
    let from = Path::new(ROOT).join("editors/tree-sitter-rhai");
    let parts = ["grammar.js", "tree-sitter.json", "src/scanner.c", "queries", "test"];
    for file in parts.iter().flat_map(|part| WalkDir::new(from.join(part))) {
        let file = file.unwrap().into_path();
        if file.is_file() {
            let copy = to.join(file.strip_prefix(&from).unwrap());
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(file, copy).unwrap();
        }
    }
}

#[test]
fn tree_sitter_parses_every_script() {
    let is_program = |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|o| o.status.success());
    let Some(program) = support::client("MICROTOME_TREE_SITTER", "the program tree-sitter (0.25)", is_program) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let grammar = folder.path().join("tree-sitter-rhai");
    copy_grammar(&grammar);
    let tree_sitter = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(words).current_dir(&grammar).env("HOME", folder.path());
        command.env("XDG_CACHE_HOME", folder.path().join("cache"));
        command.env("XDG_CONFIG_HOME", folder.path().join("config"));
        command
    };
    printed(&mut tree_sitter(&["generate"]));
    printed(&mut tree_sitter(&["test"]));
    for name in ["highlights", "locals", "injections", "folds", "indents"] {
        let query = format!("queries/{name}.scm");
        let found = printed(&mut tree_sitter(&["query", &query, "test/highlight/colours.rhai"]));
        assert!(found.contains("capture"), "{query} captures nothing");
    }

    let (texts, mistakes) = texts();
    assert!(mistakes.is_empty(), "no scripts:\n{}", mistakes.join("\n"));
    assert!(texts.len() > 3000, "only {} texts", texts.len());
    let all = folder.path().join("all");
    std::fs::create_dir(&all).unwrap();
    let path = |number: usize| all.join(format!("{number}.rhai"));
    for (number, (_, text)) in texts.iter().enumerate() {
        std::fs::write(path(number), text).unwrap();
    }
    let paths: Vec<String> = (0..texts.len()).map(|number| path(number).display().to_string()).collect();
    std::fs::write(grammar.join("paths.txt"), paths.join("\n")).unwrap();
    // What fails is printed, a line each, which ends with the place.
    let output = tree_sitter(&["parse", "--quiet", "--paths", "paths.txt"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let failed = texts.iter().zip(&paths).filter_map(|((name, text), path)| {
        let line = printed.lines().find(|line| line.split_whitespace().next() == Some(path.as_str()))?;
        Some(format!("{name}: {}\n{text}", line.rsplit('\t').next().unwrap()))
    });
    let failed: Vec<String> = failed.collect();
    assert!(output.status.success(), "{}\n{}", failed.join("\n"), String::from_utf8_lossy(&output.stderr));
}

/// What the bytes of a text are: `c` within a comment, `s` within a string, a space elsewhere, and at the ends of lines.
fn kinds(text: &str, spans: impl IntoIterator<Item = (usize, usize, u8)>) -> String {
    let mut kinds = vec![b' '; text.len()];
    spans.into_iter().for_each(|(from, to, kind)| kinds[from..to].fill(kind));
    let kept = kinds.iter().zip(text.bytes()).map(|(kind, byte)| if byte == b'\n' { '\n' } else { char::from(*kind) });
    kept.collect()
}

#[test]
fn vs_code_tells_texts_and_comments_from_code() {
    let has_tokenizer = |folder: &PathBuf| folder.join("node_modules/vscode-textmate").is_dir();
    let Some(node) = support::client("MICROTOME_NODE", "a folder with vscode-textmate", has_tokenizer) else { return };
    let test = |words: &[&Path]| {
        let mut command = Command::new(node.join("node_modules/.bin/node"));
        command.arg(Path::new(ROOT).join("editors/vscode/test.js")).args(words);
        printed(command.env("NODE_PATH", node.join("node_modules")))
    };
    assert!(test(&[]).ends_with("have the colours that are expected\n"));

    let folder = tempfile::tempdir().unwrap();
    let scripts = scripts();
    assert!(scripts.len() > 200, "only {} scripts", scripts.len());
    for (number, (_, text)) in scripts.iter().enumerate() {
        std::fs::write(folder.path().join(number.to_string()), text).unwrap();
    }
    let coloured = test(&[folder.path()]);
    let coloured: Vec<Value> = coloured.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(coloured.len(), scripts.len());
    for file in coloured {
        let (name, text) = &scripts[file["name"].as_str().unwrap().parse::<usize>().unwrap()];
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let kind = |value: &Value| value.as_str().unwrap().as_bytes()[0];
        let spans = file["spans"].as_array().unwrap().iter();
        let found = kinds(text, spans.map(|span| (number(&span[0]), number(&span[1]), kind(&span[2]))));
        let words = tokens(text).into_iter().filter_map(|token| match token.kind {
            TokenKind::Text => Some((token.start, token.end, b's')),
            TokenKind::Comment => Some((token.start, token.end, b'c')),
            _ => None,
        });
        let expected = kinds(text, words);
        for (code, (found, expected)) in text.lines().zip(found.lines().zip(expected.lines())) {
            assert_eq!(found, expected, "{name}:\n{code}");
        }
    }
}
