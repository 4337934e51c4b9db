//! The suggestions of errors. Each text in the sources with a piece of script between backticks is an error's hint that
//! `tests/suite/hints.rhai` states, followed by lines that run the pieces as they are printed, or is excused here with a reason.

use std::collections::BTreeSet;
use std::path::Path;

use walkdir::WalkDir;

/// A text in the sources that has a piece of code between backticks.
struct HintText {
    place: String,
    text: String,
}

/// The texts between double quotes in Rust sources, comments and unit tests left out.
fn texts() -> Vec<HintText> {
    texts_where(is_code)
}

/// The texts with a piece of this kind.
fn texts_where(kind: impl Fn(&str) -> bool) -> Vec<HintText> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "core/src", "methods/src", "kernels/src"] {
        for entry in WalkDir::new(root.join(folder)).sort_by_file_name().into_iter().flatten() {
            let name = entry.path().strip_prefix(root).unwrap().display().to_string();
            if name.ends_with(".rs") && !name.ends_with("/tests.rs") && !name.contains("/tests/") {
                let source = std::fs::read_to_string(entry.path()).unwrap();
                let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let texts = literals(source).into_iter().filter(|text| pieces(text).into_iter().any(&kind));
                found.extend(texts.map(|text| HintText { place: name.clone(), text }));
            }
        }
    }
    found
}

/// The texts between double quotes in a source, as they are at run time but for their placeholders.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let raw = |hashes: &str| rest.strip_prefix(&format!("r{hashes}\""))?.split_once(&format!("\"{hashes}"));
        let inside = raw("##").or_else(|| raw("#"));
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some((text, after)) = inside {
            found.push(text.into());
            rest = after;
        } else if first == '"' {
            let end = closing_quote(&rest[1..]);
            found.push(unescaped(&rest[1..=end]));
            rest = &rest[end + 2..];
        } else if let Some(letter) = character(rest) {
            rest = &rest[letter..];
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// The length of the character `'x'` that stands at the beginning, if one does.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let escaped = inside.strip_prefix('\\').map(|inside| 2 + inside.find('\'').unwrap_or(0).max(1));
    let length = escaped.or_else(|| inside.chars().next().map(|letter| 1 + letter.len_utf8()))?;
    rest[length..].starts_with('\'').then_some(length + 1)
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at)
}

fn unescaped(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_string();
    let whole = lines.fold(first, |whole, line| whole + line.trim_start());
    whole.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}

/// What stands between backticks, single ones or, around backticks, double ones.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (mark, close) = if rest[at..].starts_with("`` ") { ("`` ", " ``") } else { ("`", "`") };
        let Some((inside, after)) = rest[at + mark.len()..].split_once(close) else { return found };
        found.push(inside);
        rest = after;
    }
    found
}

/// Whether a piece is more than a name: a call, an index, an operator.
fn is_code(piece: &str) -> bool {
    let filled = without_placeholders(piece).concat();
    let is_command = ["microtome", "--", "sbatch", "squeue", "nvidia-smi", "llama-gguf-split", ":"];
    !is_command.iter().any(|command| piece.starts_with(command))
        && filled.contains(|c: char| !(c.is_alphanumeric() || "_./:@~*-".contains(c)))
}

/// A text between its placeholders: `{name}` may be anything, `{{` is a brace.
fn without_placeholders(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let part = parts.last_mut().unwrap();
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            part.push(first);
            rest = after;
        } else if let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
            && !inside.contains([' ', '{'])
        {
            parts.push(String::new());
            rest = after;
        } else {
            part.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    parts
}

