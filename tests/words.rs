//! Words and sentences of doc comments, by the rules and the glossary of `ARCHITECTURE.md`: comments of finished rooms
//! that break them are listed, and there are none.

use std::path::{Path, PathBuf};

/// Folders and files whose comments follow the rules. The list grows until it is all of `kernels/src`, `core/src`,
/// `methods/src` and `src`.
const DONE: &[&str] = &[
    "kernels/src",
    "core/src/base",
    "core/src/options",
    "core/src/net",
    "core/src/questions",
    "core/src/tensor",
    "core/src/training",
    "core/src/probes",
    "core/src/tokenizer",
    "core/src/model",
    "core/src/checkpoint",
    "methods/src/data",
    "methods/src/sae",
    "methods/src/intervene",
    "methods/src/features",
    "methods/src/decomposition",
    "methods/src/circuit",
    "src/script/engine",
    "src/script/session",
    "src/script/docs",
    "src/script/tensor",
    "src/script/optim",
    "src/script/probes",
    "src/script/model",
    "src/script/features",
    "src/script/decomposition",
    "src/script/hooks",
    "src/script/intervene",
    "src/script/circuit",
    "src/script/language",
    "src/script/sae",
    "src/script/data",
    "src/script/plot",
    "src/script/library",
    "src/script/report",
    "src/report",
    "src/lib.rs",
    "src/main.rs",
    "src/pages.rs",
    "src/samples.rs",
    "src/explorer",
    "src/sweep",
    "src/repl",
    "src/mcp",
    "src/lsp",
    "src/serve",
    "src/cli",
];

/// Prepositions, pronouns, conjunctions and question words, which open no sentence that stands alone.
const OPENINGS: &str = "\
    above across after against although among and anything as at because before behind below beside between both but \
    by despite during everything for from he her here his how if in into it its like none nothing of on or our over \
    per she since so something such than that their then there these they this those through to under unless until \
    up we what whatever when where wherever which whichever while who whoever whom whose why with within without you \
    your";

/// Words that are pronouns where no noun follows.
const COUNTING: &str = "all another any each every few many most one other others same some";

/// Words after which those of [`COUNTING`] are pronouns.
const NO_NOUN: &str = "are for has have in is of that which who whose with";

/// Words in s that are nouns unless an object follows at once, as in "Numbers the groups".
const NOUNS: &str = "\
    activations arguments axes bits blocks bytes cells codes columns dimensions directions documents edges \
    features files folders gradients heads indices jobs keys kinds labels layers lines logits losses marks means \
    models names nodes numbers options pairs parts pieces places plans positions products prompts queries ranks \
    results rows scores settings shapes sites sizes steps sums tensors tests texts threads tokens units values \
    weights words";

/// Words that an object of a verb begins with.
const OBJECTS: &str = "\
    a all an another any at both each every how it its no one several some that the these this those two what where \
    whether which";

/// Words in s that are no verb of the third person that a sentence on a function may open with.
const NEVER: &str = "always does has is less perhaps plus thus was";

/// Verbs that open no sentence on a type.
const ACTIONS: &str = "\
    adds applies builds computes converts keeps makes reads receives refuses replaces resolves returns rotates sends \
    tells writes";

/// Verbs that a clause with "that" follows; after any other word in s, as in "Tokens that are read", it is a noun's.
const CLAUSES: &str = "asserts checks ensures proves says shows states tells tests";

/// A block of doc comments.
struct Comment {
    /// Number of its first line, from 1.
    line: usize,
    /// The first paragraph, on one line.
    first: String,
    /// All lines, on one.
    whole: String,
    /// Whether a function or method follows.
    is_of_function: bool,
    /// Whether a type, a constant or a module follows.
    is_of_type: bool,
}

/// Splits a line of a doc comment into its marker and its text; None for other lines.
fn documented(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let marker = ["///", "//!"].into_iter().find(|marker| line.starts_with(marker))?;
    let text = &line[marker.len()..];
    (!text.starts_with('/')).then(|| (marker, text.trim()))
}

/// Returns whether a line of a doc comment ends the paragraph before it.
fn is_block(line: &str) -> bool {
    let numbered = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
    line.is_empty() || numbered || ["- ", "* ", "```", "#", "|"].iter().any(|opening| line.starts_with(opening))
}

