//! The reference: everything public is documented, every example has the value that it states, options match the code,
//! numbers are accepted as `1` and as `1.0`, and the committed page is up to date. The pages written by hand: no broken
//! links, the functions that they name exist, and the README is short.

use crate::support;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use microtome::script::Session;
use microtome::script::docs::reference;
use microtome::script::docs::stdlib::stdlib_path;
use microtome::script::docs::{Docs, ReferenceEntry, Role};

fn docs() -> Docs {
    support::on_large_stack(|| (*support::docs()).clone())
}

/// The example with the imports of stdlib modules that it needs.
fn example(entry: &ReferenceEntry) -> String {
    match stdlib_path(&entry.module) {
        Some(path) => format!("import \"{path}\" as {};\n{}", entry.module, entry.doc.example),
        None => entry.doc.example.clone(),
    }
}

#[test]
fn everything_public_is_documented_and_has_an_example() {
    let mut missing = Vec::new();
    for entry in docs().own() {
        if entry.doc.summary.is_empty() {
            missing.push(format!("{} has no summary", entry.path()));
        } else if !entry.doc.summary.ends_with(['.', ':']) {
            missing.push(format!("{}: the summary is no sentence: {}", entry.path(), entry.doc.summary));
        }
        if entry.doc.example.is_empty() && entry.role != Role::Operator {
            missing.push(format!("{} has no example", entry.path()));
        }
        let takes_options = entry.overloads.iter().any(|o| o.parameters.iter().any(|(_, kind)| kind == "options"));
        if takes_options == entry.doc.options.is_empty() {
            missing.push(format!("{}: options taken: {takes_options}, but not so documented", entry.path()));
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// A backslash before punctuation is markup, or an escape of a string that slipped into a sentence; none is needed in ours.
#[test]
fn sentences_have_no_backslashes_of_markdown() {
    let escapes = |text: &str| {
        let prose: String = text.split('`').step_by(2).collect();
        prose.split('\\').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_punctuation()))
    };
    let mut found = Vec::new();
    for entry in docs().own() {
        let meanings = entry.doc.options.iter().map(|option| &option.meaning);
        let texts = [&entry.doc.summary, &entry.doc.body].into_iter().chain(meanings);
        found.extend(texts.filter(|text| escapes(text)).map(|text| format!("{}: {text}", entry.path())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Tables have the columns `low` and `high` for the ends of an interval; `from` and `to` are those of bins and of edges.
#[test]
fn the_ends_of_intervals_are_called_low_and_high() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["core/src", "methods/src", "src", "scripts", "stdlib"].map(|name| root.join(name)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "rhai") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter(|line| line.contains("\"from\", \"to\""));
                let others =
                    lines.filter(|line| !["\"mean probability\"", "\"cosine\"]"].iter().any(|of| line.contains(of)));
                found.extend(others.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_example_comes_to_its_value() {
    let docs = docs();
    let complaints = support::on_large_stack(move || {
        let mut complaints = Vec::new();
        let mut run = 0;
        for entry in docs.own().filter(|e| !e.doc.example.is_empty()) {
            let (_folder, mut session) = support::alone();
            complaints.extend(support::run_stated(&mut session, &entry.path(), &example(entry)));
            run += 1;
        }
        assert!(run > 15, "only {run} examples were run");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every integer literal of every example's own calls, written as a float: the values stay the same.
#[test]
fn one_and_one_point_zero_are_alike() {
    let docs = docs();
    let complaints = support::on_large_stack(move || {
        let mut complaints = Vec::new();
        let mut tried = 0;
        for entry in docs.own().filter(|e| !e.doc.example.is_empty() && !e.scripted) {
            let example = example(entry);
            let places = numeric_arguments(&example, entry);
            tried += places.len();
            let complaints_of = |places: &[usize]| {
                let mut written = example.clone();
                places.iter().rev().for_each(|at| written.insert_str(*at, ".0"));
                let folder = tempfile::tempdir().unwrap();
                let name = format!("{} with floats at {places:?}", entry.path());
                support::run_stated(&mut support::session(folder.path()), &name, &written)
            };
            // All at once is the same as one after the other, but for what is a number of another kind without any integer.
            if !places.is_empty() && !complaints_of(&places).is_empty() {
                complaints.extend(places.iter().flat_map(|at| complaints_of(&[*at])));
            }
        }
        assert!(tried > 0, "no numeric argument was found");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The byte offsets of the ends of integer literals that are numeric arguments of the entry's own calls.
fn numeric_arguments(example: &str, entry: &ReferenceEntry) -> Vec<usize> {
    let found = literal_arguments(example, entry).into_iter();
    found.filter(|(parameter, _)| takes_number(entry, *parameter)).map(|(_, end)| end).collect()
}

/// Integer literals in the calls of the entry in its example: the parameter of each, and the offset of its end.
fn literal_arguments(example: &str, entry: &ReferenceEntry) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in example.split_inclusive('\n') {
        let code = line.split("//=>").next().unwrap_or(line);
        let plain = entry.path() + "(";
        let dotted = format!(".{}(", entry.name);
        if let (Role::Function, Some(at)) = (entry.role, code.find(&plain).filter(|at| !code[..*at].ends_with('.'))) {
            let inside = at + plain.len();
            found.extend(literals(&code[inside..]).into_iter().map(|(i, end)| (i, start + inside + end)));
        } else if let Some(at) = code.find(&dotted) {
            // A function that is called like a method takes the receiver as its first argument.
            let shift = usize::from(entry.role == Role::Function);
            let receiver = code[..at].rsplit(|c: char| !(c.is_alphanumeric() || c == '.')).next().unwrap_or_default();
            if shift == 1 && !receiver.is_empty() && receiver.bytes().all(|b| b.is_ascii_digit()) {
                found.push((0, start + at));
            }
            let inside = at + dotted.len();
            found.extend(literals(&code[inside..]).into_iter().map(|(i, end)| (i + shift, start + inside + end)));
        }
        start += line.len();
    }
    found
}

/// Whether the parameter is a number; one of any type may pass it on unconverted.
fn takes_number(entry: &ReferenceEntry, argument: usize) -> bool {
    entry.overloads.iter().filter_map(|o| o.parameters.get(argument)).any(|(_, kind)| kind != "any" && kind != "array")
}

/// Integer literals up to the bracket that closes the call: the argument of each, and the offset of its end. Ranges and
/// strings are skipped.
fn literals(arguments: &str) -> Vec<(usize, usize)> {
    let bytes = arguments.as_bytes();
    let mut depth = 1;
    let mut argument = 0;
    let mut at = 0;
    let mut ends = Vec::new();
    while at < bytes.len() && depth > 0 {
        match bytes[at] {
            b'"' | b'`' => {
                let quote = bytes[at];
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += 1;
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 1 => argument += 1,
            b'0'..=b'9' => {
                let begin = at;
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || bytes[at] == b'.')
                {
                    at += 1;
                }
                let word = begin > 0
                    && (bytes[begin - 1].is_ascii_alphabetic() || bytes[begin - 1] == b'_' || bytes[begin - 1] == b'.');
                let text = &arguments[begin..at];
                if !word && text.bytes().all(|b| b.is_ascii_digit()) {
                    ends.push((argument, at));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    ends
}

/// Each function that takes options is called with one that does not exist: the error lists, or comes near to, exactly
/// the documented ones.
#[test]
fn documented_options_are_the_options_taken() {
    let docs = docs();
    let complaints = support::on_large_stack(move || {
        let mut complaints = Vec::new();
        for entry in docs.own().filter(|e| !e.doc.options.is_empty() && !e.scripted) {
            let (_folder, mut session) = support::alone();
            let mut prepared = false;
            for option in &entry.doc.options {
                // The error for a misspelled option must suggest the option itself.
                let misspelt = format!("{}_", option.key);
                let Some((before, call)) = with_option(entry, &misspelt, 0) else {
                    complaints.push(format!("{}: no call in its example to add an option to", entry.path()));
                    break;
                };
                if !prepared {
                    if let Err(failure) = session.eval("before", &before) {
                        panic!("{}: {}", entry.path(), failure.message);
                    }
                    prepared = true;
                }
                let answer = answer(&mut session, &call);
                let wanted = format!("unknown option `{misspelt}` did you mean `{}`?", option.key);
                if answer != wanted && !is_of_another_form(entry, &misspelt, &wanted) {
                    complaints.push(format!("{}: expected `{wanted}`, found `{answer}` for\n{call}", entry.path()));
                }
            }
        }
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Whether a later call in the example, which may be of another form of the function, gives this answer.
fn is_of_another_form(entry: &ReferenceEntry, key: &str, wanted: &str) -> bool {
    let calls = (1..).map_while(|nth| with_option(entry, key, nth));
    calls.into_iter().any(|(before, call)| {
        let (_folder, mut session) = support::alone();
        support::run_stated(&mut session, "before", &before).is_empty() && answer(&mut session, &call) == wanted
    })
}

fn answer(session: &mut Session, code: &str) -> String {
    match session.eval("options", code) {
        Ok(_) => "no error".into(),
        Err(failure) => format!("{} {}", failure.message, failure.hint.unwrap_or_default()),
    }
}

/// The code before a call of the entry in its example, and that call with `#{ key: 0 }` as the options.
fn with_option(entry: &ReferenceEntry, key: &str, nth: usize) -> Option<(String, String)> {
    let call = if entry.receiver.is_empty() { format!("{}(", entry.path()) } else { format!(".{}(", entry.name) };
    let text = example(entry);
    let at = text.match_indices(&call).nth(nth)?.0 + call.len();
    let close = at + closing(&text[at..])?;
    let mut arguments = split(&text[at..close]);
    let places = || entry.overloads.iter().filter_map(|o| o.parameters.iter().position(|(_, kind)| kind == "options"));
    // Of several overloads, the one that the example calls.
    let given = arguments.iter().filter(|argument| !argument.trim_start().starts_with("#{")).count();
    let wanted = places().find(|place| *place == given).or_else(|| places().next())?;
    arguments.truncate(wanted);
    arguments.push(format!("#{{ {key}: 0 }}"));
    // A call within a block is moved out of it.
    let before = &text[..at];
    let open = before.matches('{').count() > before.matches('}').count();
    let before = if open && entry.receiver.is_empty() { call.as_str() } else { before };
    let code = format!("{before}{})", arguments.join(", "));
    let start = last_statement(&code[..before.len()]);
    Some((code[..start].to_string(), code[start..].to_string()))
}

/// The offset of the last statement: after the last line that ends outside of all brackets.
fn last_statement(code: &str) -> usize {
    let depth = |text: &str| {
        let count = |brackets: &str| text.chars().filter(|c| brackets.contains(*c)).count();
        count("([{") as isize - count(")]}") as isize
    };
    let mut ends = code.match_indices('\n').map(|(at, _)| at + 1);
    ends.rfind(|end| depth(&code[..*end]) == 0).unwrap_or(0)
}

/// Splits arguments at the commas outside of all brackets and strings.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut quoted = false;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().map(|part| part.trim().to_string()).collect()
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn the_committed_reference_is_fresh() {
    let fresh = reference::markdown(&docs(), &microtome::repl::commands::summaries());
    let anew = "write it anew with `cargo run -- doc --markdown docs/reference`";
    for (name, fresh) in &fresh {
        let page = std::fs::read_to_string(reference_folder().join(name)).unwrap_or_default();
        let first = page.lines().zip(fresh.lines()).find(|(old, new)| old != new);
        assert!(page == *fresh, "docs/reference/{name} is stale; {anew}: {first:?}");
    }
    let known: Vec<_> = fresh.iter().map(|(name, _)| reference_folder().join(name)).collect();
    let pages = ["docs/reference", "docs/reference/types"].into_iter().flat_map(|folder| support::files(folder, "md"));
    let stray: Vec<_> = pages.filter(|file| !known.contains(file)).collect();
    assert!(stray.is_empty(), "{stray:?} are of no use any more; remove them");
}

fn reference_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference")
}

#[test]
fn definition_files_know_every_function() {
    let text = support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let session = support::session(folder.path());
        reference::definitions(session.engine()).into_iter().map(|(_, content)| content).collect::<String>()
    });
    for entry in docs().own().filter(|e| !e.scripted && matches!(e.role, Role::Function | Role::Method)) {
        assert!(text.contains(&format!("fn {}(", entry.name)), "{} is missing", entry.path());
    }
    assert!(!text.contains("Fallible"));
}

/// Numeric parameters without a literal in the example, which the test above would not try.
#[test]
fn every_numeric_parameter_stands_in_its_example() {
    let mut missing = Vec::new();
    for entry in docs().own().filter(|e| !e.scripted && matches!(e.role, Role::Function | Role::Method)) {
        let reached = literal_arguments(&entry.doc.example, entry);
        for overload in &entry.overloads {
            for (at, (name, kind)) in overload.parameters.iter().enumerate() {
                if matches!(kind.as_str(), "number" | "integer" | "integers")
                    && !reached.iter().any(|(parameter, _)| *parameter == at)
                {
                    missing.push(format!("{}: {name}", entry.path()));
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The pages written by hand, the README first, by their paths from the root of the repository.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = support::files("docs", "md");
    let all = ["README.md", "ARCHITECTURE.md"].iter().map(|name| root.join(name)).chain(docs);
    all.map(|path| {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        (name, std::fs::read_to_string(root.join(&path)).unwrap())
    })
    .collect()
}

/// The anchors of the headings of a page: lower-case letters and digits, with `-` for each space.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|h| h.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (name, text) in pages() {
        let folder = root.join(&name).parent().unwrap().to_path_buf();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root.join(&name) } else { folder.join(file) };
            let found = match anchor {
                "" => path.exists(),
                _ => anchors(&std::fs::read_to_string(&path).unwrap_or_default()).iter().any(|known| known == anchor),
            };
            if !found {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn functions_that_the_pages_name_exist() {
    let docs = docs();
    let known: BTreeSet<String> = docs.own().map(ReferenceEntry::path).collect();
    let modules: BTreeSet<&str> = docs.own().map(|entry| entry.module.as_str()).filter(|m| !m.is_empty()).collect();
    let methods: BTreeSet<&str> = docs.entries().iter().map(|entry| entry.name.as_str()).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut unknown = Vec::new();
    // The architecture page is about Rust.
    for (name, text) in pages().into_iter().filter(|(name, _)| name != "ARCHITECTURE.md") {
        for (at, _) in text.match_indices("::") {
            let module = text[..at].rsplit(|c| !is_name(c)).next().unwrap_or_default();
            let function = text[at + 2..].split(|c| !is_name(c)).next().unwrap_or_default();
            let path = format!("{module}::{function}");
            if modules.contains(module) && !known.contains(&path) {
                unknown.push(format!("{name}: {path}"));
            }
        }
        for line in ours(&text).lines().filter(|line| line.starts_with("    ")) {
            let code = line.split("//").next().unwrap_or(line);
            for (at, _) in code.match_indices('.') {
                let method = code[at + 1..].split(|c| !is_name(c)).next().unwrap_or_default();
                if code[at + 1 + method.len()..].starts_with('(') && !methods.contains(method) {
                    unknown.push(format!("{name}: .{method}(..)"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "\n{}", unknown.join("\n"));
}

/// The page without what is written in Python.
fn ours(page: &str) -> String {
    let python = |piece: &str| piece.split_once("```").map_or(String::new(), |(_, rest)| rest.to_string());
    let mut pieces = page.split("```python");
    let first = pieces.next().unwrap_or_default().to_string();
    first + pieces.map(python).collect::<String>().as_str()
}

/// The executable code of a page: each session at the prompt, an indented block after `$ microtome`, and each block
/// fenced as plain `rhai`, whose comments may state values. The lines of a session are evaluated one by one; commands and
/// questions are left out.
fn runs(page: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut in_session = false;
    let mut in_fence = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_fence = !in_fence && line == "```rhai";
            if in_fence {
                found.push(vec![String::new()]);
            }
        } else if in_fence && let Some(code) = found.last_mut().and_then(|run| run.last_mut()) {
            code.push_str(line);
            code.push('\n');
        } else if line == "    $ microtome" {
            in_session = true;
            found.push(Vec::new());
        } else if let (true, Some(typed)) = (in_session, line.strip_prefix("    > ")) {
            if !typed.starts_with(['?', ':']) {
                found.last_mut().unwrap().push(typed.into());
            }
        } else {
            in_session = false;
        }
    }
    found
}

#[test]
fn code_of_the_pages_runs() {
    let complaints = support::on_large_stack(|| {
        let mut complaints = Vec::new();
        let mut run = 0;
        // The README is typed in a test of its own (`guide`).
        for (name, text) in pages().into_iter().filter(|(name, _)| name != "README.md") {
            for pieces in runs(&text) {
                let (_folder, mut session) = support::alone();
                for piece in pieces {
                    complaints.extend(support::run_stated(&mut session, &name, &piece));
                }
                run += 1;
            }
        }
        assert!(run > 1, "only {run} pieces of code were run");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let (_, readme) = pages().swap_remove(0);
    let lines = readme.lines().count();
    assert!(lines <= 170, "README.md has {lines} lines; what is beyond 170 belongs to a page in docs/");
}

/// The experiment of the README is the script, and it has at most twelve statements.
#[test]
fn the_readme_shows_the_experiment_whole() {
    let (_, readme) = pages().swap_remove(0);
    let shown = readme.split("```rhai\n").nth(1).and_then(|rest| rest.split_once("```")).unwrap().0;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/parenthesis_circuit.rhai");
    let script = std::fs::read_to_string(script).unwrap();
    let code: String = script.lines().filter(|line| !line.starts_with("//")).map(|line| format!("{line}\n")).collect();
    assert_eq!(shown, code);
    assert!(code.lines().filter(|line| line.ends_with(';')).count() <= 12);
}