/// Whether the parts stand in a text one after the other.
fn has(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// A hint that the suite states, and the lines behind it in its section.
struct StatedHint {
    place: String,
    hint: String,
    after: String,
}

fn stated() -> Vec<StatedHint> {
    let mut found = Vec::new();
    let text = include_str!("suite/hints.rhai");
    for section in text.split("\n// == ") {
        for (at, line) in section.lines().enumerate() {
            let Some(hint) = line.strip_prefix("// Hint: ") else { continue };
            let code = |line: &str| line.split("  //").next().unwrap_or_default().to_string();
            let after: Vec<String> =
                section.lines().skip(at + 1).filter(|line| !line.starts_with("//")).map(code).collect();
            let name = section.lines().next().unwrap_or_default();
            found.push(StatedHint { place: name.into(), hint: hint.into(), after: dense(&after.join("\n")) });
        }
    }
    found
}

/// Without white space, which code may have as it likes.
fn dense(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn every_suggestion_of_an_error_is_stated_or_excused() {
    let texts = texts();
    let stated = stated();
    assert!(texts.len() > 150, "only {} texts with code", texts.len());
    let is_stated = |text: &HintText| {
        let parts = without_placeholders(&text.text);
        stated.iter().any(|one| has(&one.hint, &parts))
    };
    let excused: BTreeSet<&str> = EXCUSED.iter().flat_map(|(texts, _)| texts.iter().copied()).collect();
    let is_excused = |text: &HintText| excused.contains(text.text.as_str()) || is_no_hint(text);
    let missing: Vec<String> = texts
        .iter()
        .filter(|text| !is_stated(text) && !is_excused(text))
        .map(|text| format!("{}: {:?}", text.place, text.text))
        .collect();
    assert!(missing.is_empty(), "{} suggestions are run nowhere:\n{}", missing.len(), missing.join("\n"));
    let stale: Vec<&&str> = excused.iter().filter(|known| !texts.iter().any(|text| text.text == **known)).collect();
    assert!(stale.is_empty(), "excused, and nowhere in the sources: {stale:?}");
}

#[test]
fn every_suggestion_that_is_stated_is_run_as_it_is_printed() {
    let mut complaints = Vec::new();
    let mut count = 0;
    for one in stated() {
        for piece in pieces(&one.hint)
            .into_iter()
            .filter(|piece| is_code(piece) && !SIGNATURES.iter().any(|s| piece.contains(s)))
        {
            count += 1;
            // Two points stand for what the reader fills in.
            let parts: Vec<String> = dense(piece).split("..").map(String::from).collect();
            if !has(&one.after, &[dense(piece)]) && !has(&one.after, &parts) {
                complaints.push(format!("{}: `{piece}` is run nowhere behind the hint", one.place));
            }
        }
    }
    assert!(count > 150, "only {count} suggestions");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The functions of modules that the reference has: `sae::fit`.
fn functions_of_the_reference() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let pages = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut found = BTreeSet::new();
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        let headings = text.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'));
        found.extend(headings.map(String::from));
    }
    found
}

/// Whether a piece begins with the name of a function in a module, and that name.
fn named_function(piece: &str) -> Option<&str> {
    let is_part_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    let name = &piece[..piece.find(|c| !is_part_of_name(c)).unwrap_or(piece.len())];
    let (module, function) = name.split_once("::")?;
    let after = &piece[name.len()..];
    let is_whole = !module.is_empty() && !function.is_empty() && (after.is_empty() || after.starts_with('('));
    is_whole.then_some(name)
}

/// A hint that names no more than a function has no piece to run; the function has to be there.
#[test]
fn every_function_that_a_text_names_is_in_the_reference() {
    let known = functions_of_the_reference();
    let texts = texts_where(|piece| named_function(piece).is_some());
    let mut count = 0;
    let mut unknown = Vec::new();
    for text in &texts {
        for name in pieces(&text.text).into_iter().filter_map(named_function) {
            count += 1;
            if !known.contains(name) {
                unknown.push(format!("{}: `{name}`", text.place));
            }
        }
    }
    assert!(known.len() > 300 && count > 60, "{} functions, named {count} times", known.len());
    assert!(unknown.is_empty(), "no function of the reference:\n{}", unknown.join("\n"));
    assert_eq!(named_function("sae::fit(..)"), Some("sae::fit"));
    assert_eq!(named_function("sae::"), None);
    assert_eq!(named_function("m.cache"), None);
}

/// In pieces that cannot be run as they are printed: signatures, which the reference is the test of, names that stand for
/// something of the reader's, a model of the hub, a list of operators, and a method of a graph, which takes long to find.
const SIGNATURES: [&str; 8] =
    [": ", " -> ", "::function(..)", "\"path\"", "\"org/name\"", "\"release/id\"", "+ - * /", "save(\"x.json\")"];

/// Texts that suggest nothing to write in a script: messages, pages, templates, and what programs are told.
fn is_no_hint(text: &HintText) -> bool {
    let pages = [
        "src/script/docs/",
        "src/explorer/",
        "src/repl/",
        "src/report/dashboard/single_page.rs",
        "methods/src/circuit/compiled/",
        "src/script/library/skeleton.rs",
    ];
    pages.iter().any(|page| text.place.starts_with(page)) || text.text.starts_with("expected ")
}

/// Suggestions that no line of the suite runs, with the reason.
const EXCUSED: &[(&[&str], &str)] = &[
    (
        &["the script that imports it has one: pass it as an argument, `|f, x| f.call(x)` with `{name}`"],
        "it needs a script and a library: tests/libraries.rs takes what it says",
    ),
    (
        &["the classes can be separated, or touch, so that no weights are the best with `l2: 0`"],
        "it is the message, whose hint names another `l2`; tests/suite/probes.rhai runs both",
    ),
    (
        &["the labelled language, `data::text(\"grammar\", #{ part: \"held\" })`"],
        "it is the default of an option in the reference",
    ),
    (
        &[
            "`sae::transcoders(\"{text}\")` loads all of them",
            "`sae::transcoders(\"{}\")` reads it as a whole",
            "`sae::transcoders(\"{whole}\")` reads them where they are",
            "`sae::load(\"{wanted}\").feature({feature})`",
        ],
        "what they load is on the hub; the names are resolved in the unit tests of the table",
    ),
    (
        &[
            "{}.\n\nBegin with this script (tool `run`), look at what it says, and go on from there.\n\n```rhai\n{script}```\n\n{}\n",
            "microtome takes language models apart: models with named sites and hooks, sparse autoencoders, circuits, statistics, \
             charts. Scripts are Rhai. `run` evaluates one in a session that persists; end it with an expression to see its value. \
             Look names up with `help` before guessing, and `check` a long script before running it. \
             `model::load(\"tiny\")` is a small model that is always there. \
             State a control, held-out text, an interval or n, and the seed beside every number that you report: \
             the resource microtome://skill says how.",
        ],
        "what agents are told before they ask; the scripts are checked beside them",
    ),
    (
        &[
            "a token that marks the beginning of the text is enough: `m.tokens(text, #{ bos: true })`",
            "a sentence ends with `.`, `?` or `!` before a space or the end of a line, or at a blank line; one of less than ten \
             characters is a part of the next",
        ],
        "they say what a text needs to have, and the call beside them is in the guide to tokens",
    ),
    (
        &[
            "`d.importances(x)` and `d.table(x)` are for networks",
            "`d.save(path)` writes one",
            "`d.contexts(model, text, name, part)` and `d.card(..)` read what a language model's parts do",
        ],
        "each names calls of a decomposition, whose examples run them",
    ),
    (
        &[
            "a vector is no matrix: it may be what you want already, as with `tensor::cosine(a, b)`, which compares row by row; \
             `t.diag_embed()` is the matrix with it as its diagonal",
        ],
        "tests/suite/tensors.rhai states it with the calls",
    ),
    (
        &[
            "a plan ends in `#{ model: \"tiny\", text: \"sample\", sites: \"resid_post.*\", .. }`",
            "`text: \"sample\"`, a file, or a map of `source` and the options of `data::text`",
            "add `name = \"heads\"`",
            "add `version = \"0.1.0\"`",
            "give it `version = \"0.1\"`, `path = \"../folder\"`, or `address` and `hash`",
            "`version = \"0.1\"` is 0.1.0 and all newer ones that are compatible",
            "publish `{name}` first, and write `{name} = {{ version = \"0.1\" }}`",
            "check the place; the {HEAD} of a new index says `format = {FORMAT}`",
            "its {manifest} would have to say `{verb} = [\"{wish}\"]` under [touches], and `microtome add` to grant it",
            "`import \"{}\"` is its main module, {MAIN}.rhai",
            "take a closure in place of a text: `|x| x + 1`",
            "write a closure that calls the other function: `|t, path| t.save(path)`",
            "choose another: `as my_{name}`",
            "type `microtome --fresh run {file}`; an argument of the script of that name is given as `{file} -- --fresh`",
            "let its script save what it fits, `s.save(\"NAME\")`, or name a dictionary with --dictionary",
            "a test is a function `test_..` without parameters, or a line that ends in `//=> value`",
        ],
        "they are written into other files than scripts",
    ),
    (
        &["an empty map is `#{}`"],
        "`microtome check` says it, which tests/cli/check.trycmd states, and a run cannot tell it from a block",
    ),
    (
        &[
            "in PyTorch save `model.state_dict()` with torch.save",
            "a table is a list of rows, or a row a line, with numbers, texts, true, false or null in it: \
             `df.to_json(path, orient=\"records\")` writes one",
            "tensors are f16 bf16 f32 f64, i16 i32 i64, u8 and bool; convert it in PyTorch with `.to()`",
            "only tensors, dictionaries, lists, texts and numbers are read, and nothing is called; in PyTorch save `model.state_dict()`",
            "in PyTorch save `model.state_dict()`",
            "in PyTorch save `model.state_dict()` alone",
            "this tensor repeats its elements; in PyTorch save it after `.contiguous()`",
            "SAELens saves a finished one as `jumprelu`: `sae.save_inference_model(path)`",
        ],
        "they are written in Python",
    ),
    (
        &[
            "choose a name for it: `#{ to: \"name\" }`",
            "read fewer texts or rows at a time, or a shorter context; `dtype: \"bf16\"` takes half",
            "`{key}: {value}` changes the mathematics in a way that is not known here",
        ],
        "they need a network, a GPU, or a file that is damaged",
    ),
    (
        &[
            "`data::toy(\"synth\", #{ codes: true })` has the codes of all features, too",
            "`sae::crosscoder([base, tuned], site, text)` fits one",
            "features are selected from those before the target: `sae::fit_all(m, \"resid_post.*\", text)`",
            "a tree goes from one place to another: `sae::fit_all(m, \"resid_post.*\", text)` fits one for each",
            "`sae::fit_all(m, \"resid_post.*\", text)` fits one for each layer",
        ],
        "they run for minutes as they are printed, and the reference runs them with fewer steps or rows",
    ),
    (
        &[
            "give {same} to resume, another `dir`, or `fresh: true` to begin again",
            "`unit: \"own\"` counts in multiples of a feature's maximum",
            "read it with `labels: true`, or leave `label` out: tokens are then classified by their text",
        ],
        "they are options of the call that failed, whose words the reference has",
    ),
    (
        &["`s.feature(12)` is a feature of a dictionary", "as in \"resid_post.3/12\", or `s.feature(12)`"],
        "they are run behind another hint with the same piece",
    ),
    (
        &[
            "give that one after `--`, as in `-- --table VALUE`; a table of the script is saved by `t.save(\"t.arrow\")`",
            "name a variable of the script, as in `let runs = table(rows);`",
            "no variable at its top level has a table; `table(rows)` makes one of a list of maps",
        ],
        "they are about a script as a whole, run with `--table`; tests/suite/tables.rhai makes and saves tables by these calls",
    ),
    (
        &["read it where it was written, and write it again: `pyarrow.feather.write_feather(table, path)`"],
        "it is Python, and pandas writes by it in tests/tables.rs",
    ),
];