/// Returns the first line of code, attributes and plain comments left out.
fn item<'t>(lines: &[&'t str]) -> &'t str {
    let mut depth = 0;
    for line in lines.iter().map(|line| line.trim()) {
        if depth > 0 || line.starts_with("#[") {
            depth += line.matches('[').count();
            depth = depth.saturating_sub(line.matches(']').count());
        } else if !line.is_empty() && !line.starts_with("//") {
            return line;
        }
    }
    ""
}

/// Returns the word that says what an item is: `fn`, `struct`; of a field or a variant its name.
fn keyword(item: &str) -> &str {
    let mut words = item.split([' ', '<', ':', ';', '{']).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let is_open = words.peek().is_some_and(|next| ["fn", "unsafe", "async", "extern"].contains(next));
        match word {
            "async" | "default" | "extern" | "\"C\"" | "unsafe" => {}
            "const" if is_open => {}
            word if word.starts_with("pub") => {}
            word => return word,
        }
    }
    ""
}

/// Finds all doc comments of a source.
fn comments(source: &str) -> Vec<Comment> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some((marker, _)) = documented(lines[at]) else {
            at += 1;
            continue;
        };
        let of_block =
            |line: &&str| documented(line).filter(|(other, _)| *other == marker).map(|(_, text)| text.to_string());
        let texts: Vec<String> = lines[at..].iter().map_while(of_block).collect();
        let first: Vec<&str> = texts.iter().map(String::as_str).take_while(|line| !is_block(line)).collect();
        let item = if marker == "///" { item(&lines[at + texts.len()..]) } else { "" };
        let types = ["struct", "enum", "union", "trait", "type", "const", "static", "mod"];
        found.push(Comment {
            line: at + 1,
            first: first.join(" "),
            whole: texts.join(" "),
            is_of_function: keyword(item) == "fn",
            is_of_type: types.contains(&keyword(item)),
        });
        at += texts.len();
    }
    found
}

/// Returns whether a word is in a list whose words are separated by blanks.
fn among(list: &str, word: &str) -> bool {
    list.split(' ').any(|other| other == word)
}

/// Returns the letters that a text begins with.
fn opening(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphabetic() && c != '\'').unwrap_or(text.len());
    &text[..end]
}

/// Returns whether a text has a phrase as whole words.
fn has(text: &str, phrase: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(phrase)
        .any(|(start, _)| !text[..start].ends_with(is_letter) && !text[start + phrase.len()..].starts_with(is_letter))
}

/// Lists what is wrong with a comment; nothing if it follows the rules.
fn faults(comment: &Comment, replaced: &[(String, String)]) -> Vec<String> {
    let Comment { first, whole, is_of_function, is_of_type, .. } = comment;
    let word = opening(first).to_lowercase();
    let mut found = Vec::new();
    let next = opening(first[word.len()..].trim_start()).to_lowercase();
    let is_alone =
        among(COUNTING, &word) && (among(NO_NOUN, &next) || first[word.len()..].starts_with([',', '.', ';', ':']));
    if among(OPENINGS, &word) || is_alone || (word == "the" && next == "same") {
        found.push(format!("opens with `{}`", format!("{word} {next}").trim()));
    } else if *is_of_function && !is_verb(&word, &next, &first[word.len()..]) {
        found.push("a function's opens with a verb in the third person".to_string());
    } else if *is_of_type && (word == "whether" || among(ACTIONS, &word)) {
        found.push("a type's opens with a noun".to_string());
    }
    if !first.trim_end_matches([')', '"', '`']).ends_with(['.', ':', '!', '?']) {
        found.push("no full stop".to_string());
    }
    let whole = whole.to_lowercase();
    let old = replaced.iter().filter(|(old, _)| has(&whole, old));
    found.extend(old.map(|(old, new)| format!("`{old}`: {new}, says the glossary")));
    found
}

