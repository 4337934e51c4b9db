//! The page on libraries, typed line by line: in an empty folder, with an empty cache, and with servers on loopback in
//! the places of the hosts that it names.

use std::path::Path;

use kit::http::answer;
use kit::{PageCommand, PageShell, page_blocks};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::library_index::StaticServer;
use crate::packages::{holds, packed};
use crate::torture::terminal::Terminal;

/// What stands on the page for the hosts of an index and of a forge, and for a hash.
const LIBRARIES: &str = "https://libraries.example.org";
const FORGE: &str = "https://forge.example.org";
const HASH: &str = "8f1c..";

/// The question of `microtome add`, which the page answers.
const QUESTION: &str = "May they? [y/N] ";

/// The archive that a forge makes of the folder of a library.
fn archive(folder: &Path) -> Vec<u8> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let files = all.filter(|entry| entry.file_type().is_file()).map(|entry| {
        let path = entry.path().strip_prefix(folder).unwrap().display().to_string();
        (format!("library-1/{path}"), std::fs::read_to_string(entry.path()).unwrap())
    });
    let files: Vec<(String, String)> = files.collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    packed(&files)
}

/// A reader, who types what the page says.
struct Reader {
    home: tempfile::TempDir,
    shell: PageShell,
    libraries: StaticServer,
    forge: StaticServer,
}

impl Reader {
    /// A reader whose folders `work` and `forge` are on the two hosts: the first as it is, the libraries in the second
    /// as archives.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let shell = PageShell::new(home.path(), Path::new(env!("CARGO_BIN_EXE_microtome")));
        let libraries = StaticServer::of(home.path().join("work"));
        let forge = home.path().join("forge");
        let forge = StaticServer::answering(move |path| match path.split_once('/') {
            Some((name, "archive/v1.tar.gz")) => answer("200 OK", &[], &archive(&forge.join(name))),
            _ => answer("404 Not Found", &[], b""),
        });
        Self { home, shell, libraries, forge }
    }

    /// Writes a text of the page with the servers in the places of its hosts, and with the hash of what the forge has
    /// under this name.
    fn here(&self, text: &str, name: &str) -> String {
        let text = text.replace(LIBRARIES, &self.libraries.address).replace(FORGE, &self.forge.address);
        if !text.contains(HASH) {
            return text;
        }
        let hash = Sha256::digest(archive(&self.home.path().join("forge").join(name)));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.replace(HASH, &hash)
    }

    /// Types a command, and returns what is otherwise than the page says.
    fn follow(&mut self, command: &PageCommand) -> Option<String> {
        let typed = self.here(&command.typed, "mine");
        let reply = command.shown.iter().find_map(|line| line.strip_prefix(QUESTION));
        let (code, said) = match reply {
            Some(reply) => self.asked(&typed, reply, command),
            None => self.shell.line(&typed),
        };
        let said = said.replace(&self.libraries.address, LIBRARIES).replace(&self.forge.address, FORGE);
        let is_refused = command.shown.iter().any(|line| line.starts_with("error"));
        let wrong = (code == Some(0)) == is_refused;
        let ended = wrong.then(|| format!("line {}: {typed}\nended with {code:?}\n{said}", command.line));
        ended.or_else(|| command.complaint(&said))
    }

    /// Types a command in a terminal, where it asks, and replies as the page does.
    fn asked(&self, typed: &str, reply: &str, command: &PageCommand) -> (Option<i32>, String) {
        let words: Vec<&str> = typed.split_whitespace().skip(1).collect();
        let cache = self.shell.cache().display().to_string();
        let mut terminal = Terminal::start_with(self.shell.here(), &words, &[("MICROTOME_CACHE", cache.as_str())]);
        terminal.see(QUESTION.trim_end());
        terminal.send(&format!("{reply}\r"));
        let code = terminal.ended();
        terminal.see(command.shown.last().unwrap());
        (i32::try_from(code).ok(), terminal.screen())
    }

    /// Adds what a manifest of the page needs.
    fn adds_all(&mut self, manifest: &str) {
        for (folder, name, version) in
            [("../probes", "probes", "1.2.3"), ("../rates", "rates", "0.1.0"), ("../forge/heads", "heads", "1.0.0")]
        {
            let text = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            self.shell.write(&format!("{folder}/microtome.toml"), &text);
            self.shell.write(&format!("{folder}/lib.rhai"), "fn test_f() { 1 }\n");
        }
        let manifest = self.here(manifest, "heads");
        self.shell.write("../whole/microtome.toml", &manifest);
        let whole = self.home.path().join("whole").display().to_string();
        let typed = format!("cd {whole} && microtome publish ../probes --index ../work/index && microtome add --yes");
        let (code, said) = self.shell.line(&typed);
        assert_eq!(code, Some(0), "{said}");
        let index = format!("probes 1.2.3, from the index {}/index", self.libraries.address);
        holds(&said, &[&index, "rates 0.1.0, from ../rates", "heads 1.0.0, from http"]);
    }
}

/// Returns the entry of an index on the page as the index has it: with the whole hash, and for the program of today.
fn completed(shown: &str, there: &Value) -> Value {
    let mut shown: Value = serde_json::from_str(shown).unwrap();
    for key in ["hash", "microtome"] {
        shown[key] = there[key].clone();
    }
    shown
}

#[test]
fn libraries_go_as_their_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/libraries.md");
    let mut reader = Reader::new();
    let mut whole_manifest = None;
    let mut typed = 0;
    for block in page_blocks(page) {
        let commands = block.commands();
        typed += commands.len();
        for command in &commands {
            // All that follows stands on it.
            if let Some(complaint) = reader.follow(command) {
                panic!("docs/libraries.md, {complaint}");
            }
            if command.typed == "microtome new lib mine" {
                // Pushed to the forge at once.
                let copied = reader.shell.line("mkdir -p ../forge && cp -r mine ../forge/mine");
                assert_eq!(copied, (Some(0), String::new()));
            }
        }
        match (block.file(), block.about.as_str()) {
            (Some(file), _) => reader.shell.write(file, &block.text()),
            (None, "toml") => whole_manifest = Some(block.text()),
            (None, "rust") => {
                holds(&std::fs::read_to_string(reader.shell.path("mine/lib.rhai")).unwrap(), &[&block.text()])
            }
            (None, "json") => {
                let entry = std::fs::read_to_string(reader.shell.path("index/libraries/mine.jsonl")).unwrap();
                let entry: Value = serde_json::from_str(&entry).unwrap();
                assert_eq!(completed(&block.text(), &entry), entry);
            }
            _ => assert!(!commands.is_empty(), "docs/libraries.md, line {}: nothing is done with this", block.line),
        }
    }
    assert!(typed >= 20, "{typed} lines were typed");
    reader.adds_all(&whole_manifest.unwrap());
}
