//! Tests of scripts and libraries: functions `test_..`, examples of doc comments, and lines that state their value. Each
//! runs in a session of its own.

use super::stated_results::{self, FailedStatement};
use crate::common::*;
use crate::script::Session;
use crate::script::engine::drawing;
use crate::script::engine::failure::Failure;
use crate::script::library::manifest::Manifest;
use crate::script::library::{MAIN, project};

/// The beginning of the name of a function that is a test.
const PREFIX: &str = "test_";

/// The line that begins a section of a file of stated values, which has a session of its own.
const SECTION: &str = "// == ";

/// Largest depth of folders.
const DEEPEST: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
enum TestBody {
    Function(String),
    /// Code with statements, every other line of its file left empty, and the imports that it needs.
    Stated {
        import: String,
        code: String,
    },
    /// A file that cannot be read as a script; running it says why.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCase {
    pub file: String,
    pub name: String,
    text: String,
    job: TestBody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// An error, or another value than stated.
    Failed,
    /// A `run::check` that found something untrue.
    Unchecked,
    Interrupted,
}

/// The outcome of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    pub verdict: Verdict,
    /// Drawing of what went wrong, under its line.
    pub drawn: String,
    pub printed: String,
    /// SHA-256 of the files that it wrote, by path from the output folder.
    pub written: BTreeMap<String, String>,
}

/// Lists the scripts in a folder and those below, or the one file, sorted. What is hidden, and output folders, are left
/// out.
pub fn scripts(files: &Files, place: &Path) -> Result<Vec<PathBuf>> {
    if !files.has(place)? {
        return Err(
            crate::err!(File, "there is no {}", place.display()).hint("name a folder with .rhai files, or one file")
        );
    }
    if !place.is_dir() {
        return Ok(vec![place.to_path_buf()]);
    }
    let mut found = Vec::new();
    below(files, place, DEEPEST, &mut found);
    found.sort();
    Ok(found)
}

fn below(files: &Files, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for name in files.names(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }) {
        let place = folder.join(name.trim_end_matches('/'));
        let is_own = !name.starts_with('.') && !place.is_symlink();
        match name.strip_suffix('/') {
            Some("out" | "target") => {}
            Some(_) if is_own && depth > 0 => below(files, &place, depth - 1, found),
            None if is_own && name.ends_with(".rhai") => found.push(place),
            _ => {}
        }
    }
}

/// Lists the tests of a script, in the order of its text.
pub fn tests(session: &Session, file: &str, text: &str) -> Vec<TestCase> {
    let test = |name: String, job: TestBody| TestCase { file: file.into(), name, text: text.into(), job };
    let sections: Vec<TestCase> = sections(text)
        .into_iter()
        .map(|(name, code)| test(name, TestBody::Stated { import: String::new(), code }))
        .collect();
    let Ok(ast) = session.compile(file, text) else {
        // Lines that state values are read one by one, and need no semicolons between them.
        return if sections.is_empty() { vec![test("syntax".into(), TestBody::Unreadable)] } else { sections };
    };
    let of_tests = ast.iter_functions().filter(|f| f.name.starts_with(PREFIX) && f.params.is_empty());
    let mut names: Vec<&str> = of_tests.map(|function| function.name).collect();
    names.sort_by_key(|name| text.find(&format!("fn {name}(")));
    let functions = names.into_iter().map(|name| test(name.into(), TestBody::Function(name.into())));
    let import = import(session, file);
    let examples = examples(text)
        .into_iter()
        .map(|(name, code)| test(format!("example of {name}"), TestBody::Stated { import: import.clone(), code }));
    functions.chain(examples).chain(sections).collect()
}

/// Writes how the examples of a module import it: by the name of its library, or as the file beside.
fn import(session: &Session, file: &str) -> String {
    let files = &session.env().files;
    let path = Path::new(file);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new(""));
    let own = project::found(folder, &|place| files.script_if_there(place)).ok().flatten().and_then(|(root, text)| {
        let name = Manifest::parse(&text, "").ok()?.name?;
        let exact = project::cleaned(&std::path::absolute(path).ok()?);
        let module = exact.strip_prefix(&root).ok()?.with_extension("").to_str()?.replace('\\', "/");
        Some((name, module))
    });
    match own {
        Some((name, module)) if module == MAIN => format!("import \"{name}\" as {name};"),
        Some((name, module)) => format!("import \"{name}/{module}\" as {stem};"),
        None => format!("import \"./{stem}\" as {stem};"),
    }
}

/// Collects examples of doc comments by the name of their function. Lines and columns stay as they are in the file.
fn examples(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut code = String::new();
    let mut has_code = false;
    let mut is_example = false;
    let mut is_fenced = false;
    let mut before = 0;
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if let Some(rest) = start.strip_prefix("///") {
            let words = rest.trim();
            if words.starts_with("```") {
                is_fenced = !is_fenced;
            } else if is_fenced && is_example {
                code.push_str(&"\n".repeat(number - before));
                before = number;
                code.push_str(&line.replacen("///", "   ", 1));
                has_code = true;
            } else if let Some(title) = words.strip_prefix("# ") {
                is_example = matches!(title.trim().to_lowercase().as_str(), "example" | "examples");
            }
            continue;
        }
        let name = start.strip_prefix("private ").unwrap_or(start).strip_prefix("fn ");
        if let (true, Some(name)) = (has_code, name.and_then(|rest| rest.split('(').next())) {
            found.push((name.trim().to_string(), code.clone()));
        }
        (code, has_code, is_example, is_fenced, before) = (String::new(), false, false, false, 0);
    }
    found
}