/// Returns whether the first word of a sentence is a verb in the third person, given the next word and the text after
/// the first.
fn is_verb(word: &str, next: &str, rest: &str) -> bool {
    let is_followed = among(OBJECTS, next) || rest.trim_start().starts_with(['[', '`', '"', '(']);
    match next {
        "of" => false,
        "that" => among(CLAUSES, word),
        _ => {
            word.ends_with('s') && !word.ends_with("'s") && !among(NEVER, word) && (is_followed || !among(NOUNS, word))
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads the words that the glossary has replaced, in double quotes in the second column of its table, and the
/// field's.
fn replaced() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let glossary = text.split("\n## ").find(|section| section.starts_with("Glossary")).expect("a section `Glossary`");
    let mut found = Vec::new();
    for row in glossary.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let old = cells[2].split('"').skip(1).step_by(2);
        found.extend(old.map(|old| (old.to_lowercase(), cells[1].to_string())));
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.is_file() {
        return found.push(folder.to_path_buf());
    }
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
        match entry.path() {
            path if path.is_dir() => sources(&path, found),
            path if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            _ => {}
        }
    }
}

/// Lists `file:line: what is wrong: text` for all comments of these folders that break the rules, and counts comments.
fn listed(rooms: &[&str]) -> (Vec<String>, usize) {
    let replaced = replaced();
    let mut all = Vec::new();
    let mut found = Vec::new();
    let mut count = 0;
    rooms.iter().for_each(|room| sources(&root().join(room), &mut all));
    all.sort();
    for path in all {
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        for comment in comments(&std::fs::read_to_string(&path).unwrap()) {
            count += 1;
            let faults = faults(&comment, &replaced);
            if !faults.is_empty() {
                found.push(format!("{file}:{}: {}: {}", comment.line, faults.join(", "), comment.first));
            }
        }
    }
    (found, count)
}

#[test]
fn sentences_of_finished_rooms_stand_alone_in_the_words_of_the_field() {
    let (found, count) = listed(DONE);
    assert!(count > 2000, "{count} comments");
    assert!(found.is_empty(), "{} of {count} doc comments break the rules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn each_rule_can_be_broken() {
    let broken = |source: &str| {
        let replaced = [("the processor".to_string(), "CPU".to_string())];
        comments(source).iter().flat_map(|comment| faults(comment, &replaced)).collect::<Vec<_>>()
    };
    let fine = "//! Attention of a model.\n\n/// Number of edges.\nedges: usize,\n/// Whether the bias is used.\n\
        bias: bool,\n/// 1 / x.\nRecip,\n/// Numbers the groups,\n/// from 0.\n#[inline]\npub(super) fn groups() {}\n\
        /// Tells that it is done: `a`.\n///\n/// # Example\nconst fn done() {}\n/// Lists:\n/// - one\nasync fn list() {}\n\
        //// no doc comment\n/// Calls `put`.\nunsafe extern \"C\" fn call() {}\n/// One token.\nstruct Token;";
    assert_eq!((broken(fine), comments(fine).len()), (Vec::<String>::new(), 9));
    let function = "a function's opens with a verb in the third person";
    for (source, fault) in [
        ("/// Of a column.\nfield: u8,", "opens with `of a`"),
        ("//! What is kept.", "opens with `what is`"),
        ("/// One that is kept.\nKept,", "opens with `one that`"),
        ("/// All, in order.\nKept,", "opens with `all`"),
        ("/// The same, sorted.\nfn sorted() {}", "opens with `the same`"),
        ("/// The rows.\nfn rows() {}", function),
        ("/// Rows in order.\npub const fn rows() {}", function),
        ("/// Sums of rows.\nfn sums() {}", function),
        ("/// Jumps that were taken.\nfn jumps() {}", function),
        ("/// Is it done.\nfn done() {}", function),
        ("/// `x` squared.\nfn square() {}", function),
        ("/// Whether it is done.\n#[derive(\n    Debug,\n)]\nenum Done {}", "a type's opens with a noun"),
        ("/// Writes rows.\npub struct Rows;", "a type's opens with a noun"),
        ("/// Number of edges\nedges: usize,", "no full stop"),
        ("/// Work.\n///\n/// On the processor.\nwork: u8,", "`the processor`: CPU, says the glossary"),
    ] {
        assert_eq!(broken(source), [fault], "{source}");
    }
}

#[test]
fn the_glossary_is_read() {
    let replaced = replaced();
    assert!(replaced.len() > 15, "{replaced:?}");
    assert!(replaced.iter().any(|(old, new)| old == "the processor" && new.starts_with("CPU")), "{replaced:?}");
}