/// Splits off the sections of a file that state values outside of doc comments; a file without titles is one section.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = vec![("stated values".into(), String::new())];
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix(SECTION) {
            sections.push((name.trim().to_string(), "\n".repeat(number)));
        }
        if let Some((_, code)) = sections.last_mut() {
            let is_doc = line.trim_start().starts_with("///");
            code.push_str(if is_doc { "" } else { line });
            code.push('\n');
        }
    }
    let states =
        |code: &str| code.lines().any(|line| stated_results::states(line) && !line.trim_start().starts_with("//="));
    sections.retain(|(_, code)| states(code));
    sections
}

impl TestCase {
    /// Runs the test in a session that was made for it.
    pub fn run(&self, session: &mut Session) -> TestOutcome {
        let mut drawn = Vec::new();
        let mut is_interrupted = false;
        let mut fails = |session: &Session, failure: &Failure| {
            is_interrupted |= failure.is_interrupted();
            session.sources().add(&self.file, &self.text);
            drawn.push(drawing::draw(failure, session.sources(), session.env().console.screen().colour));
        };
        match &self.job {
            TestBody::Function(name) => {
                let outcome =
                    session.eval(&self.file, &self.text).and_then(|_| session.eval("<test>", &format!("{name}()")));
                if let Err(failure) = outcome {
                    fails(session, &failure);
                }
            }
            TestBody::Unreadable => {
                if let Err(failure) = session.eval(&self.file, &self.text) {
                    fails(session, &failure);
                }
            }
            TestBody::Stated { import, code } => {
                // Beside the file, so that it imports what the file could, and under a name that no module has.
                let name = format!("{}, {}.rhai", self.file.trim_end_matches(".rhai"), self.name);
                if let Err(failure) = session.eval(&name, import) {
                    fails(session, &failure);
                } else {
                    for complaint in stated_results::run_stated(session, &name, code) {
                        fails(session, &self.failure(&name, complaint));
                    }
                }
            }
        }
        let env = session.env();
        let out = env.files.access().out().to_path_buf();
        let without_out = |text: String| text.replace(&out.display().to_string(), "<out>");
        let below = |path: &Path| path.strip_prefix(&out).unwrap_or(path).display().to_string();
        let written = env.files.ledger().written.iter().map(|(path, hash)| (below(path), hash.clone())).collect();
        let verdict = match (is_interrupted, drawn.is_empty(), env.checks.failed()) {
            (true, ..) => Verdict::Interrupted,
            (_, false, _) => Verdict::Failed,
            (_, _, 0) => Verdict::Passed,
            _ => Verdict::Unchecked,
        };
        let printed = without_out(env.console.kept().unwrap_or_default());
        TestOutcome { verdict, drawn: drawn.concat(), printed, written }
    }

    /// Makes a complaint a failure at its line of the file.
    fn failure(&self, name: &str, complaint: FailedStatement) -> Failure {
        let mut failure = complaint.failure.unwrap_or_else(|| Failure {
            kind: "value".into(),
            message: complaint.words,
            hint: None,
            place: Some(crate::script::engine::failure::SourcePlace {
                source: name.into(),
                line: complaint.line,
                column: self.column(complaint.line),
                arg: None,
                also: Box::default(),
                option: None,
            }),
            frames: Vec::new(),
        });
        let frames = failure.frames.iter_mut().map(|frame| &mut frame.place);
        for place in failure.place.iter_mut().chain(frames).filter(|place| place.source == name) {
            place.source = self.file.clone();
        }
        failure
    }

    /// Finds where the code of a line begins.
    fn column(&self, line: usize) -> usize {
        let line = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let is_code = |c: char| !c.is_whitespace() && c != '/';
        line.chars().position(is_code).map_or(1, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::engine::env::Env;

    const TEXT: &str = "// A module.\n\n/// Doubles.\n///\n/// # Example\n/// ```\n/// m::double(2)  //=> 4\n/// m::double(1)  //=> 3\n/// ```\nfn double(x) { 2 * x }\n\nfn test_two() { run::check(double(1) == 2, \"two\"); }\nfn test_of(x) { x }\n";

    #[test]
    fn functions_examples_and_stated_lines_are_found() {
        let session = Session::for_tests();
        let names = |text: &str| -> Vec<String> {
            super::tests(&session, "m.rhai", text).into_iter().map(|t| t.name).collect()
        };
        assert_eq!(names(TEXT), ["test_two", "example of double"]);
        assert_eq!(names("1 + 1 //=> 2\n// == more\n2 //=> 2\n// == none\n3"), ["stated values", "more"]);
        assert_eq!(names("let x = ;"), ["syntax"]);
        assert_eq!(
            examples(TEXT)[0].1,
            format!("{}    m::double(2)  //=> 4\n    m::double(1)  //=> 3", "\n".repeat(6))
        );
    }

    #[test]
    fn a_wrong_value_is_drawn_under_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.rhai").display().to_string();
        std::fs::write(&file, TEXT).unwrap();
        let session = || Session::new(Env::in_memory(&folder.path().join("out")).unwrap());
        let all = super::tests(&session(), &file, TEXT);
        let outcomes: Vec<TestOutcome> = all.iter().map(|test| test.run(&mut session())).collect();
        assert_eq!(
            outcomes.iter().map(|outcome| outcome.verdict).collect::<Vec<_>>(),
            [Verdict::Passed, Verdict::Failed]
        );
        let drawn = &outcomes[1].drawn;
        assert!(
            drawn.contains("expected 3, found 2") && drawn.contains("m.rhai:8:5") && drawn.contains("m::double(1)"),
            "{drawn}"
        );
    }
}
